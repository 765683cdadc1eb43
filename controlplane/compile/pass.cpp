#include "controlplane/compile/pass.h"

#include "controlplane/compile/conflicts.h"
#include "controlplane/compile/emit.h"

namespace bulkhead::compile {

Pass::Pass(const Input& input, std::span<const std::uint32_t> relevant, const Census& census,
           KnownRequirements* known)
    : input_(input),
      census_(census),
      selectors_(census, input.limits, known),
      rules_(govern(input, relevant, census, selectors_, ports_)),
      blocks_({rules_.directions[0].blocks, rules_.directions[1].blocks}) {}

void Pass::judge(const Profiles& profiles) {
  classes_ = classify(input_, census_, selectors_, rules_, blocks_, profiles.seen, ports_);
  ports_.settle();
  rule_sets_ = build_rule_sets(rules_, ports_, *classes_, input_.limits);
}

Output Pass::output(const Profiles& profiles, std::span<const std::uint32_t> numbers) {
  const Compiled compiled{input_,   census_,   rules_,      blocks_, ports_,
                          profiles, *classes_, *rule_sets_, numbers};
  Output output;
  output.conflicts = find_conflicts(census_, rules_, blocks_, ports_, profiles, *classes_, *rule_sets_);
  output.stats = stats_of(compiled);
  output.image.policy = emit(compiled);
  return output;
}

}  // namespace bulkhead::compile
