// The commands that ask about whole sets of policies, from the command line to the answer.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "tests/unit/ctl/shop.h"
#include "tools/ctl/cli.h"
#include "tools/ctl/command.h"
#include "tools/ctl/drawing.h"

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

TEST_F(PolicyAnalysis, explain_says_of_files_what_verdict_says_of_an_image) {
  const std::string db = file("db.yaml", kDb);
  const auto explain = [&](const char* from, const char* port, std::vector<std::string> more) {
    std::vector<std::string> words = {"policy", "explain", "--from", from, "--to", "shop/db", "--port", port};
    words.insert(words.end(), more.begin(), more.end());
    return run(words);
  };
  const std::vector<std::string> json = {"--policies", db, "--cluster", cluster_, "-o", "json"};
  const Ran allowed = explain("shop/web", "tcp/5432", json);
  ASSERT_EQ(allowed.exit, kExitGood) << allowed.error;
  EXPECT_EQ(allowed.value()["allowed"], true);
  EXPECT_EQ(allowed.value()["judged_by"], db);
  EXPECT_EQ(allowed.value()["ingress"]["rule"]["line"], 7);
  EXPECT_EQ(allowed.value()["ingress"]["selected_by"][0]["policy"], "NetworkPolicy shop/db");
  const Ran denied = explain("lab/job", "tcp/5432", json);
  EXPECT_EQ(denied.exit, kExitRefused) << denied.error;
  EXPECT_EQ(denied.value()["fate"], "denied_default");
  EXPECT_EQ(denied.value()["ingress"]["nearest"]["rule"]["line"], 7);
  const Ran read = explain("shop/web", "tcp/22", {"--policies", db, "--cluster", cluster_});
  EXPECT_NE(read.out.find("selected by NetworkPolicy shop/db"), std::string::npos) << read.out;
  EXPECT_EQ(explain("shop/wbe", "tcp/22", json).exit, kExitUsage) << "nobody has this name";
  EXPECT_EQ(explain("shop/web", "tcp/22", {"--policies", db}).exit, kExitUsage) << "in which cluster?";
  EXPECT_NE(run({"policy", "explain", "--to", "a", "--port", "tcp/1"}).error.find("--from is missing"),
            std::string::npos);
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
  const std::vector<std::byte> joined = image::join_file(shop.bytes.image.sections());
  const std::string bytes(reinterpret_cast<const char*>(joined.data()), joined.size());
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

TEST_F(PolicyAnalysis, prove_says_yes_or_no_with_a_packet_and_its_rule) {
  const std::string db = file("db.yaml", kDb);
  const auto prove = [&](const std::string& claim) {
    return run({"policy", "prove", claim, "--policies", db, "--cluster", cluster_, "-o", "json"});
  };
  for (const char* yes :
       {"from world to shop/db: deny", "from lab/* to app=db ports any: deny",
        "from app=web to shop/app=db ports tcp/5432: allow", "from any to lab/job: allow",
        "from 10.0.1.0/24 to 10.0.0.2: deny", "from app!=web to db ports tcp/5000-6000: deny",
        "from app=web to db ports tcp/1-5431, tcp/5433-65535, udp, icmp: deny"})
    EXPECT_EQ(prove(yes).exit, kExitGood) << yes << "\n" << prove(yes).out << prove(yes).error;

  const Ran no = prove("from any to app=db ports tcp: deny");
  EXPECT_EQ(no.exit, kExitRefused);
  const Value witness = no.value()["claims"][0]["witness"];
  EXPECT_EQ(witness["source_name"], "shop/web");
  EXPECT_EQ(witness["port"], 5432);
  EXPECT_EQ(witness["answer"]["rule"]["file"], db);
  EXPECT_EQ(prove("from world to shop/db ports tcp/5432: allow").exit, kExitRefused);
}

TEST_F(PolicyAnalysis, prove_takes_several_claims_and_claims_in_words) {
  const std::string db = file("db.yaml", kDb);
  const Ran ran = run({"policy", "prove", "from world to shop/db: deny", "from", "lab/job", "to",
                       "world:", "allow", "--policies", db, "--cluster", cluster_});
  EXPECT_EQ(ran.exit, kExitGood) << ran.error;
  EXPECT_EQ(ran.out, "yes  from world to shop/db: deny\nyes  from lab/job to world: allow\n");
}

TEST_F(PolicyAnalysis, prove_refuses_claims_about_nobody_and_claims_that_are_none) {
  const std::string db = file("db.yaml", kDb);
  const auto error = [&](const std::string& claim) {
    const Ran ran = run({"policy", "prove", claim, "--policies", db, "--cluster", cluster_});
    EXPECT_NE(ran.exit, kExitGood) << claim;
    return ran.error;
  };
  EXPECT_NE(error("from app=wbe to any: deny").find("did you mean 'app=web'"), std::string::npos);
  EXPECT_NE(error("from shop/wbe to any: deny").find("did you mean 'shop/web'"), std::string::npos);
  EXPECT_NE(error("from any to any: dney").find("did you mean 'deny'"), std::string::npos);
  EXPECT_NE(error("from any to any ports tpc/80: deny").find("did you mean 'tcp'"), std::string::npos);
  EXPECT_NE(error("from any to any ports tcp/80-70: deny").find("no valid number"), std::string::npos);
  EXPECT_NE(error("from any: deny").find("no 'to END'"), std::string::npos);
  EXPECT_NE(error("from 10.0.0.1/8 to any: deny").find("did you mean '10.0.0.0/8'"), std::string::npos);
}

TEST_F(PolicyAnalysis, matrix_draws_a_letter_for_the_ports_of_a_cell) {
  const std::string db = file("db.yaml", kDb);
  const Ran ran = run({"policy", "matrix", "--policies", db, "--cluster", cluster_});
  EXPECT_EQ(ran.exit, kExitGood) << ran.error;
  EXPECT_NE(ran.out.find("a  tcp/5432\n"), std::string::npos) << ran.out;
  const Ran json = run({"policy", "matrix", "--policies", db, "--cluster", cluster_, "-o", "json"});
  const Value value = json.value();
  std::map<std::string, std::size_t> number;
  for (const Value& actor : value["actors"]) number[actor["text"]] = actor["number"];
  ASSERT_TRUE(number.contains("app=db in namespace shop")) << json.out;
  std::size_t to_db = 0;
  for (const Value& cell : value["cells"])
    if (cell["to"] == number["app=db in namespace shop"]) {
      ++to_db;
      EXPECT_EQ(cell["from"], number["app=web in namespace shop"]);
      EXPECT_EQ(cell["ports_text"], "tcp/5432");
    }
  EXPECT_EQ(to_db, 1u);
}

TEST_F(PolicyAnalysis, matrix_of_a_namespace_leaves_the_others_out) {
  const std::string db = file("db.yaml", kDb);
  const Ran ran = run({"policy", "matrix", "-n", "shop", "--policies", db, "--cluster", cluster_});
  EXPECT_EQ(ran.out.find("app=job"), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("app=web"), std::string::npos) << ran.out;
}

TEST_F(PolicyAnalysis, matrix_is_drawn_as_svg_and_dot) {
  const std::string db = file("db.yaml", kDb);
  const Ran svg = run({"policy", "matrix", "--svg", "--policies", db, "--cluster", cluster_});
  EXPECT_TRUE(svg.out.starts_with("<svg ") && svg.out.ends_with("</svg>\n")) << svg.error;
  EXPECT_NE(svg.out.find(" -&gt; app=db in namespace shop: tcp/5432</title>"), std::string::npos) << svg.out;
  const Ran dot = run({"policy", "matrix", "--dot", "--policies", db, "--cluster", cluster_});
  EXPECT_NE(dot.out.find("[label=\"tcp/5432\"]"), std::string::npos) << dot.out;
  EXPECT_EQ(run({"policy", "matrix", "--dot", "--svg"}).exit, kExitUsage);
}

TEST_F(PolicyAnalysis, lint_names_file_line_and_fix_and_exits_with_1) {
  const std::string any = file("any.yaml", replaced(kDb, "    ports: [{port: 5432}]\n", ""));
  const Ran ran = run({"policy", "lint", any, "--cluster", cluster_});
  EXPECT_EQ(ran.exit, kExitRefused) << ran.error;
  EXPECT_EQ(ran.out,
            any +
                ":7:5: any-port: NetworkPolicy shop/db, rule 'ingress[0]' allows every port, where the "
                "receivers (shop/db) declare tcp/5432 only\n"
                "  fix: ports: [tcp/5432]\n"
                "1 finding in 1 rules of 1 policies\n");
  const Ran json = run({"policy", "lint", any, "--cluster", cluster_, "-o", "json"});
  EXPECT_EQ(json.value()["findings"][0]["check"], "any-port");
  EXPECT_EQ(json.value()["findings"][0]["line"], 7);
}

TEST_F(PolicyAnalysis, lint_repeats_what_reading_warned_of) {
  const std::string audit = file("audit.yaml",
                                 "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n"
                                 "metadata: {name: seen, namespace: shop}\nspec: {rules: [{from: [{source: "
                                 "{principals: [alien/ns/a/sa/b]}}]}]}\n");
  const Ran ran = run({"policy", "lint", audit, "--cluster", cluster_});
  EXPECT_EQ(ran.exit, kExitRefused);
  EXPECT_NE(ran.out.find("load-warning: spec.rules[0].from[0].source.principals[0] found the principal"),
            std::string::npos)
      << ran.out;
}

TEST_F(PolicyAnalysis, what_ends_is_warned_of_and_asked_about_at_any_time) {
  const std::string edge =
      file("edge.yaml",
           "apiVersion: bulkhead.io/v1alpha1\nkind: SegmentationPolicy\n"
           "metadata: {name: probe, namespace: shop}\nspec:\n  edges:\n"
           "  - {name: for-a-while, from: {matchLabels: {app: web}}, to: {matchLabels: {app: db}}, "
           "ports: [tcp/5432], expires: 2026-12-01T08:00:00Z}\n");
  const auto validate = [&](const char* at) {
    return run({"policy", "validate", edge, "--at", at, "-o", "json"}).value()["warnings"];
  };
  EXPECT_TRUE(validate("2026-11-01T00:00:00Z").empty());
  EXPECT_NE(validate("2026-11-25T00:00:00Z")[0]["text"].get<std::string>().find(
                "edge.yaml:6:5: SegmentationPolicy "
                "shop/probe, rule 'for-a-while' expires "
                "at 2026-12-01T08:00:00Z, in 6 days"),
            std::string::npos);
  EXPECT_NE(validate("2026-12-01T08:00:00Z")[0]["text"].get<std::string>().find("has expired"),
            std::string::npos);
  const auto prove = [&](const char* at) {
    return run({"policy", "prove", "from shop/app=web to shop/app=db ports tcp/5432: allow", "--policies",
                edge, "--cluster", cluster_, "--posture", "deny", "--strict", "--at", at})
        .exit;
  };
  EXPECT_EQ(prove("2026-12-01T07:59:59Z"), kExitGood);
  EXPECT_EQ(prove("2026-12-01T09:00:00+01:00"), kExitRefused);
  const Ran lint = run({"policy", "lint", edge, "--cluster", cluster_, "--at", "2027-01-01T00:00:00Z"});
  EXPECT_NE(lint.out.find("expiry: "), std::string::npos) << lint.out;
  const Ran wrong = run({"policy", "validate", edge, "--at", "tomorrow"});
  EXPECT_EQ(wrong.exit, kExitUsage);
  EXPECT_NE(wrong.error.find("'tomorrow' is no moment"), std::string::npos) << wrong.error;
}

TEST_F(PolicyAnalysis, lint_of_what_is_right_exits_with_0_and_needs_endpoints) {
  const std::string db = file("db.yaml", kDb);
  EXPECT_EQ(run({"policy", "lint", db, "--cluster", cluster_}).exit, kExitGood);
  EXPECT_EQ(run({"policy", "lint", db, cluster_}).exit, kExitGood);
  const Ran bare = run({"policy", "lint", db});
  EXPECT_EQ(bare.exit, kExitUsage);
  EXPECT_NE(bare.error.find("--cluster"), std::string::npos) << bare.error;
}

TEST(Drawing, escapes_what_labels_hold) {
  const Value value = {{"actors", {{{"number", 1}, {"text", "app=<&\"\\\n"}, {"self_only", false}}}},
                       {"cells", {{{"from", 1}, {"to", 1}, {"ports_text", "tcp"}, {"some_text", ""}}}}};
  EXPECT_NE(svg_of(value).find("app=&lt;&amp;&quot;"), std::string::npos) << svg_of(value);
  EXPECT_EQ(svg_of(value).find("app=<"), std::string::npos);
  EXPECT_NE(dot_of(value).find("\"app=<&\\\"\\\\"), std::string::npos) << dot_of(value);
}

}  // namespace
}  // namespace bulkhead::ctl
