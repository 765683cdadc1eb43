#include "controlplane/compile/census.h"

#include <algorithm>
#include <cstring>
#include <tuple>
#include <unordered_set>

#include "dataplane/abi/telemetry.h"
#include "policies/model/address.h"

namespace bulkhead::compile {
namespace {

const policies::Labels kNoLabels;

struct AddressHash {
  std::size_t operator()(const policies::AddressBytes& address) const {
    std::uint64_t high, low;
    std::memcpy(&high, address.data(), 8);
    std::memcpy(&low, address.data() + 8, 8);
    return mix(mix(0, high), low);
  }
};
using Owners = std::unordered_map<policies::AddressBytes, const policies::Endpoint*, AddressHash>;

std::string full_name(const policies::Endpoint& endpoint) {
  return endpoint.namespace_name + "/" + endpoint.name;
}

void collect_namespaces(const policies::Cluster& cluster, Census& census) {
  std::unordered_map<std::string_view, const policies::Labels*> known;
  for (const auto& declared : cluster.namespaces) known.emplace(declared.name, &declared.labels);
  for (const auto& endpoint : cluster.endpoints) known.emplace(endpoint.namespace_name, &kNoLabels);
  for (const auto& [name, labels] : known) census.namespaces.push_back({name, labels, 0, 0, false});
  std::sort(census.namespaces.begin(), census.namespaces.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
}

using NodeIndex = std::unordered_map<std::string_view, std::uint32_t>;

NodeIndex collect_nodes(const Input& input, Census& census) {
  std::unordered_set<std::string_view> known = {input.node.name};
  for (const auto& node : input.cluster.nodes) known.insert(node.name);
  for (const auto& endpoint : input.cluster.endpoints)
    if (!endpoint.node.empty()) known.insert(endpoint.node);
  std::vector<std::string_view> names(known.begin(), known.end());
  std::sort(names.begin(), names.end());
  NodeIndex index;
  for (const auto name : names) {
    index.emplace(name, static_cast<std::uint32_t>(census.nodes.size()));
    census.nodes.push_back({name, &kNoLabels, {}});
  }
  for (const auto& node : input.cluster.nodes) census.nodes[index.at(node.name)].labels = &node.labels;
  census.own_node = index.at(input.node.name);
  return index;
}

/// Endpoints own their addresses; what is left of a node's addresses is the node's.
void assign_node_addresses(const Input& input, const NodeIndex& index, const Owners& owners, Census& census) {
  std::unordered_map<policies::AddressBytes, std::uint32_t, AddressHash> claimed;
  const auto claim = [&](std::uint32_t node, const policies::AddressBytes& address) {
    if (owners.contains(address)) return;
    const auto [owner, is_new] = claimed.try_emplace(address, node);
    if (!is_new && owner->second != node)
      throw Refused{"nodes " + std::string(census.nodes[owner->second].name) + " and " +
                    std::string(census.nodes[node].name) + " both have the address " +
                    policies::format(address)};
    if (is_new) census.nodes[node].addresses.push_back(address);
  };
  for (const auto& address : input.node.addresses) claim(census.own_node, address);
  for (const auto& node : input.cluster.nodes)
    for (const auto& address : node.addresses) claim(index.at(node.name), address);
  for (auto& node : census.nodes) std::sort(node.addresses.begin(), node.addresses.end());
}

void collect_members(const Input& input, const NodeIndex& index, Census& census) {
  std::unordered_map<std::string_view, const LocalPort*> ports;
  for (const auto& port : input.ports) {
    if (port.port >= abi::kPortsMax)
      throw Refused{"endpoint " + port.endpoint_id + " has port " + std::to_string(port.port) +
                    ", expected less than " + std::to_string(abi::kPortsMax)};
    const LocalPort*& lowest = ports[port.endpoint_id];
    if (lowest == nullptr || port.port < lowest->port) lowest = &port;
  }
  for (const auto& endpoint : input.cluster.endpoints) {
    if (endpoint.host_network) continue;
    Member member;
    member.endpoint = &endpoint;
    member.node = endpoint.node.empty() ? census.own_node : index.at(endpoint.node);
    const auto port = ports.find(endpoint.id);
    if (port != ports.end()) member.port = port->second;
    const auto number = static_cast<std::size_t>(&endpoint - input.cluster.endpoints.data());
    member.subject = input.subjects == Subjects::kEvery || member.node == census.own_node ||
                     member.port != nullptr ||
                     (input.subjects_too != nullptr && (*input.subjects_too)[number]);
    census.members.push_back(member);
  }
  std::sort(census.members.begin(), census.members.end(), [](const Member& a, const Member& b) {
    const auto key = [](const Member& m) {
      return std::tie(m.endpoint->namespace_name, m.endpoint->name, m.endpoint->id);
    };
    return key(a) < key(b);
  });
}

Owners claim_addresses(const Census& census) {
  Owners owners;
  owners.reserve(census.members.size() * 2);
  for (const auto& member : census.members)
    for (const auto& address : member.endpoint->addresses) {
      const auto [owner, is_new] = owners.try_emplace(address, member.endpoint);
      if (!is_new && owner->second != member.endpoint)
        throw Refused{"endpoints " + full_name(*owner->second) + " and " + full_name(*member.endpoint) +
                      " both have the address " + policies::format(address)};
    }
  return owners;
}

/// Numbers the label sets. Members come sorted by namespace, so a namespace's identities are neighbours.
void number_identities(Census& census) {
  struct Candidate {
    std::uint32_t namespace_index, first_seen, final_index;
    const policies::Labels* labels;
    std::string_view service_account;
  };
  identity::Table table;
  std::vector<Candidate> candidates;
  std::string encoding;
  std::uint32_t at = 0;
  for (auto& member : census.members) {
    while (census.namespaces[at].name != member.endpoint->namespace_name) ++at;
    encoding.clear();
    identity::encode(member.endpoint->namespace_name, member.endpoint->labels,
                     member.endpoint->service_account, encoding);
    const auto result = table.intern(encoding);
    if (result.collision)
      throw Refused{"two label sets have one identity number: " + full_name(*member.endpoint) + " (" +
                    identity::text(member.endpoint->labels) + ") and " +
                    identity::text(*candidates[*result.collision].labels)};
    member.identity = result.index;
    if (result.index == candidates.size())
      candidates.push_back({at, result.index, 0, &member.endpoint->labels, member.endpoint->service_account});
  }
  std::vector<std::uint32_t> order(candidates.size());
  for (std::uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    return std::tie(candidates[a].namespace_index, table.entries()[a].encoding) <
           std::tie(candidates[b].namespace_index, table.entries()[b].encoding);
  });
  for (const std::uint32_t old : order) {
    auto& candidate = candidates[old];
    candidate.final_index = static_cast<std::uint32_t>(census.identities.size());
    auto& home = census.namespaces[candidate.namespace_index];
    if (home.identities_count++ == 0) home.identities_first = candidate.final_index;
    census.identities.push_back({table.entries()[old].id, candidate.namespace_index, candidate.labels, false,
                                 candidate.service_account});
  }
  for (auto& member : census.members) {
    member.identity = candidates[member.identity].final_index;
    IdentityEntry& identity = census.identities[member.identity];
    identity.subject |= member.subject;
    census.namespaces[identity.namespace_index].subjects |= member.subject;
  }
}

}  // namespace

const NamespaceEntry* Census::find_namespace(std::string_view name) const {
  const auto found =
      std::lower_bound(namespaces.begin(), namespaces.end(), name,
                       [](const NamespaceEntry& entry, std::string_view key) { return entry.name < key; });
  return found != namespaces.end() && found->name == name ? &*found : nullptr;
}

Census take_census(const Input& input) {
  Census census;
  collect_namespaces(input.cluster, census);
  const NodeIndex nodes = collect_nodes(input, census);
  collect_members(input, nodes, census);
  const Owners owners = claim_addresses(census);
  assign_node_addresses(input, nodes, owners, census);
  number_identities(census);
  return census;
}

}  // namespace bulkhead::compile
