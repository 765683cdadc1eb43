#include "controlplane/compile/compiler.h"

#include <algorithm>
#include <new>

#include "controlplane/compile/census.h"
#include "controlplane/compile/intern.h"
#include "controlplane/compile/pass.h"
#include "dataplane/abi/telemetry.h"

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

/// Who there is and owns what, whoever it was before. Of bound addresses, members' come first, in their order.
void bind(Census& census, const Profiles& profiles, Binding& binding) {
  binding.begin(profiles.bound.size());
  for (IdentityEntry& entry : census.identities)
    entry.bound = binding.put({entry.id, entry.labels, census.namespaces[entry.namespace_index].name});
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
  binding.end();
  binding.settle();
}

/// Of nodes, those that an endpoint has too: without it they would be the node's again.
std::vector<policies::AddressBytes> shadowed(const Input& input, Binding& binding) {
  std::vector<policies::AddressBytes> found;
  const auto note = [&](const policies::AddressBytes& address) {
    const std::string* owner = binding.owner({address});
    if (owner != nullptr && !owner->starts_with(kNodeKey)) found.push_back(address);
  };
  for (const auto& address : input.node.addresses) note(address);
  for (const auto& node : input.cluster.nodes)
    for (const auto& address : node.addresses) note(address);
  std::sort(found.begin(), found.end());
  return found;
}

/// Whether every profile's number is its content's own: no two started alike.
bool have_own_numbers(const Profiles& profiles) {
  return std::all_of(profiles.seen.begin(), profiles.seen.end(),
                     [](const Seen& seen) { return seen.profile == profile_number(seen.content); });
}

}  // namespace

Output Compiler::make(const Input& input, std::optional<Kept>* kept) {
  Census census = take_census(input);
  PolicyIndex policies(input.policies);
  Pass pass(input, policies.relevant(census), census);
  const Profiles profiles = see(census, pass.blocks(), pass.rules().quarantine_of);
  pass.judge(profiles);
  Binding binding;
  if (kept != nullptr && *kept) binding = std::move((*kept)->binding);
  if (kept != nullptr) kept->reset();
  bind(census, profiles, binding);
  Output output = pass.output(profiles, binding.numbers());
  output.image.shards = binding.build(input.limits.section_bytes_max);
  if (kept == nullptr) return output;
  const bool can_change =
      input.quarantines.empty() && input.subjects_too == nullptr && have_own_numbers(profiles);
  auto also_nodes = shadowed(input, binding);
  kept->emplace(Kept{output, std::move(binding), Population(census, profiles), pass.blocks(),
                     std::move(policies), can_change, std::move(also_nodes), input.limits.section_bytes_max});
  return output;
}

std::variant<Output, Refusal> Compiler::compile(const Input& input) {
  try {
    return make(input, &kept_);
  } catch (const Refused& refused) {
    return Refusal{refused.reason};
  } catch (const std::bad_alloc&) {
    kept_.reset();  // it may have been half taken over
    return Refusal{"not enough memory to compile"};
  }
}

std::variant<Output, Refusal> Compiler::compile_once(const Input& input) {
  try {
    return make(input, nullptr);
  } catch (const Refused& refused) {
    return Refusal{refused.reason};
  } catch (const std::bad_alloc&) {
    return Refusal{"not enough memory to compile"};
  }
}

std::optional<Output> Compiler::change(const Input& input, const Changes& changes) {
  if (!kept_ || !kept_->can_change || input.limits.section_bytes_max != kept_->section_bytes_max)
    return std::nullopt;
  try {
    if (change_kept(input, changes)) return kept_->output;
  } catch (const Refused&) {  // the whole input will say why
  } catch (const std::bad_alloc&) {
  }
  kept_.reset();  // half changed
  return std::nullopt;
}

