#include "controlplane/compile/compile.h"

#include <new>

#include "controlplane/compile/blocks.h"
#include "controlplane/compile/census.h"
#include "controlplane/compile/classes.h"
#include "controlplane/compile/conflicts.h"
#include "controlplane/compile/emit.h"
#include "controlplane/compile/intern.h"
#include "controlplane/compile/ports.h"
#include "controlplane/compile/rules.h"
#include "controlplane/compile/rulesets.h"
#include "controlplane/compile/selectors.h"

namespace bulkhead::compile {

std::variant<Output, Refusal> compile(const Input& input) {
  try {
    const Census census = take_census(input);
    Selectors selectors(census, input.limits);
    Ports ports;
    const Rules rules = govern(input, census, selectors, ports);
    const Blocks blocks({rules.directions[0].blocks, rules.directions[1].blocks});
    const Classes classes = classify(input, census, selectors, rules, blocks, ports);
    ports.settle();
    RuleSets rule_sets = build_rule_sets(rules, ports, classes, input.limits);
    auto conflicts = find_conflicts(census, rules, blocks, ports, classes, rule_sets);
    Output output = emit({input, census, rules, blocks, ports, classes, rule_sets});
    output.conflicts = std::move(conflicts);
    return output;
  } catch (const Refused& refused) {
    return Refusal{refused.reason};
  } catch (const std::bad_alloc&) {
    return Refusal{"not enough memory to compile"};
  }
}

}  // namespace bulkhead::compile
