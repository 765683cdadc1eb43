#include "controlplane/compile/compiler.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "controlplane/compile/census.h"
#include "controlplane/compile/classes.h"
#include "controlplane/compile/conflicts.h"
#include "controlplane/compile/emit.h"
#include "controlplane/compile/intern.h"
#include "controlplane/compile/ports.h"
#include "controlplane/compile/rules.h"
#include "controlplane/compile/rulesets.h"
#include "controlplane/compile/selectors.h"
#include "dataplane/abi/telemetry.h"
#include "dataplane/image/query.h"

namespace bulkhead::compile {
namespace {

/// Ids are unique; names are in it for sources that cannot keep that promise.
std::string key_of(const policies::Endpoint& endpoint) {
  std::string key = "endpoint/";
  for (const std::string* part : {&endpoint.namespace_name, &endpoint.name, &endpoint.id}) {
    key += *part;
    key += '\0';
  }
  return key;
}

constexpr std::string_view kNodeKey = "node/";

std::string key_of_node(std::string_view name) {
  return std::string(kNodeKey) + std::string(name);
}

Binding::Owner owner_of(const policies::Endpoint& endpoint, const LocalPort* port) {
  Binding::Owner owner{endpoint.namespace_name, endpoint.name, endpoint.id};
  if (port != nullptr && port->port != 0) {
    owner.port = port->port;
    owner.port_key = port->port_key;
    owner.flags = image::kEndpointLocal;
  }
  return owner;
}

/// Who owns what, for a first time. Of bound addresses, members' come first, in their order.
void bind(const Census& census, const Profiles& profiles, Binding& binding) {
  binding.expect(profiles.bound.size());
  std::vector<Binding::Address> addresses;
  auto bound = profiles.bound.begin();
  const auto gather = [&](const auto& is_owners) {
    addresses.clear();
    for (; bound != profiles.bound.end() && is_owners(*bound); ++bound)
      addresses.push_back({{bound->address}, profiles.seen[bound->seen].profile});
  };
  for (std::uint32_t index = 0; index < census.members.size(); ++index) {
    const Member& member = census.members[index];
    gather([&](const Bound& one) { return one.member == index; });
    binding.put(key_of(*member.endpoint), owner_of(*member.endpoint, member.port), addresses);
  }
  for (std::uint32_t index = 0; index < census.nodes.size(); ++index) {
    gather([&](const Bound& one) { return one.member == kNone && one.node == index; });
    if (addresses.empty()) continue;
    const std::string_view name = census.nodes[index].name;
    const std::uint32_t flags = index == census.own_node ? std::uint32_t{image::kEndpointNode} : 0;
    binding.put(key_of_node(name), {"", "host", name, 0, 0, flags}, addresses);
  }
}

/// Of everything that bind() binds: shards of one fingerprint are the same.
identity::Id fingerprint(const Census& census, const Profiles& profiles) {
  std::string all;
  all.reserve(profiles.bound.size() * 96);
  const auto append = [&](const auto& value) {
    all.append(reinterpret_cast<const char*>(&value), sizeof value);
  };
  const auto append_text = [&](std::string_view text) {
    append(text.size());
    all += text;
  };
  append(census.own_node);
  for (const NodeEntry& node : census.nodes) append_text(node.name);
  for (const Member& member : census.members) {
    append_text(member.endpoint->namespace_name);
    append_text(member.endpoint->name);
    append_text(member.endpoint->id);
    append(member.port != nullptr ? member.port->port : 0u);
    append(member.port != nullptr ? member.port->port_key : std::uint64_t{0});
  }
  for (const Bound& bound : profiles.bound) {
    append(bound.address);
    append(bound.member);
    append(bound.node);
    append(profiles.seen[bound.seen].profile);
  }
  return identity::identify(all);
}

}  // namespace

std::size_t Compiler::IdHash::operator()(const identity::Id& id) const {
  std::size_t hash;
  std::memcpy(&hash, id.bytes.data(), sizeof hash);
  return hash;
}

std::variant<Output, Refusal> Compiler::compile(const Input& input) {
  try {
    const Census census = take_census(input);
    Selectors selectors(census, input.limits);
    Ports ports;
    const Rules rules = govern(input, census, selectors, ports);
    const Blocks blocks({rules.directions[0].blocks, rules.directions[1].blocks});
    const Profiles profiles = see(census, blocks, rules.quarantine_of);
    const Classes classes = classify(input, census, selectors, rules, blocks, profiles.seen, ports);
    ports.settle();
    RuleSets rule_sets = build_rule_sets(rules, ports, classes, input.limits);
    auto conflicts = find_conflicts(census, rules, blocks, ports, profiles, classes, rule_sets);
    const Compiled compiled{input, census, rules, blocks, ports, profiles, classes, rule_sets};
    Kept kept;
    kept.output.conflicts = std::move(conflicts);
    kept.output.stats = stats_of(compiled);
    kept.output.image.policy = emit(compiled);
    kept.section_bytes_max = input.limits.section_bytes_max;
    kept.bound = fingerprint(census, profiles);
    kept.blocks = blocks;
    if (kept_ && kept_->bound == kept.bound && kept_->section_bytes_max == kept.section_bytes_max) {
      kept.binding = std::move(kept_->binding);
      kept.output.image.shards = std::move(kept_->output.image.shards);
    } else {
      bind(census, profiles, kept.binding);
      kept.output.image.shards = kept.binding.build(kept.section_bytes_max);
    }
    keep(input, census, profiles, kept);
    kept_ = std::move(kept);
    return kept_->output;
  } catch (const Refused& refused) {
    return Refusal{refused.reason};
  } catch (const std::bad_alloc&) {
    kept_.reset();  // it may have been half taken over
    return Refusal{"not enough memory to compile"};
  }
}

/// What change() will ask for.
void Compiler::keep(const Input& input, const Census& census, const Profiles& profiles, Kept& kept) {
  kept.own_node = census.nodes[census.own_node].name;
  for (const auto& quarantine : input.quarantines)
    kept.quarantined.emplace(quarantine.namespace_name, quarantine.name);
  kept.every = input.subjects == Subjects::kEvery;
  kept.some_subjects_too = input.subjects_too != nullptr;
  kept.profiles.reserve(profiles.seen.size());
  for (const Seen& seen : profiles.seen) kept.profiles.emplace(seen.content, Known{seen.profile, 0});
  for (const Bound& bound : profiles.bound) ++kept.profiles.at(profiles.seen[bound.seen].content).addresses;
  const auto note = [&](const policies::AddressBytes& address) {
    const std::string* owner = kept.binding.owner({address});
    if (owner != nullptr && !owner->starts_with(kNodeKey)) kept.shadowed.push_back(address);
  };
  for (const auto& address : input.node.addresses) note(address);
  for (const auto& node : input.cluster.nodes)
    for (const auto& address : node.addresses) note(address);
  std::sort(kept.shadowed.begin(), kept.shadowed.end());
}

std::optional<std::vector<Compiler::Known*>> Compiler::known(
    const Placed& placed, std::span<const policies::AddressBytes> addresses) {
  const policies::Endpoint& endpoint = *placed.endpoint;
  // A quarantined endpoint's profile is its own, and leaves with it.
  if (kept_->quarantined.contains({endpoint.namespace_name, endpoint.name})) return std::nullopt;
  const identity::Id identity = identity::identify(
      identity::encode(endpoint.namespace_name, endpoint.labels, endpoint.service_account));
  const std::string& node = endpoint.node.empty() ? kept_->own_node : endpoint.node;
  const bool subject = kept_->every || node == kept_->own_node || placed.port.has_value();
  std::vector<Known*> result;
  std::string content;
  for (const auto& address : addresses) {
    content.clear();
    encode_endpoint(identity, endpoint, subject, false, subject ? std::string_view(node) : std::string_view(),
                    kept_->blocks->regions()[kept_->blocks->region_of(address)].prefix, content);
    const auto found = kept_->profiles.find(identity::identify(content));
    if (found == kept_->profiles.end()) return std::nullopt;
    result.push_back(&found->second);
  }
  return result;
}

std::optional<Output> Compiler::change(const Placed& before, const Placed& after) {
  if (!kept_ || kept_->some_subjects_too) return std::nullopt;
  std::vector<policies::AddressBytes> addresses[2];
  std::vector<Known*> profiles[2];
  std::string keys[2];
  for (const int now : {0, 1}) {
    const Placed& placed = now != 0 ? after : before;
    if (placed.endpoint == nullptr) continue;
    // Neither is an owner of addresses: what they bring or take is not to be seen there.
    if (placed.endpoint->host_network || placed.endpoint->addresses.empty()) return std::nullopt;
    if (placed.port && placed.port->port >= abi::kPortsMax) return std::nullopt;
    addresses[now] = sorted_addresses(*placed.endpoint);
    const auto found = known(placed, addresses[now]);
    if (!found) return std::nullopt;
    profiles[now] = *found;
    keys[now] = key_of(*placed.endpoint);
  }
  for (const auto& address : addresses[0]) {
    const std::string* owner = kept_->binding.owner({address});
    if (owner == nullptr || *owner != keys[0]) return std::nullopt;
    // Without the endpoint it would be the node's again.
    if (std::binary_search(kept_->shadowed.begin(), kept_->shadowed.end(), address)) return std::nullopt;
  }
  for (const auto& address : addresses[1])
    if (const std::string* owner = kept_->binding.owner({address}); owner != nullptr && *owner != keys[0])
      return std::nullopt;
  // A profile that nobody has any more leaves the policy section, and that is not ours to change.
  for (Known* profile : profiles[1]) ++profile->addresses;
  for (Known* profile : profiles[0]) --profile->addresses;
  const bool stays = std::all_of(profiles[0].begin(), profiles[0].end(),
                                 [](const Known* profile) { return profile->addresses > 0; });
  if (!stays) {
    for (Known* profile : profiles[0]) ++profile->addresses;
    for (Known* profile : profiles[1]) --profile->addresses;
    return std::nullopt;
  }
  if (before.endpoint != nullptr && keys[0] != keys[1]) kept_->binding.remove(keys[0]);
  if (after.endpoint != nullptr) {
    std::vector<Binding::Address> bound;
    for (std::size_t i = 0; i < addresses[1].size(); ++i)
      bound.push_back({{addresses[1][i]}, profiles[1][i]->profile});
    kept_->binding.put(keys[1], owner_of(*after.endpoint, after.port ? &*after.port : nullptr), bound);
  }
  kept_->bound = {};  // of the input, which changed
  kept_->output.stats.endpoints += (after.endpoint != nullptr ? 1u : 0u);
  kept_->output.stats.endpoints -= (before.endpoint != nullptr ? 1u : 0u);
  try {
    kept_->output.image.shards = kept_->binding.build(kept_->section_bytes_max);
  } catch (const Refused&) {
    kept_.reset();  // the whole input will say why
    return std::nullopt;
  }
  return kept_->output;
}

}  // namespace bulkhead::compile
