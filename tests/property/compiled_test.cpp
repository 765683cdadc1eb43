// The compiled tables mean what the oracle means: same verdict, same deciding end, same reason, same rule.
//
// BULKHEAD_PROPERTY_CASES sets how many scenarios are tried, BULKHEAD_PROPERTY_SEED the first seed (one seed
// and one case repeat a failure).

#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/property/agreement.h"

namespace bulkhead::property {
namespace {

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(Property, compiled_tables_agree_with_the_oracle) {
  const std::uint64_t first = from_environment("BULKHEAD_PROPERTY_SEED", 1);
  const std::uint64_t cases = from_environment("BULKHEAD_PROPERTY_CASES", 2000);
  for (std::uint64_t seed = first; seed < first + cases; ++seed) {
    const Scenario scenario = make_scenario(seed);
    const auto packets = make_packets(scenario, 400);
    if (!find_disagreement(scenario, packets)) continue;
    const Scenario small = shrink(scenario, packets);
    FAIL() << "BULKHEAD_PROPERTY_SEED=" << seed << " BULKHEAD_PROPERTY_CASES=1 repeats this\n"
           << *find_disagreement(small, packets) << "\nin the smallest scenario found:\n"
           << describe(small);
  }
}

}  // namespace
}  // namespace bulkhead::property