bool Compiler::change_kept(const Input& input, const Changes& changes) {
  bool policy_section = !changes.relabelled.empty() || !changes.replaced_policies.empty();
  if (changes.other_policies) {
    kept_->policies = PolicyIndex(input.policies);
    policy_section = true;
  }
  for (const std::uint32_t position : changes.replaced_policies)
    kept_->policies.replaced(input.policies, position);
  for (const policies::Namespace& one : input.cluster.namespaces)
    if (std::find(changes.relabelled.begin(), changes.relabelled.end(), one.name) !=
            changes.relabelled.end() &&
        !kept_->population.relabel(one.name, one.labels))
      return false;

  std::vector<Resident> gone;
  for (const auto& [before, after] : changes.endpoints) {
    for (const Placed* placed : {&before, &after}) {
      if (placed->endpoint == nullptr) continue;
      // Neither is an owner of addresses: what they bring or take is not to be seen there.
      if (placed->endpoint->host_network || placed->endpoint->addresses.empty()) return false;
      if (placed->port && placed->port->port >= abi::kPortsMax) return false;
    }
    Resident comes;
    if (before.endpoint != nullptr) gone.push_back(resident(before, input));
    if (after.endpoint != nullptr) {
      comes = resident(after, input);
      const auto entered = kept_->population.enter(comes, kept_->binding);
      if (!entered) return false;
      policy_section |= *entered;
    }
    if (!rebind(before, after, comes)) return false;
    kept_->output.stats.endpoints += (after.endpoint != nullptr ? 1u : 0u);
    kept_->output.stats.endpoints -= (before.endpoint != nullptr ? 1u : 0u);
  }
  // Last, so that whoever comes back as he was has not been away.
  for (const Resident& one : gone) {
    const auto left = kept_->population.leave(one, kept_->binding);
    if (!left) return false;
    policy_section |= *left;
  }
  policy_section |= kept_->binding.settle();
  if (policy_section && !judge_again(input)) return false;
  kept_->output.image.shards = kept_->binding.build(kept_->section_bytes_max);
  return true;
}

Resident Compiler::resident(const Placed& placed, const Input& input) const {
  const policies::Endpoint& endpoint = *placed.endpoint;
  Resident result;
  result.endpoint = &endpoint;
  result.encoding = identity::encode(endpoint.namespace_name, endpoint.labels, endpoint.service_account);
  result.identity = identity::identify(result.encoding);
  result.node = endpoint.node.empty() ? input.node.name : endpoint.node;
  result.subject =
      input.subjects == Subjects::kEvery || result.node == input.node.name || placed.port.has_value();
  std::string content;
  for (const auto& address : sorted_addresses(endpoint)) {
    const std::uint32_t region = kept_->blocks.region_of(address);
    content.clear();
    encode_endpoint(result.identity, endpoint, result.subject, false,
                    result.subject ? result.node : std::string_view(), kept_->blocks.regions()[region].prefix,
                    content);
    const identity::Id id = identity::identify(content);
    result.places.push_back({address, id, profile_number(id), region});
  }
  return result;
}

bool Compiler::rebind(const Placed& before, const Placed& after, const Resident& resident) {
  Binding& binding = kept_->binding;
  std::string before_key;
  if (before.endpoint != nullptr) {
    before_key = key_of(*before.endpoint);
    for (const auto& address : before.endpoint->addresses) {
      const std::string* owner = binding.owner({address});
      if (owner == nullptr || *owner != before_key) return false;
      if (std::binary_search(kept_->shadowed.begin(), kept_->shadowed.end(), address)) return false;
    }
  }
  if (after.endpoint == nullptr) {
    binding.remove(before_key);
    return true;
  }
  std::vector<Binding::Address> bound;
  for (const Resident::Place& place : resident.places) {
    const std::string* owner = binding.owner({place.address});
    if (owner != nullptr && *owner != before_key) return false;
    bound.push_back({{place.address}, place.profile});
  }
  std::string key = key_of(*after.endpoint);
  if (!before_key.empty() && before_key != key) binding.remove(before_key);
  binding.put(std::move(key), owner_of(*after.endpoint, after.port ? &*after.port : nullptr), bound);
  return true;
}

/// The policy section, and where in blocks everybody is.
bool Compiler::judge_again(const Input& input) {
  Population& population = kept_->population;
  Pass pass(input, kept_->policies.relevant(population.census()), population.census(),
            &population.requirements());
  if (!same_for_everybody(pass.blocks())) return false;
  population.see_by(kept_->blocks, pass.blocks());
  kept_->blocks = pass.blocks();
  pass.judge(population.profiles());
  if (pass.disputed()) return false;
  const std::size_t endpoints = kept_->output.stats.endpoints;
  auto shards = std::move(kept_->output.image.shards);
  kept_->output = pass.output(population.profiles(), kept_->binding.numbers());
  kept_->output.stats.endpoints = endpoints;
  kept_->output.image.shards = std::move(shards);
  return true;
}

/// Whether every address lies in a region of the same prefix as before.
bool Compiler::same_for_everybody(const Blocks& now) const {
  const auto& regions = kept_->blocks.regions();
  std::vector<bool> gone;
  gone.reserve(regions.size());
  for (const Blocks::Region& region : regions) gone.push_back(now.find(region.prefix) == kNone);
  for (const Seen& seen : kept_->population.profiles().seen)
    if (gone[seen.region]) return false;
  return std::none_of(now.regions().begin(), now.regions().end(), [&](const Blocks::Region& region) {
    return kept_->blocks.find(region.prefix) == kNone && kept_->binding.anybody_in(region.prefix);
  });
}

}  // namespace bulkhead::compile
