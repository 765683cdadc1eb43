// The pages that people read name what the program has.
#include <gtest/gtest.h>

#include <fstream>

#include "dataplane/abi/fate.h"
#include "tools/ctl/command.h"

namespace bulkhead::ctl {
namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string page(const std::string& path) {
  std::ifstream file(std::string(BULKHEAD_SOURCE) + "/" + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(Pages, operations_explains_every_fate) {
  const std::string text = page("docs/operations.md");
  for (const abi::FateText& fate : abi::kFates)
    EXPECT_TRUE(contains(text, "| `" + std::string(fate.name) + "` |")) << fate.name;
}

TEST(Pages, the_manual_has_every_command_and_option) {
  const std::string text = page("docs/man/bulkheadctl.1");
  for (const Command& command : commands()) {
    EXPECT_TRUE(contains(text, ".SS " + std::string(command.name))) << command.name;
    for (const Option& option : command.options) {
      std::string name = option.name;
      if (command.operand != nullptr && name == command.operand) continue;
      name = name.substr(0, name.find(','));
      EXPECT_TRUE(contains(text, "\\-\\-" + name)) << command.name << " --" << name;
    }
  }
}

}  // namespace
}  // namespace bulkhead::ctl
