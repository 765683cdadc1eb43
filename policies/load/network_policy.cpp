// NetworkPolicy, networking.k8s.io/v1: the API's types, their defaulting and their validation
// (pkg/apis/networking/v1/defaults.go, pkg/apis/networking/validation). Null counts as absent, as the API server
// decodes it.
#include <algorithm>

#include "policies/load/objects.h"
#include "policies/load/syntax.h"

namespace bulkhead::policies {
namespace {

void read_ip_block(const Value& value, std::vector<Peer>& peers) {
  Fields fields = value.fields();
  IpBlock peer;
  const auto block = read_block(fields.required("cidr"));
  for (const auto& item : fields.optional("except").list()) {
    const auto hole = read_block(item);
    if (!hole || !block) continue;
    if (!contains(*block, *hole) || *block == *hole)
      item.fail("found " + quoted(format(*hole)) + ", expected a smaller block within " + format(*block));
    peer.except.push_back(*hole);
  }
  peer.block = block.value_or(AddressBlock{});
  peers.emplace_back(std::move(peer));
}

/// Adds nothing where it reports an error.
void read_peer(const Value& item, const std::string& own_namespace, std::vector<Peer>& peers) {
  Fields fields = item.fields();
  const Value pods = fields.optional("podSelector");
  const Value namespaces = fields.optional("namespaceSelector");
  const Value block = fields.optional("ipBlock");
  if (!fields.valid()) return;
  if (block) {
    if (pods || namespaces)
      block.fail("found ipBlock beside a selector, expected it alone: write two items of the list");
    return read_ip_block(block, peers);
  }
  if (!pods && !namespaces) {
    // A misspelled field is reported by itself.
    if (item.node()->members.empty() || fields.has("podSelector") || fields.has("namespaceSelector") ||
        fields.has("ipBlock"))
      item.fail("found an empty peer, expected podSelector, namespaceSelector or ipBlock");
    return;
  }
  EndpointSelector peer;
  if (namespaces)
    peer.namespaces = read_selector(namespaces);
  else
    peer.namespace_name = own_namespace;
  if (pods) peer.endpoints = read_selector(pods);
  peers.emplace_back(std::move(peer));
}

PortMatch read_port(const Value& item) {
  Fields fields = item.fields();
  PortMatch match;
  match.protocol =
      fields.optional("protocol")
          .choice<Protocol>({{"TCP", Protocol::kTcp}, {"UDP", Protocol::kUdp}, {"SCTP", Protocol::kSctp}})
          .value_or(Protocol::kTcp);
  const Value port = fields.optional("port");
  const Value end_port = fields.optional("endPort");
  if (!port) {
    if (end_port) end_port.fail("found endPort without port, expected both or neither");
    return match;
  }

  const bool number = port.node()->plain && looks_like_number(port.node()->scalar);
  if (number) {
    match.first = port.port().value_or(0);
    match.last = match.first;
    const auto last = end_port.port();
    if (last && *last < match.first)
      end_port.fail_expected("a port not below " + std::to_string(match.first));
    match.last = last.value_or(match.first);
    return match;
  }
  if (const auto name = port.text()) {
    match.name = *name;
    if (!name->empty() && name->find_first_not_of("0123456789") == std::string::npos)
      port.fail_expected("a port name; write " + *name + " without quotes for the number");
    else if (const auto wrong = wrong_port_name(*name))
      port.fail_expected(*wrong);
  }
  if (end_port) end_port.fail("found endPort beside a port name, expected it with a number only");
  return match;
}

Rule read_rule(const Value& item, std::string name, std::string_view peers_field,
               const std::string& own_namespace) {
  Fields fields = item.fields();
  Rule rule;
  rule.name = std::move(name);
  rule.origin = item.origin();

  const auto ports = fields.optional("ports").list();
  for (const auto& port : ports) rule.ports.push_back(read_port(port));
  rule.all_ports = ports.empty();

  const auto peers = fields.optional(peers_field).list();
  for (const auto& peer : peers) read_peer(peer, own_namespace, rule.peers);
  if (peers.empty()) rule.peers.emplace_back(Everyone{});
  return rule;
}

std::vector<Rule> read_rules(const Value& list, std::string_view direction, std::string_view peers_field,
                             const std::string& own_namespace) {
  std::vector<Rule> rules;
  for (const auto& item : list.list()) {
    std::string name = std::string(direction) + "[" + std::to_string(rules.size()) + "]";
    rules.push_back(read_rule(item, std::move(name), peers_field, own_namespace));
  }
  return rules;
}

struct Types {
  bool ingress = false;
  bool egress = false;
};

/// Absent or empty: ingress always, egress if it has a rule.
Types read_types(const Value& list, bool has_egress_rules) {
  Types types;
  const auto items = list.list();
  if (items.size() > 2)
    list.fail("found " + std::to_string(items.size()) + " policy types, expected at most two");
  for (const auto& item : items) {
    const auto direction =
        item.choice<Direction>({{"Ingress", Direction::kIngress}, {"Egress", Direction::kEgress}});
    types.ingress = types.ingress || direction == Direction::kIngress;
    types.egress = types.egress || direction == Direction::kEgress;
  }
  return items.empty() ? Types{true, has_egress_rules} : types;
}

}  // namespace

std::optional<AddressBlock> read_block(const Value& value) {
  if (!value) return std::nullopt;
  const auto text = value.text();
  if (!text) return std::nullopt;
  const auto block = parse_block(*text);
  if (!block) value.fail_expected("an address block such as 10.0.0.0/8 or 2001:db8::/32");
  return block;
}

void read_network_policy(const Value& spec, Policy& policy) {
  Fields fields = spec.fields();
  const EndpointSelector subject{policy.namespace_name, {}, read_selector(fields.optional("podSelector"))};
  auto ingress = read_rules(fields.optional("ingress"), "ingress", "from", policy.namespace_name);
  auto egress = read_rules(fields.optional("egress"), "egress", "to", policy.namespace_name);
  const Types types = read_types(fields.optional("policyTypes"), !egress.empty());
  if (types.ingress) policy.clauses.push_back({Direction::kIngress, subject, true, std::move(ingress)});
  if (types.egress) policy.clauses.push_back({Direction::kEgress, subject, true, std::move(egress)});
}

}  // namespace bulkhead::policies
