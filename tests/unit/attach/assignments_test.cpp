#include "controlplane/attach/assignments.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "dataplane/abi/telemetry.h"

namespace bulkhead::attach {
namespace {

class AssignmentsTest : public ::testing::Test {
 protected:
  ~AssignmentsTest() override { ::unlink(path.c_str()); }
  std::string path = ::testing::TempDir() + "bulkhead-ports-" + std::to_string(::getpid()) + ".json";
};

TEST(PortKey, differs_by_id_and_by_sequence_and_is_never_nothing) {
  EXPECT_NE(port_key("a", 1), port_key("a", 2));
  EXPECT_NE(port_key("a", 1), port_key("b", 1));
  EXPECT_EQ(port_key("a", 1), port_key("a", 1));
  EXPECT_NE(port_key("a#1", 2), port_key("a", 12)) << "the encoding is injective";
  EXPECT_NE(port_key("", 0), 0u);
}

TEST_F(AssignmentsTest, an_endpoint_keeps_its_number_and_key_at_its_place) {
  Assignments assignments(path);
  const Assignment first = *assignments.at("a", "tap:eth0@1", {});
  EXPECT_EQ(first.port, kFirstEndpointPort);
  EXPECT_EQ(assignments.at("a", "tap:eth0@1", {})->key, first.key);
}

TEST_F(AssignmentsTest, another_place_gets_a_new_key_under_the_same_number) {
  Assignments assignments(path);
  const Assignment first = *assignments.at("a", "tap:eth0@1", {});
  const Assignment second = *assignments.at("a", "tap:eth0@2", {});
  EXPECT_EQ(second.port, first.port);
  EXPECT_NE(second.key, first.key);
}

TEST_F(AssignmentsTest, a_reused_number_never_has_an_old_key) {
  Assignments assignments(path);
  const Assignment first = *assignments.at("a", "here", {});
  assignments.release("a");
  const Assignment other = *assignments.at("b", "here", {});
  EXPECT_EQ(other.port, first.port);
  EXPECT_NE(other.key, first.key);
  assignments.release("b");
  EXPECT_NE(assignments.at("a", "here", {})->key, first.key) << "also for the same endpoint";
}

TEST_F(AssignmentsTest, numbers_in_use_elsewhere_are_left_alone) {
  Assignments assignments(path);
  EXPECT_EQ(assignments.at("a", "here", {kFirstEndpointPort, kFirstEndpointPort + 1})->port,
            kFirstEndpointPort + 2);
}

TEST_F(AssignmentsTest, numbers_run_out_with_an_answer) {
  Assignments assignments(path);
  for (std::uint32_t i = kFirstEndpointPort; i < abi::kPortsMax; ++i) {
    ASSERT_NE(assignments.at("e" + std::to_string(i), "p", {}), nullptr);
  }
  EXPECT_EQ(assignments.at("one more", "p", {}), nullptr);
}

TEST_F(AssignmentsTest, a_restart_finds_everything_again) {
  Assignment first;
  {
    Assignments assignments(path);
    first = *assignments.at("a \"quoted\"\n", "tap:eth0@1", {});
    EXPECT_EQ(assignments.save(), std::nullopt);
  }
  Assignments again(path);
  EXPECT_EQ(again.warning(), "");
  const Assignment found = *again.at("a \"quoted\"\n", "tap:eth0@1", {});
  EXPECT_EQ(found.key, first.key);
  EXPECT_EQ(found.port, first.port);
  EXPECT_NE(again.at("b", "x", {})->sequence, first.sequence) << "sequences go on";
}

TEST_F(AssignmentsTest, a_damaged_file_costs_new_keys_and_nothing_else) {
  for (const char* text :
       {"", "{", "[]", R"({"version": 2})",
        R"({"version": 1, "last_sequence": 1, "ports": {"a": {"port": 1}}})",
        R"({"version": 1, "last_sequence": 9, "ports": {"a": {"port": 5, "sequence": 1, "place": "x"},
                                                        "b": {"port": 5, "sequence": 2, "place": "y"}}})"}) {
    std::ofstream(path) << text;
    Assignments assignments(path);
    EXPECT_NE(assignments.warning(), "") << text;
    EXPECT_TRUE(assignments.all().empty()) << text;
    EXPECT_NE(assignments.at("a", "x", {}), nullptr);
  }
}

TEST_F(AssignmentsTest, a_lost_file_is_made_up_for_by_the_ports_that_exist) {
  const std::uint64_t key = port_key("a", 17);
  Assignments assignments(path);
  EXPECT_FALSE(assignments.adopt("b", "x", 5, key)) << "not a key of that endpoint";
  EXPECT_TRUE(assignments.adopt("a", "x", 5, key));
  EXPECT_EQ(assignments.at("a", "x", {})->port, 5u);
  EXPECT_EQ(assignments.at("a", "x", {})->key, key);
  EXPECT_GT(assignments.at("c", "y", {})->sequence, 17u);
}

TEST_F(AssignmentsTest, a_directory_that_cannot_be_written_is_reported) {
  Assignments assignments("/nonexistent/ports.json");
  assignments.at("a", "x", {});
  EXPECT_EQ(assignments.save(), "/nonexistent/ports.json.new: No such file or directory");
}

}  // namespace
}  // namespace bulkhead::attach
