// SegmentationPolicy, bulkhead.io/v1alpha1: edges *from -> to: ports*, each compiled to both of its ends.
//
// An edge from A to B is a rule on A's egress and one on B's ingress. An allow edge isolates the endpoints that
// it selects, in its direction; a deny edge isolates nobody, and neither does the end `any`: "everyone may ask
// the name server" must not close all other ways out of everyone. Ends outside (blocks, host, world) have no
// side to judge, so they give no clause.
//
// In the platform and the baseline tier the edges are asked in the order written, may pass, and isolate nobody.
#include <algorithm>
#include <array>
#include <initializer_list>
#include <set>

#include "policies/load/objects.h"
#include "policies/load/port_term.h"

namespace bulkhead::policies {
namespace {

constexpr std::size_t kEndsMax = 64;
constexpr std::string_view kExpectedEnd =
    "matchLabels, matchExpressions, namespace, namespaceSelector, cidr, host, world or any";

/// One end of an edge, as a peer and as a subject.
struct EdgeEnd {
  Peer peer;
  std::optional<EndpointSelector> subject;  // whom the edge governs at this end
  bool isolates = false;
};

/// Where Kubernetes takes null for absent, this kind refuses it: an end whose labels were forgotten would select
/// everyone.
void refuse_null(Fields& fields, std::initializer_list<std::string_view> names) {
  for (const auto field : names)
    if (const Value value = fields.optional(field); value.is_written_null())
      value.fail_expected("a value, or no such field");
}

EdgeEnd read_selected(Fields& fields, const std::string& own_namespace) {
  EndpointSelector selector;
  const Value named = fields.optional("namespace");
  const Value by_label = fields.optional("namespaceSelector");
  if (named && by_label) by_label.fail("found namespaceSelector beside namespace, expected one of them");
  if (named) {
    selector.namespace_name = named.text().value_or("");
    if (const auto wrong = wrong_dns_label(*selector.namespace_name); wrong && named.text())
      named.fail_expected(*wrong);
  } else if (by_label) {
    selector.namespaces = read_selector(by_label);
  } else {
    selector.namespace_name = own_namespace;
  }
  selector.endpoints = read_selector(fields);
  return {selector, selector, true};
}

EdgeEnd read_cidr(Fields& fields) {
  IpBlock peer;
  const auto block = fields.optional("cidr").block();
  peer.block = block.value_or(AddressBlock{});
  for (const auto& item : fields.optional("except").list()) {
    const auto hole = item.block();
    if (!hole || !block) continue;
    if (!contains(*block, *hole) || *block == *hole)
      item.fail("found " + quoted(format(*hole)) + ", expected a smaller block within " + format(*block));
    peer.except.push_back(*hole);
  }
  return {peer, std::nullopt, false};
}

/// host, world and any take an empty mapping.
EdgeEnd read_word(Fields& fields, std::string_view word) {
  const Value value = fields.optional(word);
  if (!value.is_mapping() || !value.node()->members.empty())
    value.fail_expected("an empty mapping: " + std::string(word) + ": {}");
  if (word == "host") return {LocalNode{}, std::nullopt, false};
  if (word == "world") return {World{}, std::nullopt, false};
  return {Everyone{}, EndpointSelector{}, false};
}

std::optional<EdgeEnd> read_end(const Value& item, const std::string& own_namespace) {
  Fields fields = item.fields();
  if (!fields.valid()) return std::nullopt;
  constexpr std::array<std::string_view, 4> kForms = {"cidr", "host", "world", "any"};
  std::vector<std::string_view> forms;
  for (const auto form : kForms)
    if (fields.has(form)) forms.push_back(form);
  const bool selects = fields.has("matchLabels") || fields.has("matchExpressions") ||
                       fields.has("namespace") || fields.has("namespaceSelector");
  if (selects) forms.insert(forms.begin(), "a selector");
  refuse_null(fields, {"matchLabels", "matchExpressions", "namespace", "namespaceSelector", "cidr"});
  fields.accept({"host", "world", "any"});

  if (forms.empty()) {
    if (item.node()->members.empty())
      item.fail("found an empty end, expected " + std::string(kExpectedEnd) +
                "; write any: {} for everyone, or namespace: NAME for every endpoint of a namespace");
    return std::nullopt;
  }
  if (forms.size() > 1) {
    item.fail("found " + std::string(forms[0]) + " beside " + std::string(forms[1]) +
              ", expected one of them: write a list of two ends");
    fields.accept({"except"});
    return std::nullopt;
  }
  if (selects) return read_selected(fields, own_namespace);
  if (forms[0] == "cidr") return read_cidr(fields);
  return read_word(fields, forms[0]);
}

std::vector<EdgeEnd> read_ends(const Value& value, const std::string& own_namespace) {
  std::vector<EdgeEnd> ends;
  if (value && !value.is_list()) {
    if (auto end = read_end(value, own_namespace)) ends.push_back(std::move(*end));
    return ends;
  }
  const auto items = value.list();
  if (value && items.empty())
    value.fail("found an empty list, expected at least one end; write {any: {}} for everyone");
  if (items.size() > kEndsMax) {
    value.fail("found " + std::to_string(items.size()) + " ends, expected at most " +
               std::to_string(kEndsMax));
    return ends;
  }
  for (const auto& item : items)
    if (auto end = read_end(item, own_namespace)) ends.push_back(std::move(*end));
  return ends;
}

void read_ports(Fields& edge, Rule& rule) {
  const Value list = edge.optional("ports");
  const auto items = list.list();
  if (items.empty() && edge.valid() && (!list || list.is_list()))
    (list ? list : edge.value())
        .fail("found no ports, expected a list of them; write ports: [any] for every port");
  for (const auto& item : items) {
    PortTerm term = read_port_term(item);
    rule.all_ports = rule.all_ports || term.any;
    rule.ports.insert(rule.ports.end(), term.matches.begin(), term.matches.end());
  }
  if (rule.all_ports && items.size() > 1) list.fail("found any beside other ports, expected any alone");
  if (rule.all_ports) rule.ports.clear();
}

std::vector<Peer> peers_of(const std::vector<EdgeEnd>& ends) {
  std::vector<Peer> peers;
  for (const auto& end : ends) peers.push_back(end.peer);
  return peers;
}

void add_clauses(Direction direction, const std::vector<EdgeEnd>& subjects,
                 const std::vector<EdgeEnd>& others, const Rule& rule, Policy& policy) {
  for (const auto& end : subjects) {
    if (!end.subject) continue;
    const bool isolates = policy.tier == Tier::kApplication && end.isolates && rule.action == Action::kAllow;
    Clause clause{direction, *end.subject, isolates, {rule}};
    clause.rules[0].peers = peers_of(others);
    policy.clauses.push_back(std::move(clause));
  }
}

bool governs(const std::vector<EdgeEnd>& ends) {
  return std::any_of(ends.begin(), ends.end(), [](const auto& end) { return end.subject.has_value(); });
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

void read_edge(const Value& item, std::set<std::string>& names, Policy& policy) {
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
  read_ports(fields, rule);
  refuse_null(fields, {"action"});
  const Value action = fields.optional("action");
  rule.action =
      action.choice<Action>({{"allow", Action::kAllow}, {"deny", Action::kDeny}, {"pass", Action::kPass}})
          .value_or(Action::kAllow);
  if (rule.action == Action::kPass && policy.tier == Tier::kApplication)
    action.fail(
        "found pass in the application tier, expected allow or deny: only the platform and the "
        "baseline tier are left by a pass");

  if (!from.empty() && !to.empty() && !governs(from) && !governs(to))
    item.fail("found no endpoint at either end, expected one: this edge would govern nobody");
  add_clauses(Direction::kEgress, from, to, rule, policy);
  add_clauses(Direction::kIngress, to, from, rule, policy);
}

}  // namespace

void read_segmentation_policy(const Value& spec, Policy& policy) {
  Fields fields = spec.fields();
  read_tier(fields, policy);
  std::set<std::string> names;
  const Value edges = fields.required("edges");
  const auto items = edges.list();
  if (edges.is_list() && edges.node()->items.empty())
    edges.fail("found an empty list, expected at least one edge");
  for (const auto& item : items) read_edge(item, names, policy);
}

}  // namespace bulkhead::policies
