// `policy import`, from the command line to exit codes, the report and a file.
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

constexpr char kWhole[] =
    "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: shop}\n"
    "spec: {endpointSelector: {}, ingress: [{fromEndpoints: [{}]}]}\n";
constexpr char kPart[] =
    "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: q, namespace: shop}\n"
    "spec: {endpointSelector: {}, egress: [{toFQDNs: [{matchName: a.example}]}]}\n";

class PolicyImport : public testing::Test {
 protected:
  PolicyImport() : directory_(fs::temp_directory_path() / ("bulkhead-import-" + std::to_string(::getpid()))) {
    fs::create_directories(directory_);
  }
  ~PolicyImport() override { fs::remove_all(directory_); }

  std::string file(const std::string& name, const std::string& text) {
    const fs::path path = directory_ / name;
    std::ofstream(path, std::ios::binary) << text;
    return path.string();
  }
  int run(std::vector<std::string> words) {
    std::ostringstream out, error;
    words.insert(words.begin(), {"policy", "import"});
    const int exit = ctl::run(words, out, error, false);
    out_ = out.str();
    error_ = error.str();
    return exit;
  }

  fs::path directory_;
  std::string out_, error_;
};

TEST_F(PolicyImport, what_is_whole_is_printed_and_loads) {
  EXPECT_EQ(run({file("whole.yaml", kWhole)}), kExitGood);
  EXPECT_EQ(error_, "");
  std::ostringstream out, error;
  EXPECT_EQ(ctl::run({"policy", "validate", file("result.yaml", out_)}, out, error, false), kExitGood)
      << out.str();
}

TEST_F(PolicyImport, files_in_which_there_is_nothing_to_import_are_refused) {
  for (const char* text :
       {"", "apiVersion: v1\nkind: List\nitems:\n", "apiVersion: apps/v1\nkind: Deployment\n"}) {
    const std::string path = file("nothing.yaml", text);
    EXPECT_EQ(run({path}), kExitRefused);
    EXPECT_EQ(error_, path + ":1:1: found no policy of Cilium, Calico or Envoy to turn into others\n");
  }
}

TEST_F(PolicyImport, what_is_lost_is_reported_beside_the_result) {
  const std::string part = file("part.yaml", kPart);
  EXPECT_EQ(run({part}), kExitRefused);
  EXPECT_EQ(
      error_,
      part +
          ":4:50: CiliumNetworkPolicy shop/q: spec.egress[0].toFQDNs[0]: stricter: found toFQDNs, whose "
          "addresses are not known here: this peer is not allowed here\n");
  EXPECT_NE(out_.find("kind: SegmentationPolicy"), std::string::npos);
  EXPECT_EQ(run({part, "--strict"}), kExitRefused);
  EXPECT_EQ(out_, "");
  EXPECT_EQ(run({part, "-o", "json"}), kExitRefused);
  const Value value = Value::parse(out_);
  EXPECT_EQ(value["complete"], false);
  EXPECT_EQ(value["losses"][0]["effect"], "stricter");
  EXPECT_EQ(value["losses"][0]["line"], 4);
  EXPECT_EQ(value["objects"][0]["source"], "CiliumNetworkPolicy shop/q");
  EXPECT_EQ(error_, "");
}

TEST_F(PolicyImport, the_result_is_written_to_a_file) {
  const std::string result = (directory_ / "result.yaml").string();
  EXPECT_EQ(run({file("whole.yaml", kWhole), "-O", result}), kExitGood) << error_;
  EXPECT_EQ(out_, "1 object, 0 fields not carried over\n");
  EXPECT_GT(fs::file_size(result), 0u);
}

TEST_F(PolicyImport, a_filter_of_envoy_needs_whom_it_guards) {
  const std::string filter = file("filter.yaml", "rules: {action: ALLOW}\n");
  EXPECT_EQ(run({filter}), kExitUsage);
  EXPECT_EQ(run({filter, "--namespace", "shop", "--selector", "app=web,tier=front"}), kExitGood) << error_;
  EXPECT_NE(out_.find("matchLabels: {app: web, tier: front}"), std::string::npos);
  EXPECT_EQ(run({filter, "--namespace", "shop", "--selector", "app"}), kExitUsage);
  EXPECT_EQ(run({filter, "--namespace", "Shop"}), kExitUsage);
  EXPECT_EQ(run({filter, "--namespace", "shop", "--priority", "1001"}), kExitUsage);
  EXPECT_EQ(run({}), kExitUsage);
}

}  // namespace
}  // namespace bulkhead::ctl
