#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "tests/unit/policies/texts.h"

namespace bulkhead::policies {
namespace {

struct Block {
  std::string kind, title, text, messages;
};

/// The format stands at the top of refusals.txt.
std::vector<Block> read_blocks() {
  std::vector<Block> blocks;
  std::ifstream stream(REFUSALS_DIRECTORY "/refusals.txt");
  bool in_messages = false;
  for (std::string line; std::getline(stream, line);) {
    if (line.starts_with("=== ")) {
      const std::size_t colon = line.find(": ");
      blocks.push_back({line.substr(4, colon - 4), line.substr(colon + 2), "", ""});
      in_messages = false;
    } else if (line == ">>>") {
      in_messages = true;
    } else if (!blocks.empty()) {
      (in_messages ? blocks.back().messages : blocks.back().text) += line + "\n";
    }
  }
  return blocks;
}

TEST(Refusals, every_message_is_exact) {
  const auto blocks = read_blocks();
  ASSERT_GE(blocks.size(), 30u);
  for (const auto& block : blocks) {
    const std::string text =
        block.kind == "NetworkPolicy"         ? network_policy(block.text)
        : block.kind == "SegmentationPolicy"  ? segmentation_policy(block.text)
        : block.kind == "AuthorizationPolicy" ? authorization_policy(block.text)
        : block.kind == "Invariant"           ? invariant(block.text)
        : block.kind == "AdminNetworkPolicy" || block.kind == "BaselineAdminNetworkPolicy"
            ? cluster_object("v1alpha1", block.kind, block.text)
        : block.kind == "ClusterNetworkPolicy" ? cluster_object("v1alpha2", block.kind, block.text)
                                               : block.text;
    EXPECT_EQ(refusal(text) + "\n", block.messages) << block.title;
  }
}

TEST(Refusals, an_object_that_is_there_again_and_again_is_no_flood) {
  std::string text;
  for (std::size_t i = 0; i < 10 * Report::kErrorsMax; ++i)
    text += "---\n" + network_policy("  podSelector: {}\n");
  const Loaded loaded = load_text(text);
  ASSERT_EQ(loaded.errors.size(), Report::kErrorsMax + 1);
  EXPECT_EQ(loaded.errors.back().message, kMoreErrors);
}

TEST(Refusals, an_empty_file_is_no_empty_set) {
  constexpr std::string_view kMessage =
      "p.yaml:1:1: found an empty file, expected a policy; to have none, remove the file";
  for (const char* text : {"", "\n \n", "---\n", "---\n---\n", "null\n", "\xef\xbb\xbf"})
    EXPECT_EQ(refusal(text), kMessage) << text;
  const Loaded comments = load_text("# nothing yet\n");
  EXPECT_TRUE(comments.ok());
  ASSERT_EQ(comments.warnings.size(), 1u);
  EXPECT_EQ(format(comments.warnings[0]), "p.yaml:1:1: found comments alone, and no policy");
  EXPECT_EQ(refusal("apiVersion: v1\nkind: List\nitems: []\n"), "");
}

TEST(Refusals, one_bad_file_refuses_the_whole_set) {
  const std::vector<File> files = {{"good.yaml", network_policy("  podSelector: {}\n")},
                                   {"bad.yaml", "apiVersion: v1\nkind: Pod\n"},
                                   {"worse.yaml", "a: [\n"}};
  const Loaded loaded = load(files);
  EXPECT_TRUE(loaded.policies.policies.empty());
  ASSERT_EQ(loaded.errors.size(), 2u);
  EXPECT_EQ(loaded.errors[0].origin.file, "bad.yaml");
  EXPECT_EQ(loaded.errors[1].origin.file, "worse.yaml");
}

TEST(Refusals, other_kinds_are_passed_over_only_where_asked_and_only_if_harmless) {
  const LoadOptions mixed{.skip_other_kinds = true};
  EXPECT_EQ(refusal("apiVersion: v1\nkind: Pod\n", mixed), "");
  EXPECT_EQ(refusal("apiVersion: apps/v1\nkind: Deployment\n", mixed), "");
  EXPECT_NE(refusal("apiVersion: networking.k8s.io/v1\nkind: NetworkPolcy\n", mixed), "");
  EXPECT_NE(refusal("apiVersion: networking.k8s.io/v2\nkind: NetworkPolicy\n", mixed), "");
  EXPECT_NE(refusal("apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\n", mixed), "");
}

TEST(Refusals, files_that_cannot_be_read) {
  const std::vector<std::string> paths = {"/nonexistent/p.yaml", "/"};
  const Loaded loaded = load_paths(paths);
  ASSERT_EQ(loaded.errors.size(), 2u);
  EXPECT_EQ(format(loaded.errors[0]), "/nonexistent/p.yaml: cannot be opened: No such file or directory");
  EXPECT_EQ(format(loaded.errors[1]), "/: not a regular file");
}

TEST(Refusals, a_pipe_is_read_that_was_given_and_none_that_lies_about) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  ASSERT_EQ(write(ends[1], "kind: x\n", 8), 8);
  close(ends[1]);
  Report report("");
  EXPECT_EQ(read_file("/dev/fd/" + std::to_string(ends[0]), report), "kind: x\n");
  close(ends[0]);
  EXPECT_TRUE(report.errors().empty());
  const std::string named = testing::TempDir() + "bulkhead-fifo-" + std::to_string(getpid());
  ASSERT_EQ(mkfifo(named.c_str(), 0600), 0);
  EXPECT_FALSE(read_file(named, report));
  unlink(named.c_str());
  ASSERT_EQ(report.errors().size(), 1u);
  EXPECT_EQ(format(report.errors()[0]), "not a regular file");
}

// Files of /proc say that they have no bytes, as one that has just begun to grow does.
TEST(Refusals, a_file_longer_than_it_said_is_read_whole) {
  Report report("f");
  const auto text = read_file("/proc/self/status", report);
  ASSERT_TRUE(text) << format(report.errors().front());
  EXPECT_TRUE(text->starts_with("Name:"));
  EXPECT_TRUE(text->ends_with('\n'));
  Limits few;
  few.file_bytes_max = 5;
  EXPECT_FALSE(read_file("/proc/self/status", report, few));
}

TEST(Refusals, errors_are_bounded) {
  std::string text = "spec: 1\n";
  for (int i = 0; i < 1000; ++i) text += "---\njust text\n";
  const Loaded loaded = load_text(text);
  EXPECT_EQ(loaded.errors.size(), Report::kErrorsMax + 1);
}

}  // namespace
}  // namespace bulkhead::policies
