// SegmentationPolicy, bulkhead.io/v1alpha1: edges *from -> to: ports*, each compiled to both of its ends.
//
// An edge from A to B is a rule on A's egress and one on B's ingress, or with `at` only one of them. An allow edge
// isolates the endpoints that it selects, in its direction, unless it says `isolates: false`; a deny edge isolates
// nobody, and neither does the end `any`: "everyone may ask the name server" must not close all other ways out of
// everyone. Ends outside (blocks, nodes, host, world) have no side to judge, so they give no clause, and neither
// does `nobody`, which matches nothing: an allow edge with it at one end only isolates the other.
//
// An edge that has expired gives no clause any more: it neither decides nor isolates.
//
// In the platform and the baseline tier the edges are asked in the order written, may pass, and isolate nobody.
#include <algorithm>
#include <set>

#include "policies/load/ends.h"
#include "policies/load/objects.h"

namespace bulkhead::policies {
namespace {

void add_clauses(Direction direction, const std::vector<EdgeEnd>& subjects,
                 const std::vector<EdgeEnd>& others, const Rule& rule, bool isolates,
                 std::optional<Time> expires, Policy& policy) {
  for (const auto& end : subjects) {
    if (!end.subject) continue;
    Clause clause{direction, *end.subject, isolates && end.isolates, {rule}, expires};
    clause.rules[0].peers = peers_of(others);
    policy.clauses.push_back(std::move(clause));
  }
}

bool governs(const std::vector<EdgeEnd>& ends) {
  return std::any_of(ends.begin(), ends.end(), [](const auto& end) { return end.subject.has_value(); });
}

enum class At : std::uint8_t { kBoth, kSender, kReceiver };

/// Whether an edge isolates the endpoints that it selects.
bool read_isolates(Fields& edge, Action action, Tier tier) {
  refuse_null(edge, {"isolates"});
  const Value value = edge.optional("isolates");
  const bool may = tier == Tier::kApplication && action == Action::kAllow;
  if (value && !may)
    value.fail("found isolates beside " + std::string(tier == Tier::kApplication ? "deny" : "a tier") +
               ", expected none: only allow edges of the application tier isolate");
  return may && value.boolean().value_or(true);
}

/// Where order counts, a priority must be there; where it does not, none may be.
void read_tier(Fields& spec, Policy& policy) {
  refuse_null(spec, {"tier", "priority"});
  policy.tier = spec.optional("tier")
                    .choice<Tier>({{"platform", Tier::kPlatform},
                                   {"application", Tier::kApplication},
                                   {"baseline", Tier::kBaseline}})
                    .value_or(Tier::kApplication);
  if (policy.tier == Tier::kApplication) {
    const Value priority = spec.optional("priority");
    if (priority && !spec.optional("tier"))
      priority.fail("found a priority without a tier, expected tier: platform or tier: baseline beside it");
    else if (priority)
      priority.fail(
          "found a priority in the application tier, expected none: its policies are asked together");
    return;
  }
  policy.priority =
      static_cast<std::uint32_t>(spec.required("priority").integer(0, kPriorityMax).value_or(0));
}

void read_established(Fields& spec, Policy& policy) {
  refuse_null(spec, {"established"});
  policy.established = spec.optional("established")
                           .choice<Established>({{"keep", Established::kKeep},
                                                 {"reevaluate", Established::kReevaluate},
                                                 {"reset", Established::kReset}})
                           .value_or(Established::kReevaluate);
}

void read_mode(Fields& spec, Policy& policy) {
  refuse_null(spec, {"mode"});
  policy.mode = spec.optional("mode")
                    .choice<Mode>({{"enforce", Mode::kEnforce}, {"audit", Mode::kAudit}})
                    .value_or(Mode::kEnforce);
}

/// The edge's own end, or that of its policy if that comes first.
std::optional<Time> read_expires(Fields& edge, std::optional<Time> of_policy) {
  refuse_null(edge, {"expires"});
  const Value value = edge.optional("expires");
  const auto own = value.time();
  if (own && of_policy && *own > *of_policy)
    value.warn("found " + format(*own) + ", when the whole policy has expired already, at " +
               format(*of_policy));
  if (!own || !of_policy) return own ? own : of_policy;
  return std::min(*own, *of_policy);
}

void read_edge(const Value& item, std::set<std::string>& names, std::optional<Time> policy_expires,
               Policy& policy) {
  Fields fields = item.fields();
  Rule rule;
  rule.origin = item.origin();

  const Value name = fields.required("name");
  if (const auto text = name.text()) {
    rule.name = *text;
    if (const auto wrong = wrong_dns_label(*text)) name.fail_expected(*wrong);
    if (!names.insert(*text).second)
      name.fail("found the edge name " + quoted(*text) + " a second time, expected it once");
  }
  const Value from_value = fields.required("from");
  const Value to_value = fields.required("to");
  const auto from = read_ends(from_value, policy.namespace_name);
  const auto to = read_ends(to_value, policy.namespace_name);
  PortTerm ports = read_ports(fields);
  rule.all_ports = ports.any;
  rule.ports = std::move(ports.matches);
  refuse_null(fields, {"action"});
  const Value action = fields.optional("action");
  rule.action =
      action.choice<Action>({{"allow", Action::kAllow}, {"deny", Action::kDeny}, {"pass", Action::kPass}})
          .value_or(Action::kAllow);
  if (rule.action == Action::kPass && policy.tier == Tier::kApplication)
    action.fail(
        "found pass in the application tier, expected allow or deny: only the platform and the "
        "baseline tier are left by a pass");

  const bool isolates = read_isolates(fields, rule.action, policy.tier);
  refuse_null(fields, {"at"});
  const At at = fields.optional("at")
                    .choice<At>({{"both", At::kBoth}, {"sender", At::kSender}, {"receiver", At::kReceiver}})
                    .value_or(At::kBoth);

  if (!from.empty() && !to.empty() && (at == At::kReceiver || !governs(from)) &&
      (at == At::kSender || !governs(to)))
    item.fail("found no endpoint at " +
              std::string(at == At::kBoth     ? "either end"
                          : at == At::kSender ? "the sender's end"
                                              : "the receiver's end") +
              ", expected one: this edge would govern nobody");
  const auto expires = read_expires(fields, policy_expires);
  if (at != At::kReceiver) add_clauses(Direction::kEgress, from, to, rule, isolates, expires, policy);
  if (at != At::kSender) add_clauses(Direction::kIngress, to, from, rule, isolates, expires, policy);
}

}  // namespace

void read_segmentation_policy(const Value& spec, Policy& policy) {
  Fields fields = spec.fields();
  read_tier(fields, policy);
  read_established(fields, policy);
  read_mode(fields, policy);
  std::set<std::string> names;
  const Value edges = fields.required("edges");
  const auto items = edges.list();
  if (edges.is_list() && edges.node()->items.empty())
    edges.fail("found an empty list, expected at least one edge");
  refuse_null(fields, {"expires"});
  const auto expires = fields.optional("expires").time();
  for (const auto& item : items) read_edge(item, names, expires, policy);
}

}  // namespace bulkhead::policies
