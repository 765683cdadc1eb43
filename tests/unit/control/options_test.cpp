#include "dataplane/control/options.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>

namespace bulkhead::control {
namespace {

struct Outcome {
  Parsed parsed;
  std::string out, err;
};

Outcome parse(std::initializer_list<const char*> words) {
  std::vector<const char*> arguments{"bulkhead-dataplane"};
  arguments.insert(arguments.end(), words);
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  Outcome outcome{parse_options(static_cast<int>(arguments.size()), arguments.data()), {}, {}};
  outcome.out = testing::internal::GetCapturedStdout();
  outcome.err = testing::internal::GetCapturedStderr();
  return outcome;
}

TEST(Options, defaults_need_no_words) {
  const Outcome outcome = parse({});
  ASSERT_TRUE(outcome.parsed.options);
  EXPECT_EQ(outcome.parsed.options->run_dir, "/run/bulkhead");
  EXPECT_EQ(outcome.parsed.options->workers, 1u);
  EXPECT_TRUE(outcome.parsed.options->hugepages);
  EXPECT_EQ(outcome.out + outcome.err, "");
}

TEST(Options, wrong_usage_is_exit_code_2_and_one_line_that_names_option_value_and_range) {
  struct Case {
    std::initializer_list<const char*> words;
    const char* line;
  };
  for (const Case& c :
       {Case{{"--workers", "0"}, "--workers 0: expected 1 to 64"},
        Case{{"--workers", "65"}, "--workers 65: expected 1 to 64"},
        Case{{"--workers", "-1"}, "--workers 4294967295: expected 1 to 64"},
        Case{{"--workers", "two"}, "'two'"}, Case{{"--flows", "15"}, "--flows 15: expected 16 to"},
        Case{{"--packets", "100"}, "--packets 100: expected 2048 to"},
        Case{{"--cpus", "2-"}, "--cpus 2-: expected a list such as 2,3 or 2-5"},
        Case{{"--cpus", "3-2"}, "--cpus 3-2"}, Case{{"--cpus", "1;2"}, "--cpus 1;2"},
        Case{{"--cpus", "2000"}, "--cpus 2000"}, Case{{"--cpus", ","}, "--cpus ,"},
        Case{{"--timeout-udp", "0"}, "a timeout of 0 s: expected 1 to"},
        Case{{"--log-level", "loud"}, "--log-level loud: expected debug, info, warn or error"},
        Case{{"--flow", "100"}, "there is no option '--flow'; did you mean '--flows'?"},
        Case{{"--nonsense"}, "there is no option '--nonsense'\n"},
        Case{{"stray"}, "takes options only, no operands"}, Case{{"--run-dir"}, "--run-dir"},
        Case{{"--eal"}, "--eal"}}) {
    const Outcome outcome = parse(c.words);
    EXPECT_FALSE(outcome.parsed.options) << c.line;
    EXPECT_EQ(outcome.parsed.exit_code, 2) << c.line;
    EXPECT_EQ(outcome.err.rfind("bulkhead-dataplane: ", 0), 0u) << outcome.err;
    EXPECT_NE(outcome.err.find(c.line), std::string::npos) << outcome.err;
    EXPECT_NE(outcome.err.find("\nTry 'bulkhead-dataplane --help'.\n"), std::string::npos) << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 2) << outcome.err;
  }
}

TEST(Options, help_and_version_are_no_errors) {
  for (const char* word : {"--help", "--version", "-h"}) {
    const Outcome outcome = parse({word});
    EXPECT_FALSE(outcome.parsed.options);
    EXPECT_EQ(outcome.parsed.exit_code, 0);
    EXPECT_NE(outcome.out.find("bulkhead-dataplane"), std::string::npos);
    EXPECT_EQ(outcome.err, "");
  }
}

TEST(Options, words_are_taken_as_meant) {
  const Outcome outcome = parse({"--cpus", "2,4-6", "--eal", "--allow=0000:01:00.0", "--eal=--vdev=net_null0",
                                 "--no-huge", "--timeout-tcp-opening", "7"});
  ASSERT_TRUE(outcome.parsed.options) << outcome.err;
  const Options& options = *outcome.parsed.options;
  EXPECT_EQ(options.cpus, (std::vector<std::uint32_t>{2, 4, 5, 6}));
  EXPECT_EQ(options.eal, (std::vector<std::string>{"--allow=0000:01:00.0", "--vdev=net_null0"}));
  EXPECT_FALSE(options.hugepages);
  EXPECT_EQ(options.timeouts.tcp[0], 7);
  EXPECT_EQ(options.timeouts.tcp[1], 7);
}

}  // namespace
}  // namespace bulkhead::control
