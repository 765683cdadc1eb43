// The commands that ask about whole sets of policies, from the command line to the answer.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/unit/ctl/shop.h"
#include "tools/ctl/cli.h"
#include "tools/ctl/command.h"

namespace bulkhead::ctl {
namespace {

namespace fs = std::filesystem;

constexpr char kCluster[] = R"(apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: shop}}
- {apiVersion: v1, kind: Namespace, metadata: {name: lab}}
- apiVersion: v1
  kind: Pod
  metadata: {name: web, namespace: shop, uid: u1, labels: {app: web}}
  spec: {nodeName: n1, containers: [{name: c, ports: [{name: https, containerPort: 443}]}]}
  status: {phase: Running, podIP: 10.0.0.1}
- apiVersion: v1
  kind: Pod
  metadata: {name: db, namespace: shop, uid: u2, labels: {app: db}}
  spec: {nodeName: n1, containers: [{name: c, ports: [{name: psql, containerPort: 5432}]}]}
  status: {phase: Running, podIP: 10.0.0.2}
- apiVersion: v1
  kind: Pod
  metadata: {name: job, namespace: lab, uid: u3, labels: {app: job}}
  spec: {nodeName: n2, containers: [{name: c}]}
  status: {phase: Running, podIP: 10.0.1.1}
)";

constexpr char kDb[] = R"(apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: web}}}]
    ports: [{port: 5432}]
)";

struct Ran {
  int exit;
  std::string out, error;
  Value value() const { return Value::parse(out); }
};

class PolicyAnalysis : public testing::Test {
 protected:
  PolicyAnalysis()
      : directory_(fs::temp_directory_path() /
                   ("bulkhead-analysis-" + std::to_string(::getpid()) + "-" +
                    testing::UnitTest::GetInstance()->current_test_info()->name())) {
    fs::create_directories(directory_);
    cluster_ = file("cluster.yaml", kCluster);
  }
  ~PolicyAnalysis() override { fs::remove_all(directory_); }

  std::string file(const std::string& name, const std::string& text) {
    const fs::path path = directory_ / name;
    std::ofstream(path, std::ios::binary) << text;
    return path.string();
  }
  static Ran run(std::vector<std::string> words) {
    std::ostringstream out, error;
    const int exit = ctl::run(words, out, error, false);
    return {exit, out.str(), error.str()};
  }
  static std::string replaced(std::string text, const std::string& from, const std::string& to) {
    const auto at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  }

  fs::path directory_;
  std::string cluster_;
};

TEST_F(PolicyAnalysis, diff_of_a_file_with_itself_is_empty_and_exits_with_0) {
  const std::string db = file("db.yaml", kDb);
  const Ran ran = run({"policy", "diff", db, db, "--cluster", cluster_});
  EXPECT_EQ(ran.exit, kExitGood) << ran.error;
  EXPECT_EQ(ran.out, "no packet tells them apart\n");
}

TEST_F(PolicyAnalysis, diff_names_parties_ports_and_a_witness_with_both_rules) {
  const std::string old = file("old.yaml", kDb);
  const std::string now = file("new.yaml", replaced(kDb, "port: 5432", "port: 5433"));
  const Ran ran = run({"policy", "diff", old, now, "--cluster", cluster_, "-o", "json"});
  EXPECT_EQ(ran.exit, kExitRefused) << ran.error;
  const Value changes = ran.value()["changes"];
  ASSERT_EQ(changes.size(), 2u) << ran.out;
  for (const Value& change : changes) {
    const bool opens = change["change"] == "opens";
    EXPECT_EQ(change["from_text"], Value({"app=web in namespace shop"}));
    EXPECT_EQ(change["to_text"], Value({"app=db in namespace shop"}));
    EXPECT_EQ(change["ports_text"], opens ? "tcp/5433" : "tcp/5432");
    EXPECT_EQ(change["witness"]["source_name"], "shop/web");
    EXPECT_EQ(change["witness"][opens ? "new" : "old"]["rule"]["line"], 7);
    EXPECT_EQ(change["witness"][opens ? "old" : "new"]["fate"], "denied_default");
  }
}

TEST_F(PolicyAnalysis, diff_for_people_says_what_closes) {
  const std::string old = file("old.yaml", kDb);
  const std::string now =
      file("new.yaml", replaced(kDb, "matchLabels: {app: web}", "matchLabels: {app: nobody}"));
  const Ran ran = run({"policy", "diff", old, now, "--cluster", cluster_});
  EXPECT_EQ(ran.out,
            "closes app=web in namespace shop\n"
            "    -> app=db in namespace shop\n"
            "       tcp/5432\n"
            "       witness shop/web (10.0.0.1) -> shop/db (10.0.0.2) tcp/5432\n"
            "         old: allowed by NetworkPolicy shop/db, rule 'ingress[0]' (" +
                old +
                ":7)\n"
                "         new: denied_default at the receiver\n"
                "1 change\n");
}

TEST_F(PolicyAnalysis, diff_judges_the_endpoints_of_one_node_where_it_is_told_to) {
  const std::string old = file("old.yaml", kDb);
  const std::string other = file("other.yaml", replaced(kDb, "app: db", "app: web"));
  EXPECT_EQ(run({"policy", "diff", old, other, "--cluster", cluster_, "--node", "n2"}).exit, kExitGood);
  EXPECT_EQ(run({"policy", "diff", old, other, "--cluster", cluster_, "--node", "n1"}).exit, kExitRefused);
}

TEST_F(PolicyAnalysis, diff_reads_image_files_by_their_first_bytes) {
  const shop::Image shop = shop::compile_shop();
  std::string bytes;
  for (const auto* section : {&shop.bytes.policy, &shop.bytes.binding}) {
    bytes.append(reinterpret_cast<const char*>(section->data()), section->size());
    bytes.resize((bytes.size() + image::kSectionAlign - 1) / image::kSectionAlign * image::kSectionAlign);
  }
  const std::string image = file("node.image", bytes);
  const Ran ran = run({"policy", "diff", image, image});
  EXPECT_EQ(ran.exit, kExitGood) << ran.error;
}

TEST_F(PolicyAnalysis, diff_of_files_needs_a_cluster_and_two_sides) {
  const std::string db = file("db.yaml", kDb);
  const Ran bare = run({"policy", "diff", db, db});
  EXPECT_EQ(bare.exit, kExitUsage);
  EXPECT_NE(bare.error.find("--cluster"), std::string::npos) << bare.error;
  EXPECT_EQ(run({"policy", "diff", db, "--cluster", cluster_}).exit, kExitUsage);
}

}  // namespace
}  // namespace bulkhead::ctl
