#include "controlplane/source/policy_directory.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace bulkhead::source {
namespace {

constexpr char kGood[] =
    "apiVersion: networking.k8s.io/v1\n"
    "kind: NetworkPolicy\n"
    "metadata: {name: NAME, namespace: shop}\n"
    "spec: {podSelector: {}}\n";

class PolicyDirectoryTest : public ::testing::Test {
 protected:
  PolicyDirectoryTest() { std::filesystem::create_directories(path); }
  ~PolicyDirectoryTest() override { std::filesystem::remove_all(path); }
  void write(const std::string& name, std::string text, const std::string& policy = "p") {
    if (const auto at = text.find("NAME"); at != std::string::npos) text.replace(at, 4, policy);
    std::ofstream(path + "/" + name) << text;
  }
  std::string path = ::testing::TempDir() + "bulkhead-policies-" + std::to_string(::getpid());
  PolicyDirectory directory{path, 1 << 20};
};

TEST_F(PolicyDirectoryTest, an_empty_directory_is_a_good_empty_set) {
  EXPECT_TRUE(directory.reload() || directory.health().synced);
  EXPECT_TRUE(directory.health().synced);
  EXPECT_EQ(directory.policies().policies.size(), 0u);
}

TEST_F(PolicyDirectoryTest, files_of_yaml_and_json_count_and_hidden_ones_do_not) {
  write("a.yaml", kGood, "a");
  write("b.yml", kGood, "b");
  write("c.json",
        R"({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "c"}, "spec": {"podSelector": {}}})");
  write("notes.txt", "not yaml: [");
  write(".c.yaml", "half [");
  std::filesystem::create_directory(path + "/d.yaml");
  EXPECT_TRUE(directory.reload());
  EXPECT_EQ(directory.files(), 3u);
  EXPECT_EQ(directory.policies().policies.size(), 3u);
}

TEST_F(PolicyDirectoryTest, one_bad_file_refuses_the_whole_set_and_keeps_the_last) {
  write("a.yaml", kGood, "a");
  EXPECT_TRUE(directory.reload());
  write("b.yaml", kGood, "b");
  write("c.yaml", "kind: Nothing\n");
  EXPECT_FALSE(directory.reload());
  EXPECT_EQ(directory.policies().policies.size(), 1u);
  ASSERT_FALSE(directory.health().errors.empty());
  EXPECT_EQ(directory.health().errors[0].origin.file, path + "/c.yaml");
  std::filesystem::remove(path + "/c.yaml");
  EXPECT_TRUE(directory.reload());
  EXPECT_EQ(directory.policies().policies.size(), 2u);
  EXPECT_TRUE(directory.health().errors.empty());
}

TEST_F(PolicyDirectoryTest, a_directory_that_vanishes_does_not_empty_the_set) {
  write("a.yaml", kGood, "a");
  EXPECT_TRUE(directory.reload());
  std::filesystem::remove_all(path);
  EXPECT_FALSE(directory.reload());
  EXPECT_EQ(directory.policies().policies.size(), 1u);
  EXPECT_EQ(format(directory.health().errors.at(0)),
            path + ": cannot list the policies: No such file or directory");
}

TEST_F(PolicyDirectoryTest, warnings_are_of_the_set_in_force) {
  write("a.yaml",
        "apiVersion: security.istio.io/v1\n"
        "kind: AuthorizationPolicy\n"
        "metadata: {name: NAME, namespace: shop}\n"
        "spec: {rules: [{from: [{source: {principals: [alien/ns/a/sa/b]}}]}]}\n");
  EXPECT_TRUE(directory.reload());
  ASSERT_EQ(directory.health().warnings.size(), 1u);
  EXPECT_EQ(directory.health().warnings[0].origin.line, 4u);
  EXPECT_FALSE(directory.reload()) << "nothing is new";
  EXPECT_EQ(directory.health().warnings.size(), 1u);
  write("b.yaml", "kind: Nothing\n");
  EXPECT_FALSE(directory.reload());
  EXPECT_EQ(directory.health().warnings.size(), 1u) << "the set with the warning stays";
  std::filesystem::remove(path + "/b.yaml");
  write("a.yaml", kGood, "a");
  EXPECT_TRUE(directory.reload());
  EXPECT_TRUE(directory.health().warnings.empty());
}

TEST_F(PolicyDirectoryTest, a_deleted_file_takes_its_policies_along) {
  write("a.yaml", kGood, "a");
  write("b.yaml", kGood, "b");
  EXPECT_TRUE(directory.reload());
  std::filesystem::remove(path + "/a.yaml");
  EXPECT_TRUE(directory.reload());
  ASSERT_EQ(directory.policies().policies.size(), 1u);
  EXPECT_EQ(directory.policies().policies[0].name, "b");
}

}  // namespace
}  // namespace bulkhead::source
