// Invariants in the policy commands, from the command line to the answer.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "tools/ctl/cli.h"
#include "tools/ctl/command.h"

namespace bulkhead::ctl {
namespace {

namespace fs = std::filesystem;

constexpr char kCluster[] = R"(apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: shop}}
- apiVersion: v1
  kind: Pod
  metadata: {name: web, namespace: shop, uid: u1, labels: {app: web}}
  spec: {nodeName: n1, containers: [{name: c}]}
  status: {phase: Running, podIP: 10.0.0.1}
- apiVersion: v1
  kind: Pod
  metadata: {name: db, namespace: shop, uid: u2, labels: {app: db}}
  spec: {nodeName: n2, containers: [{name: c, ports: [{name: psql, containerPort: 5432}]}]}
  status: {phase: Running, podIP: 10.0.0.2}
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

constexpr char kWalls[] = R"(apiVersion: bulkhead.io/v1alpha1
kind: Invariant
metadata: {name: walls}
spec:
  never:
  - {name: world-to-db, from: {world: {}}, to: {matchLabels: {app: db}}, ports: [any]}
  always:
  - {name: sales, from: {matchLabels: {app: web}}, to: {matchLabels: {app: db}}, ports: [tcp/psql]}
)";

struct Ran {
  int exit;
  std::string out, error;
  Value value() const { return Value::parse(out); }
};

class InvariantCommands : public testing::Test {
 protected:
  InvariantCommands()
      : directory_(fs::temp_directory_path() /
                   ("bulkhead-invariants-" + std::to_string(::getpid()) + "-" +
                    testing::UnitTest::GetInstance()->current_test_info()->name())) {
    fs::create_directories(directory_ / "good");
    fs::create_directories(directory_ / "bad");
    cluster_ = file("cluster.yaml", kCluster);
    walls_ = file("walls.yaml", kWalls);
    db_ = file("db.yaml", kDb);
    file("good/db.yaml", kDb);
    file("good/walls.yaml", kWalls);
    std::string open = kDb;
    open.replace(open.find("podSelector: {matchLabels: {app: web}}"), 38, "ipBlock: {cidr: 0.0.0.0/0}");
    file("bad/db.yaml", open);
    file("bad/walls.yaml", kWalls);
    good_ = (directory_ / "good").string();
    bad_ = (directory_ / "bad").string();
    broken_ = "Invariant walls, never 'world-to-db' (" + bad_ +
              "/walls.yaml:6) is broken: 198.51.100.1 -> shop/db (10.0.0.2) tcp/5432 is allowed by "
              "NetworkPolicy shop/db, rule 'ingress[0]' (" +
              bad_ + "/db.yaml:7)";
  }
  ~InvariantCommands() override { fs::remove_all(directory_); }

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

