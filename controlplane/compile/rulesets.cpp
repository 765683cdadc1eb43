#include "controlplane/compile/rulesets.h"

#include <utility>

namespace bulkhead::compile {

RuleSets build_rule_sets(const Rules& rules, const Ports& ports, const Classes& classes,
                         const Limits& limits) {
  RuleSets result;
  for (std::uint32_t direction = 0; direction < 2; ++direction) {
    const auto& side = classes.directions[direction];
    MatrixBuilder matrix(side, limits.work_bytes_max);
    RowBuilder builder(direction, rules, ports, side, {result.decisions, result.passed, result.audited},
                       limits);
    std::vector<std::uint32_t> row(side.peers.size());
    for (const Subject& subject : side.subjects) {
      builder.build(subject, row);
      for (std::uint32_t& cell : row) cell = builder.rule_set(cell);
      matrix.add(row);
    }
    result.disputes[direction] = builder.take_disputes();
    result.matrices[direction] = std::move(matrix).finish();
  }
  return result;
}

}  // namespace bulkhead::compile
