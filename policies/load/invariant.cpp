// Invariant, bulkhead.io/v1alpha1: what must hold, whatever policies say. The words are those of a
// SegmentationPolicy's edges; of the whole cluster, a selector without a namespace means every namespace.
#include <algorithm>
#include <set>
#include <utility>

#include "policies/load/ends.h"
#include "policies/load/objects.h"

namespace bulkhead::policies {
namespace {

/// Nodes and world never are an endpoint, whichever address they send from.
bool are_no_endpoint(const std::vector<Peer>& ends) {
  return std::all_of(ends.begin(), ends.end(), [](const Peer& end) {
    const auto* block = std::get_if<IpBlock>(&end);
    return std::holds_alternative<World>(end) || std::holds_alternative<LocalNode>(end) ||
           std::holds_alternative<NodeSelector>(end) || (block != nullptr && block->world_only);
  });
}

std::vector<Peer> read_end(const Value& value) {
  const auto ends = read_ends(value, std::nullopt);
  if (std::any_of(ends.begin(), ends.end(), [](const EdgeEnd& end) { return !end.peer; }))
    value.fail("found nobody, expected somebody: of no packets, everything is true");
  return peers_of(ends);
}

void read_demand(const Value& item, Demand::Claim claim, std::set<std::string>& names, Invariant& invariant) {
  Fields fields = item.fields();
  Demand demand;
  demand.claim = claim;
  demand.origin = item.origin();
  const Value name = fields.required("name");
  if (const auto text = name.text()) {
    demand.name = *text;
    if (const auto wrong = wrong_dns_label(*text)) name.fail_expected(*wrong);
    if (!names.insert(*text).second)
      name.fail("found the name " + quoted(*text) + " a second time, expected it once");
  }
  demand.from = read_end(fields.required("from"));
  demand.to = read_end(fields.required("to"));
  PortTerm ports = read_ports(fields);
  demand.all_ports = ports.any;
  demand.ports = std::move(ports.matches);
  if (!demand.from.empty() && !demand.to.empty() && are_no_endpoint(demand.from) &&
      are_no_endpoint(demand.to))
    item.fail("found no endpoint at either end, expected one: nobody judges such packets");
  invariant.demands.push_back(std::move(demand));
}

}  // namespace

void read_invariant(const Value& spec, Invariant& invariant) {
  Fields fields = spec.fields();
  refuse_null(fields, {"never", "always"});
  const Value never = fields.optional("never"), always = fields.optional("always");
  std::set<std::string> names;
  for (const auto& item : never.list()) read_demand(item, Demand::Claim::kNever, names, invariant);
  for (const auto& item : always.list()) read_demand(item, Demand::Claim::kAlways, names, invariant);
  const auto written_empty = [](const Value& list) { return list.is_list() && list.node()->items.empty(); };
  for (const Value& list : {never, always})
    if (written_empty(list)) list.fail("found an empty list, expected at least one demand");
  if (fields.valid() && !never && !always && !fields.has("never") && !fields.has("always"))
    fields.value().fail("found neither never nor always, expected at least one demand");
}

}  // namespace bulkhead::policies
