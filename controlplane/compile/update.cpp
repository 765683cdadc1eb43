#include <algorithm>
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

auto parts(const std::optional<LocalPort>& port) {
  static const LocalPort kNowhere;
  const LocalPort& one = port ? *port : kNowhere;
  return std::tuple(port.has_value(), one.port, one.port_key);
}

bool same(const std::vector<policies::Namespace>& a, const std::vector<policies::Namespace>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& one, const auto& other) {
    return std::tie(one.name, one.labels) == std::tie(other.name, other.labels);
  });
}

bool same(const std::vector<policies::Node>& a, const std::vector<policies::Node>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& one, const auto& other) {
    return std::tie(one.name, one.labels, one.addresses) ==
           std::tie(other.name, other.labels, other.addresses);
  });
}

}  // namespace

std::optional<Compiler::Told> Compiler::look(const Input& input) {
  Told seen{input.cluster.namespaces,
            input.cluster.nodes,
            input.posture,
            input.node,
            input.subjects,
            input.limits,
            {input.quarantines.begin(), input.quarantines.end()},
            {}};
  for (const policies::Endpoint& endpoint : input.cluster.endpoints)
    if (!seen.endpoints.try_emplace(endpoint.id, endpoint, std::nullopt).second) return std::nullopt;
  for (const LocalPort& port : input.ports) {
    const auto known = seen.endpoints.find(port.endpoint_id);
    if (known == seen.endpoints.end()) continue;
    auto& lowest = known->second.second;
    if (!lowest || port.port < lowest->port) lowest = port;
  }
  return seen;
}

std::variant<Output, Refusal> Compiler::update(const Input& input, bool same_policies) {
  std::optional<Told> now = look(input);
  std::optional<Output> output;
  if (same_policies && told_ && now) output = change_few(*now);
  if (!output) {
    auto compiled = compile(input);
    if (auto* refusal = std::get_if<Refusal>(&compiled)) {
      told_.reset();  // what change() went through until then is not undone
      return std::move(*refusal);
    }
    output = std::get<Output>(std::move(compiled));
  }
  told_ = std::move(now);
  return *std::move(output);
}

std::optional<Output> Compiler::change_few(const Told& now) {
  const auto node = [](const Told& seen) {
    return std::tie(seen.node.name, seen.node.addresses, seen.node.gateway_v4, seen.node.gateway_v6);
  };
  if (!kept_ || !same(told_->namespaces, now.namespaces) || !same(told_->nodes, now.nodes) ||
      told_->posture.action != now.posture.action || told_->posture.strict != now.posture.strict ||
      node(*told_) != node(now) || told_->quarantines != now.quarantines || told_->subjects != now.subjects ||
      told_->limits.section_bytes_max != now.limits.section_bytes_max ||
      told_->limits.work_bytes_max != now.limits.work_bytes_max)
    return std::nullopt;
  std::vector<std::pair<Placed, Placed>> gone, others;
  const auto placed = [](const auto& entry) { return Placed{&entry.second.first, entry.second.second}; };
  auto before = told_->endpoints.begin();
  auto after = now.endpoints.begin();
  while (before != told_->endpoints.end() || after != now.endpoints.end()) {
    if (gone.size() + others.size() > kChangesMax) return std::nullopt;
    if (after == now.endpoints.end() || (before != told_->endpoints.end() && before->first < after->first)) {
      gone.push_back({placed(*before++), {}});
    } else if (before == told_->endpoints.end() || after->first < before->first) {
      others.push_back({{}, placed(*after++)});
    } else {
      if (parts(before->second.first) != parts(after->second.first) ||
          parts(before->second.second) != parts(after->second.second))
        others.push_back({placed(*before), placed(*after)});
      ++before, ++after;
    }
  }
  // Who goes, goes first: an address that is free again may be another's at once.
  std::optional<Output> output = kept_->output;
  for (const auto* changes : {&gone, &others})
    for (const auto& [was, is] : *changes)
      if (output) output = change(was, is);
  return output;
}

}  // namespace bulkhead::compile
