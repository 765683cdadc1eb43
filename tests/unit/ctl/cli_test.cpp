#include "tools/ctl/cli.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/unit/ctl/shop.h"
#include "tools/ctl/command.h"

namespace bulkhead::ctl {
namespace {

struct Result {
  int exit;
  std::string out, error;
};

Result ctl(const std::vector<std::string>& words) {
  std::ostringstream out, error;
  const int exit = run(words, out, error, false);
  return {exit, out.str(), error.str()};
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// A directory of its own, with the shop's image in a file.
class Cli : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/bulkheadctl-test-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    dir_ = name;
    std::ofstream file(image(), std::ios::binary);
    const std::vector<std::byte> bytes = image::join_file(shop_.bytes.image.sections());
    file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  std::string image() const { return dir_ + "/node.image"; }
  std::string write(const std::string& name, const std::string& text) {
    std::ofstream(dir_ + "/" + name) << text;
    return dir_ + "/" + name;
  }

  std::string dir_;
  shop::Image shop_ = shop::compile_shop();
};

TEST_F(Cli, an_unknown_command_is_a_usage_error_with_the_nearest_spelling) {
  const Result result = ctl({"verdcit"});
  EXPECT_EQ(result.exit, kExitUsage);
  EXPECT_TRUE(contains(result.error, "did you mean 'verdict'?")) << result.error;
  EXPECT_EQ(result.out, "");
}

TEST_F(Cli, an_unknown_subcommand_is_told_what_there_is) {
  const Result result = ctl({"image", "shwo"});
  EXPECT_EQ(result.exit, kExitUsage);
  EXPECT_TRUE(contains(result.error, "did you mean 'show'?")) << result.error;
}

TEST_F(Cli, an_unknown_option_is_a_usage_error_with_the_nearest_spelling) {
  const Result result = ctl({"verdict", "--form", "a"});
  EXPECT_EQ(result.exit, kExitUsage);
  EXPECT_TRUE(contains(result.error, "did you mean '--from'?")) << result.error;
}

TEST_F(Cli, an_abbreviated_option_is_refused) {
  const Result result = ctl({"verdict", "--fro", "web"});
  EXPECT_EQ(result.exit, kExitUsage);
  EXPECT_TRUE(contains(result.error, "there is no option '--fro'")) << result.error;
}

TEST_F(Cli, operands_where_none_belong_are_refused) {
  EXPECT_EQ(ctl({"status", "now"}).exit, kExitUsage);
}

TEST_F(Cli, a_missing_value_and_an_unknown_format_are_usage_errors) {
  EXPECT_EQ(ctl({"status", "-o"}).exit, kExitUsage);
  const Result result = ctl({"status", "-o", "jsn"});
  EXPECT_EQ(result.exit, kExitUsage);
  EXPECT_TRUE(contains(result.error, "did you mean 'json'?")) << result.error;
}

TEST_F(Cli, every_command_has_help_with_examples) {
  for (const Command& command : commands()) {
    std::vector<std::string> words;
    std::istringstream name(command.name);
    for (std::string word; name >> word;) words.push_back(word);
    words.emplace_back("--help");
    const Result result = ctl(words);
    EXPECT_EQ(result.exit, kExitGood) << command.name;
    EXPECT_TRUE(contains(result.out, std::string("usage: bulkheadctl ") + command.name)) << result.out;
    EXPECT_TRUE(contains(result.out, "examples:\n  ")) << result.out;
  }
}

TEST_F(Cli, help_for_a_group_lists_its_commands) {
  for (const auto& words : {std::vector<std::string>{"image", "--help"}, {"help", "image"}}) {
    const Result result = ctl(words);
    EXPECT_EQ(result.exit, kExitGood) << result.error;
    EXPECT_TRUE(contains(result.out, "image verify")) << result.out;
    EXPECT_FALSE(contains(result.out, "policy")) << result.out;
  }
}

TEST_F(Cli, a_wrong_limit_is_a_usage_error_even_if_no_data_plane_answers) {
  const Result result = ctl({"flows", "--limit", "x", "--run-dir", dir_});
  EXPECT_EQ(result.exit, kExitUsage) << result.error;
}

TEST_F(Cli, common_options_may_stand_before_the_command) {
  const Result result = ctl({"-o", "json", "--run-dir", dir_, "status"});
  EXPECT_EQ(result.exit, kExitNoAnswer);
  EXPECT_EQ(Value::parse(result.out)["dataplane"]["running"], false);
}

TEST_F(Cli, status_works_with_both_processes_down_and_says_so) {
  const Result result = ctl({"status", "--run-dir", dir_});
  EXPECT_EQ(result.exit, kExitNoAnswer);
  EXPECT_TRUE(contains(result.out, "not running")) << result.out;
}

TEST_F(Cli, what_needs_the_data_plane_has_an_exit_code_of_its_own_without_it) {
  for (const char* command : {"flows", "counters", "ports", "endpoints", "identities"}) {
    const Result result = ctl({command, "--run-dir", dir_});
    EXPECT_EQ(result.exit, kExitNoAnswer) << command;
    EXPECT_TRUE(contains(result.error, "the data plane does not answer")) << result.error;
  }
}

TEST_F(Cli, a_verdict_is_an_exit_code) {
  EXPECT_EQ(ctl({"verdict", "--image", image(), "--from", "web", "--to", "api", "--port", "tcp/8080"}).exit,
            0);
  EXPECT_EQ(ctl({"verdict", "--image", image(), "--from", "web", "--to", "api", "--port", "tcp/22"}).exit, 1);
  EXPECT_EQ(ctl({"verdict", "--image", image(), "--from", "web", "--to", "nobody", "--port", "tcp/22"}).exit,
            2);
  EXPECT_EQ(ctl({"verdict", "--image", image(), "--from", "web", "--to", "api"}).exit, 2);
  EXPECT_EQ(ctl({"verdict", "--run-dir", dir_, "--from", "web", "--to", "api", "--port", "tcp/22"}).exit, 3);
}

TEST_F(Cli, a_verdict_says_why_to_people) {
  const Result result = ctl({"verdict", "--image", image(), "-f", "job", "-t", "api", "-p", "tcp/8080"});
  EXPECT_TRUE(contains(result.out, "DENY  shop/job (10.0.0.4) -> shop/api (10.0.0.2) tcp/8080"))
      << result.out;
  EXPECT_TRUE(
      contains(result.out, "shop/api is isolated for ingress by SegmentationPolicy shop/shop (shop.yaml:"))
      << result.out;
  EXPECT_TRUE(contains(result.out, "rule 'web-to-api' (shop.yaml:6)")) << result.out;
}

TEST_F(Cli, a_verdict_is_the_same_in_yaml_and_json) {
  const std::vector<std::string> words = {"verdict", "--image", image(), "-f",       "web",
                                          "-t",      "api",     "-p",    "tcp/8080", "-o"};
  auto json = words, yaml = words;
  json.emplace_back("json");
  yaml.emplace_back("yaml");
  EXPECT_EQ(Value::parse(ctl(json).out)["ingress"]["rule"]["name"], "web-to-api");
  EXPECT_TRUE(contains(ctl(yaml).out, "name: \"web-to-api\""));
}

TEST_F(Cli, ends_without_a_common_family_are_no_question) {
  const Result result = ctl({"verdict", "--image", image(), "-f", "job", "-t", "fd00::1", "-p", "tcp/80"});
  EXPECT_EQ(result.exit, kExitUsage);
  EXPECT_TRUE(contains(result.error, "no addresses of one family")) << result.error;
}

TEST_F(Cli, endpoints_and_identities_come_from_an_image_file_too) {
  const Value endpoints =
      Value::parse(ctl({"endpoints", "--image", image(), "-n", "shop", "-o", "json"}).out);
  EXPECT_EQ(endpoints["endpoints"].size(), 4u);
  const Value identities = Value::parse(ctl({"identities", "--image", image(), "-o", "json"}).out);
  EXPECT_EQ(identities["identities"].size(), 7u);
}

TEST_F(Cli, a_whole_image_verifies_and_a_changed_byte_is_found) {
  EXPECT_EQ(ctl({"image", "verify", image()}).exit, kExitGood);
  EXPECT_EQ(ctl({"image", "show", image()}).exit, kExitGood);
  std::fstream file(image(), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(1000);
  file.put('\x5a');
  file.close();
  const Result result = ctl({"image", "verify", image()});
  EXPECT_EQ(result.exit, kExitRefused);
  EXPECT_TRUE(contains(result.error, image())) << result.error;
}

TEST_F(Cli, bytes_behind_an_image_are_refused) {
  std::ofstream(image(), std::ios::binary | std::ios::app) << std::string(4096, 'x');
  EXPECT_EQ(ctl({"image", "verify", image()}).exit, kExitRefused);
}

TEST_F(Cli, a_file_that_is_no_image_is_refused_with_its_name) {
  EXPECT_EQ(ctl({"image", "verify", dir_ + "/none"}).exit, kExitRefused);
  EXPECT_EQ(ctl({"image", "verify", dir_}).exit, kExitRefused);
  EXPECT_EQ(ctl({"image", "verify", write("short", "x")}).exit, kExitRefused);
  const std::string pipe = dir_ + "/pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(ctl({"image", "verify", pipe}).exit, kExitRefused);
  EXPECT_EQ(ctl({"policy", "diff", pipe, pipe, "--cluster", pipe}).exit, kExitRefused);
  const Result none = ctl({"policy", "diff", dir_ + "/none", dir_ + "/none"});
  EXPECT_EQ(none.exit, kExitRefused);
  EXPECT_EQ(none.error, "bulkheadctl: " + dir_ + "/none: No such file or directory\n");
  EXPECT_EQ(ctl({"image", "verify", write("other", std::string(10000, 'x'))}).exit, kExitRefused);
  std::filesystem::resize_file(image(), std::filesystem::file_size(image()) - 4096);
  EXPECT_EQ(ctl({"image", "verify", image()}).exit, kExitRefused);
}

TEST_F(Cli, policy_validation_prints_the_place_of_every_error) {
  const std::string good = write("shop.yaml", shop::kEdges);
  EXPECT_EQ(ctl({"policy", "validate", good}).exit, kExitGood);
  EXPECT_EQ(ctl({"policy", "validate", dir_}).exit, kExitGood);
  std::string text = shop::kEdges;
  text.replace(text.find("tcp/5432"), 8, "tpc/5432");
  const std::string bad = write("bad.yaml", text);
  const Result result = ctl({"policy", "validate", bad});
  EXPECT_EQ(result.exit, kExitRefused);
  EXPECT_TRUE(result.error.starts_with(bad + ":13:")) << result.error;
  EXPECT_TRUE(result.error.ends_with("1 error: nothing of this would be enforced\n")) << result.error;
  EXPECT_EQ(result.out, "");
  const Result as_json = ctl({"policy", "validate", bad, "-o", "json"});
  EXPECT_TRUE(contains(as_json.out, bad + ":13:")) << as_json.out;
  EXPECT_EQ(as_json.error, "");
  EXPECT_EQ(ctl({"policy", "validate"}).exit, kExitUsage);
}

TEST_F(Cli, an_answer_that_cannot_be_written_is_no_success) {
  std::ofstream full("/dev/full");
  ASSERT_TRUE(full);
  for (const auto& words : {std::vector<std::string>{"--help"},
                            {"policy", "validate", write("shop.yaml", shop::kEdges)},
                            {"completion", "bash"}}) {
    full.clear();
    std::ostringstream error;
    EXPECT_EQ(run(words, full, error, false), kExitRefused) << words[0];
    EXPECT_EQ(error.str(), "bulkheadctl: the answer cannot be written\n");
  }
}

TEST_F(Cli, wrong_words_about_a_policy_set_are_usage_errors) {
  const std::string good = write("shop.yaml", shop::kEdges);
  const std::string cluster =
      write("cluster", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {nodeName: node-1}\n");
  EXPECT_EQ(ctl({"policy", "validate", good, "--posture", "maybe"}).exit, kExitUsage);
  EXPECT_EQ(ctl({"policy", "validate", good, "--trust-domain", "a b"}).exit, kExitUsage);
  EXPECT_EQ(ctl({"policy", "validate", good, "--root-namespace", "A"}).exit, kExitUsage);
  EXPECT_EQ(ctl({"policy", "validate", good, "--cluster", cluster, "--node", "node-1"}).exit, kExitGood);
  const Result nobody = ctl({"policy", "validate", good, "--cluster", cluster, "--node", "node-2"});
  EXPECT_EQ(nobody.exit, kExitUsage);
  EXPECT_EQ(nobody.error, "bulkheadctl: --node: no node is called 'node-2'; did you mean \"node-1\"?\n");
}

TEST_F(Cli, policy_validation_prints_warnings_and_calls_the_set_valid) {
  const Result result =
      ctl({"policy", "validate", write("names.yaml", R"(apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: names}
spec:
  tier: Admin
  priority: 1
  subject: {namespaces: {}}
  egress: [{action: Accept, to: [{domainNames: [kubernetes.io]}]}]
)")});
  EXPECT_EQ(result.exit, kExitGood);
  EXPECT_TRUE(contains(result.error, "warning: ")) << result.error;
  EXPECT_TRUE(contains(result.error, "names.yaml:8:")) << result.error;
  EXPECT_TRUE(contains(result.out, "valid")) << result.out;
}

TEST_F(Cli, completion_knows_every_command_and_option) {
  const std::string script = ctl({"completion", "bash"}).out;
  for (const Command& command : commands()) {
    for (const Option& option : command.options) {
      const std::string name = option.name;
      if (command.operand == nullptr || name != command.operand) {
        EXPECT_TRUE(contains(script, "--" + name.substr(0, name.find(',')))) << command.name << " " << name;
      }
    }
  }
}

TEST_F(Cli, a_quarantine_needs_a_whole_name_and_a_reason) {
  EXPECT_EQ(ctl({"quarantine", "add", "--reason", "r"}).exit, kExitUsage);
  const Result result = ctl({"quarantine", "add", "web", "--reason", "r"});
  EXPECT_EQ(result.exit, kExitUsage);
  EXPECT_TRUE(contains(result.error, "expected one NAMESPACE/NAME, found 'web'")) << result.error;
  EXPECT_EQ(ctl({"quarantine", "add", "shop/web", "shop/api", "--reason", "r"}).exit, kExitUsage);
  EXPECT_TRUE(contains(ctl({"quarantine", "add", "shop/web"}).error, "--reason is missing"));
  for (const auto& words : {std::vector<std::string>{"quarantine", "add", "shop/web", "--reason", "r"},
                            {"quarantine", "lift", "shop/web"},
                            {"quarantine", "list"}}) {
    auto whole = words;
    whole.insert(whole.end(), {"--run-dir", dir_});
    const Result asked = ctl(whole);
    EXPECT_EQ(asked.exit, kExitNoAnswer);
    EXPECT_TRUE(contains(asked.error, "the control plane does not answer")) << asked.error;
  }
}

}  // namespace
}  // namespace bulkhead::ctl
