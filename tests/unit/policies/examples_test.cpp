#include <gtest/gtest.h>

#include <filesystem>

#include "policies/load/load.h"

namespace bulkhead::policies {
namespace {

TEST(Examples, every_example_loads_with_all_the_others) {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(POLICIES_DIRECTORY "/examples"))
    paths.push_back(entry.path());
  ASSERT_GE(paths.size(), 5u);
  const Loaded loaded = load_paths(paths);
  for (const auto& error : loaded.errors) ADD_FAILURE() << format(error);
  EXPECT_EQ(loaded.policies.policies.size(), 6u);
}

}  // namespace
}  // namespace bulkhead::policies
