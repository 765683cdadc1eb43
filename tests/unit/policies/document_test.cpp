#include <gtest/gtest.h>

#include "policies/load/fields.h"
#include "tests/unit/policies/texts.h"

namespace bulkhead::policies {
namespace {

std::string parse_refusal(const std::string& text, const Limits& limits = {}) {
  Report report("f");
  const auto documents = parse_text(text, report, limits);
  if (report.empty()) return "";
  EXPECT_TRUE(documents.empty());
  return format(report.errors().front());
}

std::string repeated(std::size_t count, const std::string& text) {
  std::string all;
  for (std::size_t i = 0; i < count; ++i) all += text;
  return all;
}

TEST(Document, nodes_know_their_place_and_their_quotes) {
  Report report("f");
  const auto documents = parse_text("a: no\nb:\n- \"no\"\n- 'x'\n- |\n  block\n---\n---\nc: {d: }\n", report);
  ASSERT_TRUE(report.empty());
  ASSERT_EQ(documents.size(), 3u);
  const YamlNode* a = documents[0].find("a");
  ASSERT_NE(a, nullptr);
  EXPECT_TRUE(a->plain);
  EXPECT_EQ(a->line, 1u);
  EXPECT_EQ(a->column, 4u);
  const YamlNode* b = documents[0].find("b");
  ASSERT_EQ(b->items.size(), 3u);
  for (const auto& item : b->items) EXPECT_FALSE(item.plain);
  EXPECT_EQ(b->items[1].line, 4u);
  EXPECT_EQ(b->items[2].scalar, "block\n");
  EXPECT_EQ(documents[1].kind, NodeKind::kNull);
  EXPECT_EQ(documents[2].find("c")->find("d")->kind, NodeKind::kNull);
  EXPECT_EQ(documents[2].find("x"), nullptr);
}

TEST(Document, text_that_is_not_utf8_is_refused) {
  EXPECT_EQ(parse_refusal("a: \xff\n"), "f:1:4: a: found the byte 0xff, expected UTF-8");
  EXPECT_EQ(parse_refusal("a: b\nb: \xc0\xaf\n"), "f:2:4: b: found the byte 0xc0, expected UTF-8");
  EXPECT_EQ(parse_refusal("a: \xed\xa0\x80\n"), "f:1:4: a: found the byte 0xed, expected UTF-8");
  EXPECT_EQ(parse_refusal("a: \xf4\x90\x80\x80\n"), "f:1:4: a: found the byte 0xf4, expected UTF-8");
  EXPECT_EQ(parse_refusal("a: \xe2\x82"), "f:1:4: a: found the byte 0xe2, expected UTF-8");
  EXPECT_EQ(parse_refusal(std::string("a: \0b", 5)),
            "f:1:4: a: found the control character 0x00, expected text");
  EXPECT_EQ(parse_refusal("a: \x1b[0m\n"), "f:1:4: a: found the control character 0x1b, expected text");
  EXPECT_EQ(parse_refusal("a: \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\n"), "");
  EXPECT_EQ(parse_refusal("\xef\xbb\xbf"
                          "a: b\n"),
            "");
}

TEST(Document, tabs_indent_nothing_but_may_stand_in_text) {
  EXPECT_EQ(parse_refusal("a:\n  \tb: c\n"), "f:2:3: a: found a tab, expected indentation by spaces");
  EXPECT_EQ(parse_refusal("a: \"x\ty\" # and\there\n\nb: |\n  x\n  \ty\n\n  z\nc: d\n"), "");
  EXPECT_EQ(parse_refusal("b: |\n  x\n\tc: d\n"), "f:3:1: b: found a tab, expected indentation by spaces");
  EXPECT_EQ(parse_refusal("a:\n  {\n\tb: c}\n"), "f:3:1: a: found a tab, expected indentation by spaces");
}

TEST(Document, json_may_be_indented_by_tabs) {
  EXPECT_EQ(parse_refusal("{\n\t\"a\": [\n\t\t1,\n\t\t{\"b\": \"c\"}\n\t]\n}\n"), "");
  EXPECT_EQ(parse_refusal("\n[\n\t1\n]\n"), "");
  EXPECT_EQ(parse_refusal("---\n# JSON\n[\n\t1]\n---\na:\n\tb: c\n"),
            "f:7:1: a: found a tab, expected indentation by spaces");
  EXPECT_NE(parse_refusal("{a: b}\n---\na:\n\tb: c\n"), "");
  EXPECT_EQ(parse_refusal("a: b\n---\n{\n\t\"a\": 1\n}\n"), "");
}

TEST(Document, what_follows_more_errors_than_are_listed_is_not_read) {
  Report report("f");
  std::size_t taken = 0;
  const auto take = [&](const YamlNode& document) {
    ++taken;
    Value(document, report).fail("wrong");
  };
  EXPECT_FALSE(read_documents(repeated(10 * Report::kErrorsMax, "--- a\n"), report, {}, take));
  EXPECT_EQ(taken, Report::kErrorsMax + 1);
}

TEST(Document, size_depth_and_number_of_values_are_bounded) {
  EXPECT_EQ(parse_refusal("a: b\n", {4, 100, 64}), "f: found 5 bytes, expected at most 4");
  EXPECT_EQ(parse_refusal("[1, 2, 3]", {100, 3, 64}),
            "f:1:8: [2]: found more than 3 values, which is the limit of a file");
  EXPECT_EQ(parse_refusal(std::string(64, '[') + std::string(64, ']')), "");
  EXPECT_EQ(
      parse_refusal(std::string(65, '[') + std::string(65, ']')),
      "f:1:65: " + repeated(64, "[0]") + ": found values nested deeper than 64 levels, which is the limit");
  EXPECT_NE(parse_refusal(std::string(100'000, '[')), "");
  EXPECT_NE(parse_refusal(std::string(100'000, '{')), "");
  std::string deep;
  for (int i = 0; i < 5000; ++i) deep += "- ";
  EXPECT_NE(parse_refusal(deep), "");
}

TEST(Document, a_file_that_is_cut_off_is_refused) {
  EXPECT_EQ(parse_refusal("a: \"b\n"), "f:1:4: a: found a quote that nothing closes, expected its partner");
  EXPECT_EQ(parse_refusal("a: 'b"), "f:1:4: a: found a quote that nothing closes, expected its partner");
  EXPECT_EQ(parse_refusal("a: \"\n\n"), "f:1:4: a: found a quote that nothing closes, expected its partner");
  EXPECT_NE(parse_refusal("a: [b\n"), "");
  EXPECT_NE(parse_refusal("{a: b"), "");
  EXPECT_EQ(parse_refusal("a: |+\n  x\n\n"), "");
  EXPECT_EQ(parse_refusal("a: b\n...\n"), "");
  EXPECT_EQ(parse_refusal("# nothing"), "");
}

TEST(Document, every_refusal_names_the_field) {
  const std::string head = "spec:\n  ports:\n  - port: 80\n";
  EXPECT_EQ(
      parse_refusal(head + "  - port: *x\n"),
      "f:4:11: spec.ports[1].port: found the alias \"*x\", expected one whose anchor is before it in the "
      "document, with its value");
  EXPECT_EQ(
      parse_refusal(head + "  - port: !!int 81\n"),
      "f:4:11: spec.ports[1].port: found the tag \"tag:yaml.org,2002:int\", expected a value: tags are not "
      "taken here");
  EXPECT_EQ(
      parse_refusal(head + "    port: 81\n"),
      "f:4:5: spec.ports[0].port: found the key \"port\" a second time (first in line 3), expected it once");
  EXPECT_EQ(parse_refusal(head + "  - port: \"81\n"),
            "f:4:11: spec.ports[1].port: found a quote that nothing closes, expected its partner");
  EXPECT_EQ(
      parse_refusal(head + "  - port: [81\n"),
      "f:4:11: spec.ports[1].port[1]: found a [ that nothing closes, expected ] or, before a further item, a "
      "comma");
  EXPECT_EQ(parse_refusal(head + "  - port: 81: 82\n"),
            "f:4:13: spec.ports[1].port: found a colon where no key can be, expected one key a line, "
            "indented like its "
            "neighbours; a text that holds a colon belongs in quotes");
  EXPECT_EQ(
      parse_refusal(head + "  - port: @a\n"),
      "f:4:11: spec.ports[1].port: found \"@a\", expected a value; a text with this sign belongs in quotes");
  EXPECT_EQ(parse_refusal(head + "   x: y\n"),
            "f:4:4: spec: found \"x: y\", expected a key of the mapping, indented like its neighbours");
  EXPECT_EQ(parse_refusal("metadata:\n    name: p\n# so\n\n  namespace: x\n"),
            "f:5:3: metadata: found \"namespace: x\", expected a key of the mapping, indented like its "
            "neighbours");
  EXPECT_EQ(parse_refusal("metadata:\n  name: p: q\n").substr(0, 20), "f:2:10: metadata.nam");
  EXPECT_EQ(parse_refusal("metadata:\n  name: p\n   namespace: x\n").substr(0, 21), "f:3:13: metadata.name");
}

TEST(Document, a_key_has_a_colon) {
  EXPECT_EQ(parse_refusal("a: b\nc\n"), "f:2:1: found \"c\", expected a key, a colon and its value");
  EXPECT_EQ(parse_refusal("a: b\nc"), "f:2:1: found \"c\", expected a key, a colon and its value");
  EXPECT_EQ(parse_refusal("? a\n"), "");  // which is to say "a:"
  EXPECT_EQ(parse_refusal("a:\nb: {c: , d: }\ne:"), "");
}

TEST(Document, an_alias_is_the_value_of_its_anchor) {
  Report report("f");
  const auto documents =
      parse_text("a: &x {k: [&y v, 'no']}\nb: *x\n&z c: *y\nd: &x w\ne: *x\nf: *z\ng: [&n , *n]\n", report);
  ASSERT_TRUE(report.empty()) << format(report.errors()[0]);
  const YamlNode& root = documents[0];
  EXPECT_EQ(root.find("b")->find("k")->items[0].scalar, "v");
  EXPECT_FALSE(root.find("b")->find("k")->items[1].plain);
  EXPECT_EQ(root.find("b")->line, 1u) << "where it is written";
  EXPECT_EQ(root.find("c")->scalar, "v");
  EXPECT_EQ(root.find("e")->scalar, "w") << "the latest of that name";
  EXPECT_EQ(root.find("f")->scalar, "c");
  EXPECT_EQ(root.find("g")->items[1].kind, NodeKind::kNull);
}

TEST(Document, aliases_are_bounded_and_come_after_their_anchors) {
  const std::string none =
      "found the alias \"*x\", expected one whose anchor is before it in the document, with its value";
  EXPECT_EQ(parse_refusal("a: *x\nb: &x c\n"), "f:1:4: a: " + none);
  EXPECT_EQ(parse_refusal("a: &x\n  b: *x\n"), "f:2:6: a.b: " + none);
  EXPECT_EQ(parse_refusal("a: &x b\n---\na: *x\n"), "f:3:4: a: " + none);
  EXPECT_EQ(parse_refusal("a: &x {b: c}\nd: {<<: *x}\n"),
            "f:2:5: d.<<: found the merge key <<, expected the fields themselves");
  EXPECT_EQ(parse_refusal("a: {'<<': b}\n"), "");
  EXPECT_EQ(parse_refusal("a: &x b\n*x : c\n"), "f:2:1: found an alias as a key, expected a word");
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 20; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int j = 0; j < 10; ++j) bomb += before + (j < 9 ? ", " : "]\n");
  }
  EXPECT_EQ(
      parse_refusal(bomb),
      "f:5:40: a4[6]: found more than 100000 values below anchors and behind aliases, which is the limit of "
      "a file");
  std::string deep = "a0: &a0 [x]\n";
  for (int i = 1; i < 80; ++i)
    deep += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [*a" + std::to_string(i - 1) + "]\n";
  EXPECT_EQ(parse_refusal(deep),
            "f:64:12: a63[0]: found values nested deeper than 64 levels, which is the limit");
}

TEST(Document, a_byte_order_mark_may_come_first) {
  EXPECT_EQ(parse_refusal("\xef\xbb\xbf"
                          "a: [b\n"),
            "f:1:4: a[1]: found a [ that nothing closes, expected ] or, before a further item, a comma");
  Report report("f");
  const auto documents = parse_text("\xef\xbb\xbf{\"a\": \"b\"}", report);
  ASSERT_TRUE(report.empty());
  EXPECT_EQ(documents[0].find("a")->scalar, "b");
  EXPECT_NE(parse_refusal("a: b\n\xef\xbb\xbf"
                          "c: d\na: e"),
            "");
}

TEST(Document, line_endings_of_other_systems_are_fine) {
  Report report("f");
  const auto documents = parse_text("a: b\r\nc: d\r\n", report);
  ASSERT_TRUE(report.empty());
  EXPECT_EQ(documents[0].find("c")->scalar, "d");
  EXPECT_EQ(documents[0].find("c")->line, 2u);
}

TEST(Nearest, slips_of_the_finger_are_found_and_strangers_are_not) {
  const std::vector<std::string_view> words = {"podSelector", "namespaceSelector", "ipBlock", "TCP"};
  EXPECT_EQ(nearest("podSelectr", words), "podSelector");
  EXPECT_EQ(nearest("podselector", words), "podSelector");
  EXPECT_EQ(nearest("podSelecotr", words), "podSelector");
  EXPECT_EQ(nearest("ipblok", words), "ipBlock");
  EXPECT_EQ(nearest("tcp", words), "TCP");
  EXPECT_EQ(nearest("x", words), std::nullopt);
  EXPECT_EQ(nearest("", words), std::nullopt);
  EXPECT_EQ(nearest("somethingElse", words), std::nullopt);
  EXPECT_EQ(nearest(std::string(65, 'a'), words), std::nullopt);
}

TEST(Nearest, quoted_text_is_safe_to_print) {
  EXPECT_EQ(quoted("a\"b\\\n\xc3\xa4"), "\"a\\\"b\\\\\\x0a\\xc3\\xa4\"");
  EXPECT_EQ(quoted(std::string(100, 'a')), "\"" + std::string(60, 'a') + "...\"");
}

}  // namespace
}  // namespace bulkhead::policies
