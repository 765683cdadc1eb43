// Behaviour as data (tests/cases/), asked of the compiled tables.
#include "tests/cases/cases.h"

#include <gtest/gtest.h>

#include "controlplane/compile/compile.h"
#include "controlplane/compile/compiler.h"
#include "dataplane/image/validate.h"
#include "tests/property/agreement.h"

namespace bulkhead::property {
namespace {

compile::Input input_of(const cases::Case& one, const cases::Moment& moment) {
  return {.cluster = moment.cluster,
          .policies = moment.policies,
          .posture = one.posture,
          .subjects = compile::Subjects::kEvery};
}

/// How many queries were asked.
std::size_t ask(const std::variant<compile::Output, compile::Refusal>& compiled,
                const cases::Moment& moment) {
  const auto* refusal = std::get_if<compile::Refusal>(&compiled);
  EXPECT_EQ(refusal, nullptr) << refusal->reason;
  if (refusal != nullptr) return 0;
  const auto validated = image::validate(std::get<compile::Output>(compiled).image.sections());
  EXPECT_TRUE(std::holds_alternative<image::View>(validated));
  for (const auto& query : moment.queries) {
    const auto judgement = enforced(std::get<image::View>(validated),
                                    {query.source, query.destination, query.protocol, query.port});
    EXPECT_EQ(judgement.allowed(), query.allow) << query.where << ": " << query.text;
  }
  return moment.queries.size();
}

TEST(Property, compiled_tables_answer_every_case) {
  std::size_t asked = 0;
  for (const auto& one : cases::read_cases(CASES_DIRECTORY))
    for (const auto& moment : one.moments) asked += ask(compile::compile(input_of(one, moment)), moment);
  EXPECT_GT(asked, 0u);
}

TEST(Property, a_compiler_that_is_told_of_each_step_answers_every_case) {
  std::size_t asked = 0;
  for (const auto& one : cases::read_cases(CASES_DIRECTORY)) {
    if (one.moments.size() == 1) continue;
    // There and back again: what is undone leaves no trace.
    std::vector<const cases::Moment*> way;
    for (const auto& moment : one.moments) way.push_back(&moment);
    for (std::size_t i = one.moments.size() - 1; i-- > 0;) way.push_back(&one.moments[i]);
    compile::Compiler compiler;
    for (const cases::Moment* moment : way) {
      const compile::Input input = input_of(one, *moment);
      const auto updated = compiler.update(input, {});
      asked += ask(updated, *moment);
      const auto whole = compile::compile(input);
      if (HasFailure()) FAIL() << one.name;
      EXPECT_EQ(std::get<compile::Output>(updated).image, std::get<compile::Output>(whole).image) << one.name;
    }
  }
  EXPECT_GT(asked, 0u);
}

}  // namespace
}  // namespace bulkhead::property
