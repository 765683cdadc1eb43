#include <gtest/gtest.h>

#include "policies/load/syntax.h"
#include "tests/unit/policies/texts.h"

namespace bulkhead::policies {
namespace {

using namespace std::chrono_literals;

/// Reads the text's field `v` by `read` and returns the message, or "" if there was none.
template <class Read>
std::string message(const std::string& value, Read read) {
  Report report("f");
  const auto documents = parse_text("v: " + value + "\n", report);
  for (const auto& document : documents) {
    Fields fields{Value{document, report}};
    const bool got = read(fields.optional("v"));
    EXPECT_EQ(got, report.empty()) << value;
  }
  return report.empty() ? "" : format(report.errors().front());
}

std::string text(const std::string& value) {
  return message(value, [](const Value& v) { return v.text().has_value(); });
}

TEST(Fields, words_and_numbers_are_no_strings_unless_quoted) {
  for (const char* word : {"yes", "No", "ON", "off", "true", "False"})
    EXPECT_EQ(text(word), "f:1:4: v: found the unquoted word " + std::string(word) +
                              ", expected a string; write \"" + word + "\" in quotes");
  for (const char* number : {"1", "-1", "1.5", "1e3", "0x1f", "0o7", "017", "0b1", "1_000", ".5", ".inf",
                             "-.INF", ".nan", "12:30:45", "+1", "1."})
    EXPECT_EQ(text(number), "f:1:4: v: found the number " + std::string(number) +
                                ", expected a string; write \"" + number + "\" in quotes");
  for (const char* fine :
       {"\"yes\"", "'1'", "nothing", "1.2.3", "v1",   "1a",      "yesno", "10.0.0.1", "\"\"", "a b",
        "0x",      "1e",  ".",       "e3",    "1:99", "fd00::1", "y",     "n",        "Y",    "N"})
    EXPECT_EQ(text(fine), "") << fine;
}

TEST(Fields, booleans_are_true_and_false_alone) {
  const auto boolean = [](const Value& v) { return v.boolean().has_value(); };
  EXPECT_EQ(message("true", boolean), "");
  EXPECT_EQ(message("false", boolean), "");
  EXPECT_EQ(message("yes", boolean), "f:1:4: v: found the unquoted word yes, expected true or false");
  EXPECT_EQ(message("\"true\"", boolean), "f:1:4: v: found \"true\", expected true or false");
  EXPECT_EQ(message("True", boolean), "f:1:4: v: found the unquoted word True, expected true or false");
}

TEST(Fields, integers_are_decimal_and_in_range) {
  const auto integer = [](const Value& v) { return v.integer(-5, 100).has_value(); };
  for (const char* fine : {"0", "-5", "100", "42"}) EXPECT_EQ(message(fine, integer), "") << fine;
  for (const char* wrong :
       {"-6", "101", "010", "0x10", "1.0", "1e1", "\"5\"", "five", "[5]", "99999999999999999999"})
    EXPECT_NE(message(wrong, integer), "") << wrong;
  EXPECT_EQ(message("101", integer),
            "f:1:4: v: found the number 101, expected a whole number from -5 to 100");
}

TEST(Fields, durations_and_sizes_have_units) {
  const auto duration = [](const Value& v) { return v.duration(10ms, 2h).has_value(); };
  for (const char* fine : {"10ms", "1s", "5m", "2h", "\"30s\""})
    EXPECT_EQ(message(fine, duration), "") << fine;
  EXPECT_EQ(
      message("5", duration),
      "f:1:4: v: found the number 5, expected a duration from 10ms to 2h, a whole number with ms, s, m or h");
  for (const char* wrong :
       {"9ms", "3h", "1.5s", "-1s", "s", "1 s", "1d", "99999999999999999999h", "9999999999999999h"})
    EXPECT_NE(message(wrong, duration), "") << wrong;
  const auto size = [](const Value& v) { return v.bytes(1024, std::uint64_t{1} << 30).has_value(); };
  for (const char* fine : {"1024", "64KiB", "1MiB", "1GiB"}) EXPECT_EQ(message(fine, size), "") << fine;
  EXPECT_EQ(message("2GiB", size),
            "f:1:4: v: found \"2GiB\", expected a size from 1KiB to 1GiB, a whole number of bytes, KiB, MiB "
            "or GiB");
}

TEST(Fields, addresses_blocks_and_macs) {
  const auto address = [](const Value& v) { return v.address().has_value(); };
  EXPECT_EQ(message("10.0.0.1", address), "");
  EXPECT_EQ(message("2001:db8::1", address), "");
  EXPECT_EQ(message("10.0.0", address), "f:1:4: v: found \"10.0.0\", expected an IPv4 or IPv6 address");
  const auto block = [](const Value& v) { return v.block().has_value(); };
  EXPECT_EQ(message("10.0.0.0/8", block), "");
  EXPECT_EQ(message("10.1.0.0/8", block),
            "f:1:4: v: found \"10.1.0.0/8\", expected a block whose bits after the "
            "prefix are zero; did you mean \"10.0.0.0/8\"?");
  const auto mac = [](const Value& v) { return v.mac().has_value(); };
  EXPECT_EQ(message("02:00:00:00:00:01", mac), "");
  EXPECT_EQ(message("10:20:30:40:50:51", mac), "");
  EXPECT_EQ(message("02-00-00-00-00-01", mac),
            "f:1:4: v: found \"02-00-00-00-00-01\", expected a MAC address such as 02:00:00:00:00:01");
}

TEST(Fields, choices_name_the_nearest) {
  const auto choice = [](const Value& v) { return v.choice<int>({{"tap", 1}, {"veth", 2}}).has_value(); };
  EXPECT_EQ(message("veth", choice), "");
  EXPECT_EQ(message("vtch", choice), "f:1:4: v: found \"vtch\", expected tap or veth");
  EXPECT_EQ(message("vethh", choice),
            "f:1:4: v: found \"vethh\", expected tap or veth; did you mean \"veth\"?");
  EXPECT_EQ(message("[]", choice), "f:1:4: v: found a list, expected a word");
}

TEST(Fields, named_ports) {
  const auto ports = [](const Value& v) { return v.named_ports().has_value(); };
  EXPECT_EQ(message("[{name: http, port: 80}, {name: dns, port: 53, protocol: UDP}]", ports), "");
  EXPECT_EQ(message("[{name: http}]", ports), "f:1:5: v[0].port: the field \"port\" is missing");
  EXPECT_EQ(message("[{name: http, port: 80, proto: UDP}]", ports),
            "f:1:28: v[0].proto: found the unknown field \"proto\", expected name, port or protocol");
  EXPECT_NE(message("{}", ports), "");
  EXPECT_EQ(message("[{name: \"\", port: 80}]", ports),
            "f:1:12: v[0].name: found \"\", expected a port name: 1 to 15 lower-case letters, digits or "
            "single '-', at "
            "least one letter, with a letter or digit at both ends");
}

TEST(Fields, absent_is_silent_and_required_is_not) {
  Report report("f");
  const auto documents = parse_text("a: {b: }\nc: 1\n", report);
  {
    Fields fields{Value{documents[0], report}};
    EXPECT_FALSE(fields.optional("zz").text());
    EXPECT_TRUE(fields.optional("zz").list().empty());
    Fields a = fields.optional("a").fields();
    EXPECT_TRUE(a.has("b"));
    EXPECT_FALSE(a.required("b").text());
    EXPECT_FALSE(a.required("d").text());
    Fields none = fields.optional("zz").fields();
    EXPECT_FALSE(none.valid());
    EXPECT_FALSE(none.required("anything"));
  }
  ASSERT_EQ(report.errors().size(), 3u);
  EXPECT_EQ(format(report.errors()[0]), "f:1:8: a.b: found nothing, expected a value");
  EXPECT_EQ(format(report.errors()[1]), "f:1:4: a.d: the field \"d\" is missing");
  EXPECT_EQ(format(report.errors()[2]), "f:2:1: c: found the unknown field \"c\", expected a or zz");
}

TEST(Fields, names_follow_kubernetes) {
  EXPECT_FALSE(wrong_label_key("app.kubernetes.io/name"));
  EXPECT_FALSE(wrong_label_key("A_b.c-9"));
  for (const char* wrong : {"", "/a", "a/", "-a", "a-", "a b", "A.io/x", "a..b/x"})
    EXPECT_TRUE(wrong_label_key(wrong)) << wrong;
  EXPECT_FALSE(wrong_label_key(std::string(63, 'a')));
  EXPECT_TRUE(wrong_label_key(std::string(64, 'a')));
  EXPECT_FALSE(wrong_label_value(""));
  EXPECT_TRUE(wrong_label_value("a/b"));
  EXPECT_TRUE(wrong_label_value(std::string(64, 'a')));
  EXPECT_FALSE(wrong_dns_label("a-1"));
  EXPECT_TRUE(wrong_dns_label("A"));
  EXPECT_TRUE(wrong_dns_label("a.b"));
  EXPECT_FALSE(wrong_dns_subdomain("a.b-c.d"));
  EXPECT_TRUE(wrong_dns_subdomain("a..b"));
  EXPECT_FALSE(wrong_port_name("http-8080"));
  for (const char* wrong : {"", "80", "Http", "-http", "http-", "ht--tp", "sixteen-letters-"})
    EXPECT_TRUE(wrong_port_name(wrong)) << wrong;
}

}  // namespace
}  // namespace bulkhead::policies
