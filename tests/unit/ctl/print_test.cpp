#include "tools/ctl/print.h"

#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include <sstream>

namespace bulkhead::ctl {
namespace {

TEST(Escape, leaves_readable_text_alone) {
  EXPECT_EQ(escape("shop/web app=Grün,größe=日本"), "shop/web app=Grün,größe=日本");
}

TEST(Escape, lets_nothing_move_the_cursor) {
  EXPECT_EQ(escape("a\x1b[2Jb\r\n\x7f"), "a\\x1b[2Jb\\x0d\\x0a\\x7f");
  EXPECT_EQ(escape("\xc2\x9b"
                   "31m"),
            "\\u{9b}31m");  // CSI as one C1 character
}

TEST(Escape, lets_nothing_reorder_or_hide_text) {
  EXPECT_EQ(escape("a\u202e"
                   "b"),
            "a\\u{202e}b");
  EXPECT_EQ(escape("a\u200b"
                   "b"),
            "a\\u{200b}b");
}

TEST(Escape, shows_bytes_that_are_no_utf8) {
  EXPECT_EQ(escape("\xff\xc3"), "\\xff\\xc3");
  EXPECT_EQ(escape("\xc0\xaf"), "\\xc0\\xaf");           // overlong
  EXPECT_EQ(escape("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // a surrogate
}

Value sample() {
  return {{"name", "shop/web"}, {"word", "no"},    {"number", "1e3"},    {"packets", 18446744073709551615u},
          {"open", true},       {"rule", nullptr}, {"list", {"a", "b"}}, {"empty", Value::array()}};
}

TEST(Printers, json_and_yaml_say_the_same) {
  std::ostringstream json, yaml;
  print_json(sample(), json);
  print_yaml(sample(), yaml);
  const Value back = Value::parse(json.str());
  EXPECT_EQ(back, sample());

  const YAML::Node node = YAML::Load(yaml.str());
  EXPECT_EQ(node["name"].as<std::string>(), "shop/web");
  EXPECT_EQ(node["packets"].as<std::uint64_t>(), 18446744073709551615u);
  EXPECT_TRUE(node["open"].as<bool>());
  EXPECT_TRUE(node["rule"].IsNull());
  EXPECT_EQ(node["list"].size(), 2u);
  EXPECT_TRUE(node["empty"].IsSequence());
  // A quoted tag is what keeps `no` and `1e3` strings for every reader.
  EXPECT_EQ(node["word"].Tag(), "!");
  EXPECT_EQ(node["number"].Tag(), "!");
}

TEST(Printers, bytes_that_are_no_utf8_break_no_printer) {
  std::ostringstream out;
  print_json({{"name", "\xff"}, {"b", 1}}, out);
  EXPECT_NO_THROW(Value::parse(out.str()));
}

TEST(Printers, a_table_lines_up_and_escapes) {
  std::ostringstream out;
  Terminal terminal(out, false);
  Table table({{"NAME"}, {"COUNT", true}, {"END"}});
  table.row({"grün", "7", "x"});
  table.row({"a\x1b", "12345", "y"}, Colour::kBad);
  table.print(terminal);
  EXPECT_EQ(out.str(),
            "NAME   COUNT  END\n"
            "grün       7  x\n"
            "a\\x1b  12345  y\n");
}

TEST(Printers, colour_only_where_it_is_welcome) {
  std::ostringstream out;
  EXPECT_EQ(Terminal(out, false).paint(Colour::kBad, "deny"), "deny");
  EXPECT_EQ(Terminal(out, true).paint(Colour::kBad, "deny"), "\x1b[31mdeny\x1b[0m");
}

TEST(Printers, amounts_read_well) {
  EXPECT_EQ(bytes_text(0), "0 B");
  EXPECT_EQ(bytes_text(1536), "1.5 KiB");
  EXPECT_EQ(seconds_text(59), "59s");
  EXPECT_EQ(seconds_text(61), "1m 1s");
  EXPECT_EQ(seconds_text(90000), "1d 1h");
  EXPECT_EQ(time_text(0), "1970-01-01T00:00:00Z");
}

}  // namespace
}  // namespace bulkhead::ctl
