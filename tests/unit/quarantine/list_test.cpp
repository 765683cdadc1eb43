#include "controlplane/quarantine/list.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace bulkhead::quarantine {
namespace {

namespace fs = std::filesystem;

constexpr char kHead[] = R"({"bulkhead":"quarantine","version":1,"entries":2})";
constexpr char kWeb[] =
    R"({"namespace":"shop","name":"web","reason":"beacons","author":"alice","since_ms":1764000000000})";
constexpr char kCi[] = R"({"namespace":"lab","name":"ci","reason":"why","author":"bob","since_ms":7})";

class QuarantineList : public ::testing::Test {
 protected:
  QuarantineList() {
    fs::remove_all(base);
    fs::create_directories(base);
  }
  ~QuarantineList() override { fs::remove_all(base); }
  void write(const std::string& text) { std::ofstream(path) << text; }
  static std::string read(const std::string& from) {
    std::ostringstream text;
    text << std::ifstream(from).rdbuf();
    return text.str();
  }
  std::string lines(std::initializer_list<const char*> all) {
    std::string text;
    for (const char* line : all) text += std::string(line) + "\n";
    return text;
  }
  std::string base = ::testing::TempDir() + "bulkhead-quarantine-" + std::to_string(::getpid());
  std::string path = base + "/quarantine.json";
  policies::Quarantine web{"shop", "web", "beacons", "alice"}, ci{"lab", "ci", "why", "bob"};
};

TEST_F(QuarantineList, outlives_the_process_and_is_lifted_by_name) {
  {
    List list(path);
    EXPECT_TRUE(list.entries().empty());
    EXPECT_TRUE(list.add(web, 1764000000000));
    EXPECT_TRUE(list.add(ci, 7));
    EXPECT_EQ(list.unsaved(), "");
  }
  EXPECT_EQ(read(path), lines({kHead, kCi, kWeb}));
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  List again(path);
  ASSERT_EQ(again.entries().size(), 2u);
  EXPECT_EQ(again.entries()[1], (Entry{web, 1764000000000}));
  EXPECT_TRUE(again.damage().empty());
  EXPECT_FALSE(again.lift("shop", "ci"));
  EXPECT_TRUE(again.lift("shop", "web"));
  EXPECT_EQ(List(path).quarantines(), std::vector{ci});
}

TEST_F(QuarantineList, a_second_quarantine_of_one_name_replaces_the_words) {
  List list(path);
  list.add(web, 5);
  list.add({"shop", "web", "worse", "carol"}, 9);
  ASSERT_EQ(list.entries().size(), 1u);
  EXPECT_EQ(list.entries()[0], (Entry{{"shop", "web", "worse", "carol"}, 5}));
}

TEST_F(QuarantineList, what_can_be_read_of_a_damaged_file_holds_and_the_rest_is_told_until_mended) {
  const std::string damaged = lines({kHead, kWeb}) + std::string(kCi).substr(0, 40);
  write(damaged);
  {
    List list(path);
    EXPECT_EQ(list.quarantines(), std::vector{web});
    const auto told = list.damage();
    ASSERT_EQ(told.size(), 2u);
    EXPECT_EQ(told[0], path + ".damaged:3: the line has no end");
    EXPECT_EQ(told[1], path + ".damaged: found 1 entries that can be read, expected 2");
  }
  EXPECT_EQ(read(path + ".damaged"), damaged);
  {
    List list(path);
    list.add(ci, 7);
    EXPECT_EQ(list.damage().size(), 2u) << "an added entry mends nothing";
  }
  List list(path);
  EXPECT_EQ(list.entries().size(), 2u);
  EXPECT_EQ(list.damage().size(), 2u);
  fs::remove(path + ".damaged");
  EXPECT_TRUE(list.damage().empty());
}

TEST_F(QuarantineList, every_kind_of_damage_is_seen) {
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = lines({kHead, kWeb, kCi});
    return text.replace(text.find(from), from.size(), to);
  };
  const std::string texts[] = {"",
                               std::string(300, '\0'),
                               lines({kWeb, kCi}),
                               lines({kHead, kWeb}),
                               lines({kHead, kWeb, kWeb}),
                               lines({kHead, kWeb, kCi}).substr(0, 190),
                               with("\"version\":1", "\"version\":2"),
                               with("\"entries\":2", "\"entries\":-2"),
                               with("\"web\"", "\"Web\""),
                               with("\"web\"", "7"),
                               with("\"alice\"", "\"\""),
                               with("\"alice\"", "\"al\\nice\""),
                               with("\"beacons\"", "\"bea\xff\""),
                               with(",\"since_ms\":7", ""),
                               with(",\"since_ms\":7", ",\"since_ms\":7.5"),
                               with(",\"since_ms\":7", ",\"since_ms\":7,\"until\":9"),
                               with("\"lab\"", "{\"lab\":[[[[1]]]]}")};
  for (const std::string& text : texts) {
    fs::remove(path + ".damaged");
    write(text);
    const List list(path);
    EXPECT_FALSE(list.damage().empty()) << text;
    EXPECT_LE(list.entries().size(), 2u);
  }
}

TEST_F(QuarantineList, a_file_that_cannot_be_read_at_all_lifts_nobody) {
  fs::create_directory(path);
  EXPECT_THROW(List{path}, std::runtime_error);
}

TEST_F(QuarantineList, holds_where_it_cannot_be_written_and_is_written_later) {
  List list(path);
  fs::create_directory(path + ".new");
  EXPECT_TRUE(list.add(web, 5));
  EXPECT_NE(list.unsaved().find(path + ".new"), std::string::npos) << list.unsaved();
  EXPECT_EQ(list.quarantines(), std::vector{web});
  fs::remove(path + ".new");
  list.save();
  EXPECT_EQ(list.unsaved(), "");
  EXPECT_EQ(List(path).quarantines(), std::vector{web});
}

TEST_F(QuarantineList, what_no_endpoint_can_be_is_refused_in_words) {
  const auto why = [&](auto change) {
    policies::Quarantine what = web;
    change(what);
    return wrong(what).value_or("");
  };
  EXPECT_EQ(why([](auto&) {}), "");
  EXPECT_NE(why([](auto& w) { w.namespace_name = "Shop"; }).find("found the namespace \"Shop\""),
            std::string::npos);
  EXPECT_NE(why([](auto& w) { w.name = "web/"; }), "");
  EXPECT_NE(why([](auto& w) { w.reason = ""; }), "");
  EXPECT_NE(why([](auto& w) { w.reason = std::string(513, 'x'); }), "");
  EXPECT_NE(why([](auto& w) { w.reason = "a\x1b[2J"; }), "");
  EXPECT_NE(why([](auto& w) { w.author = "\xc3("; }), "");
  EXPECT_EQ(why([](auto& w) { w.author = "J\xc3\xb6rg"; }), "");
}

}  // namespace
}  // namespace bulkhead::quarantine
