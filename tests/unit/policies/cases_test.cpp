#include "tests/cases/cases.h"

#include <gtest/gtest.h>

#include "policies/oracle/oracle.h"

namespace bulkhead::policies {
namespace {

TEST(Cases, oracle_answers_every_case) {
  std::size_t queries = 0;
  for (const auto& one : cases::read_cases(CASES_DIRECTORY)) {
    for (const auto& moment : one.moments) {
      const Oracle oracle(moment.cluster, moment.policies, one.posture);
      for (const auto& query : moment.queries) {
        const Judgement judged = oracle.judge(query.source, query.destination, query.protocol, query.port);
        EXPECT_EQ(judged.allow, query.allow) << query.where << ": " << query.text;
        ++queries;
      }
    }
  }
  EXPECT_GE(queries, 60u);
}

}  // namespace
}  // namespace bulkhead::policies