  fs::path directory_;
  std::string cluster_, walls_, db_, good_, bad_, broken_;
};

TEST_F(InvariantCommands, validate_proves_where_there_is_a_cluster) {
  const Ran unproven = run({"policy", "validate", bad_});
  EXPECT_EQ(unproven.exit, kExitGood) << unproven.error;
  EXPECT_NE(unproven.out.find("invariants are proven where --cluster is given"), std::string::npos);
  const Ran good = run({"policy", "validate", good_, "--cluster", cluster_});
  EXPECT_EQ(good.exit, kExitGood) << good.out << good.error;
  EXPECT_NE(good.out.find("every invariant holds"), std::string::npos) << good.out;
  const Ran bad = run({"policy", "validate", bad_, "--cluster", cluster_});
  EXPECT_EQ(bad.exit, kExitRefused);
  EXPECT_EQ(bad.out, broken_ + "\nnothing of this would be enforced\n");
}

TEST_F(InvariantCommands, validate_proves_for_a_node_with_the_rows_of_others) {
  // db lives on n2, and its policy alone decides: n1 needs its row.
  for (const char* node : {"n1", "n2"})
    EXPECT_EQ(run({"policy", "validate", good_, "--cluster", cluster_, "--node", node}).exit, kExitGood)
        << node;
  EXPECT_EQ(run({"policy", "validate", bad_, "--cluster", cluster_, "--node", "n2"}).exit, kExitRefused);
  // No packet of the world to db has an end on n1.
  EXPECT_EQ(run({"policy", "validate", bad_, "--cluster", cluster_, "--node", "n1"}).exit, kExitGood);
}

TEST_F(InvariantCommands, a_set_that_breaks_one_answers_no_question) {
  const std::string questions = file("q.csv", "shop/web,shop/db,tcp,5432\n");
  const auto test = [&](const std::string& policies) {
    return run({"policy", "test", "--cluster", cluster_, "--policies", policies, "--queries", questions});
  };
  EXPECT_EQ(test(good_).exit, kExitGood) << test(good_).error;
  const Ran bad = test(bad_);
  EXPECT_EQ(bad.exit, kExitRefused);
  EXPECT_NE(bad.error.find(broken_), std::string::npos) << bad.error;
  EXPECT_EQ(bad.out, "");
}

TEST_F(InvariantCommands, diff_says_that_the_new_set_breaks_one) {
  const Ran bad = run({"policy", "diff", bad_, bad_, "--cluster", cluster_});
  EXPECT_EQ(bad.exit, kExitRefused) << bad.error;
  EXPECT_EQ(bad.out, broken_ + "\nno packet tells them apart\n");
  EXPECT_EQ(run({"policy", "diff", good_, good_, "--cluster", cluster_}).exit, kExitGood);
}

TEST_F(InvariantCommands, lint_finds_broken_and_vacuous_ones) {
  const Ran bad = run({"policy", "lint", bad_, "--cluster", cluster_, "-o", "json"});
  ASSERT_EQ(bad.exit, kExitRefused) << bad.error;
  std::vector<std::string> checks;
  const Value findings = bad.value()["findings"];
  for (const Value& finding : findings)
    if (finding["check"] == "broken-invariant") {
      checks.push_back(finding["object"].get<std::string>());
      EXPECT_EQ(finding["line"], 6);
      EXPECT_EQ(finding["witness"]["text"], "198.51.100.1 -> shop/db (10.0.0.2) tcp/5432");
    }
  EXPECT_EQ(checks, std::vector<std::string>{"Invariant walls, never 'world-to-db'"});
  std::string vacuous = kWalls;
  vacuous.replace(vacuous.find("app: db"), 7, "app: d8");
  const std::string file_name = file("vacuous.yaml", vacuous);
  const Ran lint = run({"policy", "lint", db_, file_name, "--cluster", cluster_});
  EXPECT_EQ(lint.exit, kExitRefused);
  EXPECT_NE(lint.out.find(file_name +
                          ":6:5: vacuous-invariant: Invariant walls, never 'world-to-db' means no packet: "
                          "nobody is 'pods app=d8 in every namespace'"),
            std::string::npos)
      << lint.out;
}

TEST_F(InvariantCommands, prove_asks_those_of_the_policies_and_those_of_files) {
  const Ran own = run({"policy", "prove", "--policies", good_, "--cluster", cluster_});
  EXPECT_EQ(own.exit, kExitGood) << own.error;
  EXPECT_EQ(own.out, "yes  Invariant walls, never 'world-to-db' (" + good_ +
                         "/walls.yaml:6)\n"
                         "yes  Invariant walls, always 'sales' (" +
                         good_ + "/walls.yaml:8)\n");
  const Ran bad = run({"policy", "prove", "--policies", bad_ + "/db.yaml", "--cluster", cluster_, walls_});
  EXPECT_EQ(bad.exit, kExitRefused) << bad.error;
  EXPECT_NE(bad.out.find("no   Invariant walls, never 'world-to-db' (" + walls_ +
                         ":6)\n     witness 198.51.100.1 -> "),
            std::string::npos)
      << bad.out;
  const Ran nothing = run({"policy", "prove", "--policies", db_, "--cluster", cluster_});
  EXPECT_EQ(nothing.exit, kExitUsage) << "neither a claim nor an invariant";
}

TEST_F(InvariantCommands, a_claim_that_cannot_be_understood_needs_no_image) {
  for (const char* claim : {"from world to db", "from world to db: denny", "form world to db: deny",
                            "from world to db ports tpc: deny", "from 10.0.0.1/8 to db: deny",
                            "from /x/ to db: deny", "from =a to db: deny", ""}) {
    const Ran ran = run({"--run-dir", directory_.string(), "policy", "prove", claim});
    EXPECT_EQ(ran.exit, kExitUsage) << claim << ": " << ran.error;
  }
  const Ran ran = run({"--run-dir", directory_.string(), "policy", "prove", "from world to db: denny"});
  EXPECT_NE(ran.error.find("did you mean 'deny'"), std::string::npos) << ran.error;
  EXPECT_EQ(run({"--run-dir", directory_.string(), "policy", "prove", "from world to db: deny"}).exit,
            kExitNoAnswer);
}

}  // namespace
}  // namespace bulkhead::ctl
