// Behaviour as data (tests/cases/), asked of the compiled tables.
#include "tests/cases/cases.h"

#include <gtest/gtest.h>

#include "controlplane/compile/compile.h"
#include "dataplane/image/validate.h"
#include "tests/property/agreement.h"

namespace bulkhead::property {
namespace {

TEST(Property, compiled_tables_answer_every_case) {
  std::size_t asked = 0;
  for (const auto& one : cases::read_cases(CASES_DIRECTORY)) {
    const auto compiled = compile::compile({.cluster = one.cluster,
                                            .policies = one.policies,
                                            .posture = one.posture,
                                            .subjects = compile::Subjects::kEvery});
    ASSERT_TRUE(std::holds_alternative<compile::Output>(compiled)) << one.name;
    const auto& output = std::get<compile::Output>(compiled);
    const auto validated = image::validate(output.image.sections());
    ASSERT_TRUE(std::holds_alternative<image::View>(validated)) << one.name;
    for (const auto& query : one.queries) {
      const auto judgement = enforced(std::get<image::View>(validated),
                                      {query.source, query.destination, query.protocol, query.port});
      EXPECT_EQ(judgement.allowed(), query.allow) << query.where << ": " << query.text;
      ++asked;
    }
  }
  EXPECT_GT(asked, 0u);
}

}  // namespace
}  // namespace bulkhead::property
