#include <deque>
#include <tuple>

#include "controlplane/compile/compiler.h"

namespace bulkhead::compile {
namespace {

/// From here on, everything anew is no slower.
constexpr std::size_t kChangesMax = 100;

auto parts(const policies::Endpoint& endpoint) {
  return std::tie(endpoint.id, endpoint.namespace_name, endpoint.name, endpoint.labels, endpoint.node,
                  endpoint.addresses, endpoint.ports, endpoint.kubernetes, endpoint.host_network,
                  endpoint.service_account);
}

bool same(const std::vector<policies::Node>& a, const std::vector<policies::Node>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& one, const auto& other) {
    return std::tie(one.name, one.labels, one.addresses) ==
           std::tie(other.name, other.labels, other.addresses);
  });
}

/// The names of those whose labels differ. Nothing where they are not the same namespaces in the same order.
std::optional<std::vector<std::string_view>> relabelled(const std::vector<policies::Namespace>& before,
                                                        const std::vector<policies::Namespace>& now) {
  std::vector<std::string_view> names;
  if (before.size() != now.size()) return std::nullopt;
  for (std::size_t i = 0; i < now.size(); ++i) {
    if (before[i].name != now[i].name) return std::nullopt;
    if (before[i].labels != now[i].labels) names.push_back(now[i].name);
  }
  return names;
}

}  // namespace

struct Compiler::Difference {
  Changes changes;
  std::deque<Told::Known> before;  // what the changes name as it was
};

bool Compiler::Told::frames(const Input& input) const {
  const auto parts_of = [](const LocalNode& one) {
    return std::tie(one.name, one.addresses, one.gateway_v4, one.gateway_v6);
  };
  return same(nodes, input.cluster.nodes) && posture.action == input.posture.action &&
         posture.strict == input.posture.strict && parts_of(node) == parts_of(input.node) &&
         std::equal(quarantines.begin(), quarantines.end(), input.quarantines.begin(),
                    input.quarantines.end()) &&
         subjects == input.subjects && limits.section_bytes_max == input.limits.section_bytes_max &&
         limits.work_bytes_max == input.limits.work_bytes_max;
}

std::optional<Compiler::Difference> Compiler::look(const Input& input, bool same_cluster) {
  Difference difference;
  bool tellable = told_ && told_->frames(input);
  if (tellable && same_cluster && told_->ports == input.ports) return difference;
  if (tellable) {
    auto names = relabelled(told_->namespaces, input.cluster.namespaces);
    tellable = names.has_value();
    if (names) difference.changes.relabelled = *std::move(names);
  }
  if (!told_) told_.emplace();
  Told& told = *told_;
  if (!tellable) {
    told.nodes = input.cluster.nodes;
    told.posture = input.posture;
    told.node = input.node;
    told.subjects = input.subjects;
    told.limits = input.limits;
    told.quarantines.assign(input.quarantines.begin(), input.quarantines.end());
  }
  if (!tellable || !difference.changes.relabelled.empty()) told.namespaces = input.cluster.namespaces;

  told.ports = input.ports;
  std::unordered_map<std::string_view, const LocalPort*> ports;
  for (const LocalPort& port : input.ports) {
    const LocalPort*& lowest = ports[port.endpoint_id];
    if (lowest == nullptr || port.port < lowest->port) lowest = &port;
  }
  ++told.looks;
  std::vector<std::pair<Placed, Placed>> others;
  std::size_t there = 0;
  for (const policies::Endpoint& endpoint : input.cluster.endpoints) {
    const auto [known, is_new] = told.endpoints.try_emplace(endpoint.id);
    Told::Known& one = known->second;
    if (!is_new && one.look == told.looks) {  // two of one id
      told_.reset();
      return std::nullopt;
    }
    const auto found = ports.find(endpoint.id);
    const auto port = found == ports.end() ? std::nullopt : std::optional(*found->second);
    if (is_new || parts(one.endpoint) != parts(endpoint) || one.port != port) {
      Placed before;
      if (!is_new && others.size() <= kChangesMax) {
        difference.before.push_back(std::move(one));
        before = {&difference.before.back().endpoint, difference.before.back().port};
      }
      if (others.size() <= kChangesMax) others.push_back({before, {&endpoint, port}});
      one.endpoint = endpoint;
      one.port = port;
    }
    one.look = told.looks;
    ++there;
  }
  // Who goes, goes first: an address that is free again may be another's at once.
  auto& gone = difference.changes.endpoints;
  if (there != told.endpoints.size())
    for (auto entry = told.endpoints.begin(); entry != told.endpoints.end();) {
      if (entry->second.look == told.looks) {
        ++entry;
        continue;
      }
      difference.before.push_back(std::move(entry->second));
      gone.push_back({{&difference.before.back().endpoint, difference.before.back().port}, {}});
      entry = told.endpoints.erase(entry);
    }
  gone.insert(gone.end(), others.begin(), others.end());
  if (!tellable || gone.size() > kChangesMax) return std::nullopt;
  return difference;
}

std::variant<Output, Refusal> Compiler::update(const Input& input, Same same) {
  if (auto difference = look(input, same.cluster)) {
    difference->changes.other_policies = !same.policies;
    if (auto output = change(input, difference->changes)) return *std::move(output);
  }
  auto compiled = compile(input);
  // What was told since the last image would be no change to the next one.
  if (std::holds_alternative<Refusal>(compiled)) told_.reset();
  return compiled;
}

}  // namespace bulkhead::compile
