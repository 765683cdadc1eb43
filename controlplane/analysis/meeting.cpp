#include "controlplane/analysis/meeting.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <tuple>

#include "policies/model/address.h"

namespace bulkhead::analysis {
namespace {

std::string number_text(const policies::NamedPort& port) {
  return std::string(policies::name(port.protocol)) + "/" + std::to_string(port.port);
}

bool before(const policies::NamedPort& a, const policies::NamedPort& b) {
  return std::tie(a.protocol, a.name) < std::tie(b.protocol, b.name);
}

/// By name and protocol each once, and the first few numbers.
void settle_ports(std::vector<policies::NamedPort> ports, std::set<std::string> numbers, Met& met) {
  std::sort(ports.begin(), ports.end(), before);
  const auto same = [](const auto& a, const auto& b) { return !before(a, b) && !before(b, a); };
  ports.erase(std::unique(ports.begin(), ports.end(), same), ports.end());
  met.ports = std::move(ports);
  for (const std::string& number : numbers)
    if (met.numbers.size() < Meeting::kNumbersMax) met.numbers.push_back(number);
}

}  // namespace

Meeting::Meeting(const compile::Input& input)
    : input_(input),
      census_(compile::take_census(input_)),
      selectors_(census_, input_.limits),
      endpoints_of_(census_.identities.size()) {
  const auto& endpoints = input_.cluster.endpoints;
  for (const compile::Member& member : census_.members)
    endpoints_of_[member.identity].push_back(static_cast<std::uint32_t>(member.endpoint - endpoints.data()));
  for (auto& each : endpoints_of_) std::sort(each.begin(), each.end());
  for (std::uint32_t number = 0; number < endpoints.size(); ++number)
    if (!endpoints[number].host_network)
      for (const auto& address : endpoints[number].addresses)
        addresses_[policies::is_v4(address)].emplace_back(address, number);
  for (auto& addresses : addresses_) std::sort(addresses.begin(), addresses.end());
}

const Met& Meeting::meeting(const policies::EndpointSelector& selector) {
  const std::uint32_t number = selectors_.intern(selector);
  const auto [place, is_new] = by_selector_.try_emplace(number);
  if (!is_new) return place->second;
  std::vector<std::uint32_t> met;
  for (const std::uint32_t identity : selectors_.identities(number))
    met.insert(met.end(), endpoints_of_[identity].begin(), endpoints_of_[identity].end());
  std::sort(met.begin(), met.end());
  return place->second = look_at(std::move(met));
}

const Met& Meeting::everyone() {
  if (everyone_.empty()) {
    std::vector<std::uint32_t> all(input_.cluster.endpoints.size());
    std::iota(all.begin(), all.end(), 0u);
    everyone_.push_back(look_at(std::move(all)));
  }
  return everyone_.front();
}

Met Meeting::together(const std::vector<const Met*>& parts) {
  Met all;
  std::vector<policies::NamedPort> ports;
  std::set<std::string> numbers;
  for (const Met* part : parts) {
    all.count += part->count;
    all.all_declare = all.all_declare && part->all_declare;
    for (const std::uint32_t endpoint : part->first)
      if (all.first.size() < kNamesMax) all.first.push_back(endpoint);
    ports.insert(ports.end(), part->ports.begin(), part->ports.end());
    numbers.insert(part->numbers.begin(), part->numbers.end());
  }
  settle_ports(std::move(ports), std::move(numbers), all);
  return all;
}

/// `endpoints` come in order.
Met Meeting::look_at(std::vector<std::uint32_t> endpoints) const {
  Met met;
  met.count = endpoints.size();
  std::vector<policies::NamedPort> ports;
  std::set<std::string> numbers;
  std::set<std::pair<policies::Protocol, std::uint16_t>> seen;
  for (const std::uint32_t number : endpoints) {
    const auto& declared = input_.cluster.endpoints[number].ports;
    met.all_declare = met.all_declare && !declared.empty();
    for (const policies::NamedPort& port : declared) {
      if (seen.emplace(port.protocol, port.port).second) numbers.insert(number_text(port));
      const auto place = std::lower_bound(ports.begin(), ports.end(), port, before);
      if (place == ports.end() || before(port, *place)) ports.insert(place, port);
    }
  }
  settle_ports(std::move(ports), std::move(numbers), met);
  endpoints.resize(std::min(endpoints.size(), kNamesMax));
  met.first = std::move(endpoints);
  return met;
}

const Met& Meeting::covered(const policies::IpBlock& block) {
  const auto [place, is_new] = by_block_.try_emplace(block);
  if (!is_new) return place->second;
  std::vector<std::uint32_t> endpoints;
  const auto& addresses = addresses_[block.block.is_v4()];
  auto at = std::lower_bound(addresses.begin(), addresses.end(), std::pair(block.block.base, 0u));
  for (; at != addresses.end() && block.block.contains(at->first); ++at)
    if (block.contains(at->first)) endpoints.push_back(at->second);
  std::sort(endpoints.begin(), endpoints.end());
  endpoints.erase(std::unique(endpoints.begin(), endpoints.end()), endpoints.end());
  Met& met = place->second;
  met.count = endpoints.size();
  endpoints.resize(std::min(endpoints.size(), kNamesMax));
  met.first = std::move(endpoints);
  return met;
}

bool Meeting::is_a_node(const policies::NodeSelector& selector) const {
  return std::any_of(input_.cluster.nodes.begin(), input_.cluster.nodes.end(),
                     [&](const policies::Node& node) { return selector.nodes.matches(node.labels); });
}

std::string Meeting::names(const Met& met) const {
  std::string words;
  for (const std::uint32_t number : met.first) {
    const policies::Endpoint& endpoint = input_.cluster.endpoints[number];
    words += (words.empty() ? "" : ", ") + endpoint.namespace_name + "/" + endpoint.name;
  }
  if (met.count > met.first.size()) words += " and " + std::to_string(met.count - met.first.size()) + " more";
  return words;
}

}  // namespace bulkhead::analysis
