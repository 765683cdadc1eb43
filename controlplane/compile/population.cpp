#include "controlplane/compile/population.h"

#include <algorithm>
#include <utility>

namespace bulkhead::compile {

Population::Population(const Census& census, const Profiles& profiles) : census_(census) {
  census_.members.clear();
  homes_.reserve(census.namespaces.size());
  for (NamespaceEntry& entry : census_.namespaces) {
    homes_.push_back(std::make_unique<Home>(Home{std::string(entry.name), *entry.labels}));
    entry.name = homes_.back()->name;
    entry.labels = &homes_.back()->labels;
  }
  kin_.reserve(census.identities.size());
  for (IdentityEntry& entry : census_.identities) {
    kin_.push_back(std::make_unique<Kin>(
        Kin{identity::encode(homes_[entry.namespace_index]->name, *entry.labels, entry.service_account),
            std::string(entry.service_account), *entry.labels}));
    entry.labels = &kin_.back()->labels;
    entry.service_account = kin_.back()->service_account;
  }
  for (NodeEntry& entry : census_.nodes) {
    hosts_.push_back(std::make_unique<Host>(Host{std::string(entry.name), *entry.labels}));
    entry.name = hosts_.back()->name;
    entry.labels = &hosts_.back()->labels;
  }
  for (const Member& member : census.members) {
    ++kin_[member.identity]->members;
    if (member.subject) count_subject(member.identity, 1);
  }
  profiles_.seen = profiles.seen;
  for (Seen& seen : profiles_.seen) {
    if (seen.ports != nullptr) seen.ports = keep_ports(*seen.ports);
    seen.examples[0] = seen.examples[1] = kNone;
  }
  addresses_.reserve(profiles_.seen.size());
  for (const Bound& bound : profiles.bound) ++addresses_[profiles_.seen[bound.seen].content];
}

std::optional<bool> Population::enter(const Resident& resident, Binding& binding) {
  const auto home = namespace_of(resident.endpoint->namespace_name);
  if (!home || !node_of(resident.node)) return std::nullopt;
  for (const auto& place : resident.places)
    if (const auto known = find(place.profile);
        known != profiles_.seen.end() && known->profile == place.profile && known->content != place.content)
      return std::nullopt;
  bool changed = false;
  const std::uint32_t identity = place_of(*home, resident.encoding);
  if (!is_at(identity, resident.encoding)) {
    insert_identity(identity, *home, resident,
                    binding.put({resident.identity, &resident.endpoint->labels, homes_[*home]->name}));
    changed = true;
  }
  ++kin_[identity]->members;
  if (resident.subject) count_subject(identity, 1);
  for (const auto& place : resident.places) {
    if (addresses_[place.content]++ != 0) continue;
    insert_profile(resident, place, identity);
    changed = true;
  }
  return changed;
}

std::optional<bool> Population::leave(const Resident& resident, Binding& binding) {
  const auto home = namespace_of(resident.endpoint->namespace_name);
  if (!home) return std::nullopt;
  const std::uint32_t identity = place_of(*home, resident.encoding);
  if (!is_at(identity, resident.encoding)) return std::nullopt;
  for (const auto& place : resident.places)
    if (!addresses_.contains(place.content)) return std::nullopt;
  bool changed = false;
  for (const auto& place : resident.places) {
    const auto known = addresses_.find(place.content);
    if (--known->second != 0) continue;
    addresses_.erase(known);
    erase_profile(place);
    changed = true;
  }
  if (resident.subject) count_subject(identity, -1);
  if (--kin_[identity]->members == 0) {
    erase_identity(identity);
    binding.remove(resident.identity);
    changed = true;
  }
  return changed;
}

bool Population::relabel(std::string_view namespace_name, const policies::Labels& labels) {
  const auto home = namespace_of(namespace_name);
  if (home) homes_[*home]->labels = labels;
  return home.has_value();
}

void Population::see_by(const Blocks& before, const Blocks& now) {
  std::vector<std::uint32_t> moved;
  moved.reserve(before.regions().size());
  for (const Blocks::Region& region : before.regions()) moved.push_back(now.find(region.prefix));
  for (Seen& seen : profiles_.seen) seen.region = moved[seen.region];
}

std::optional<std::uint32_t> Population::namespace_of(std::string_view name) const {
  const NamespaceEntry* found = census_.find_namespace(name);
  if (found == nullptr) return std::nullopt;
  return static_cast<std::uint32_t>(found - census_.namespaces.data());
}

std::optional<std::uint32_t> Population::node_of(std::string_view name) const {
  const auto found =
      std::lower_bound(census_.nodes.begin(), census_.nodes.end(), name,
                       [](const NodeEntry& entry, std::string_view key) { return entry.name < key; });
  if (found == census_.nodes.end() || found->name != name) return std::nullopt;
  return static_cast<std::uint32_t>(found - census_.nodes.begin());
}

std::uint32_t Population::place_of(std::uint32_t namespace_index, const std::string& encoding) const {
  const auto found = std::lower_bound(
      census_.identities.begin(), census_.identities.end(), encoding,
      [&](const IdentityEntry& entry, const std::string& key) {
        if (entry.namespace_index != namespace_index) return entry.namespace_index < namespace_index;
        return kin_[static_cast<std::size_t>(&entry - census_.identities.data())]->encoding < key;
      });
  return static_cast<std::uint32_t>(found - census_.identities.begin());
}

bool Population::is_at(std::uint32_t place, const std::string& encoding) const {
  return place < kin_.size() && kin_[place]->encoding == encoding;
}

void Population::insert_identity(std::uint32_t place, std::uint32_t namespace_index, const Resident& resident,
                                 std::uint32_t bound) {
  const policies::Endpoint& endpoint = *resident.endpoint;
  kin_.insert(kin_.begin() + place,
              std::make_unique<Kin>(Kin{resident.encoding, endpoint.service_account, endpoint.labels}));
  const Kin& kin = *kin_[place];
  requirements_.enter(bound, kin.labels);
  census_.identities.insert(
      census_.identities.begin() + place,
      IdentityEntry{resident.identity, namespace_index, &kin.labels, false, kin.service_account, bound});
  if (census_.namespaces[namespace_index].identities_count++ == 0)
    census_.namespaces[namespace_index].identities_first = place;
  for (std::size_t behind = namespace_index + 1; behind < census_.namespaces.size(); ++behind)
    if (census_.namespaces[behind].identities_count != 0) ++census_.namespaces[behind].identities_first;
  for (Seen& seen : profiles_.seen)
    if (seen.identity != kNone && seen.identity >= place) ++seen.identity;
}

void Population::erase_identity(std::uint32_t place) {
  const std::uint32_t namespace_index = census_.identities[place].namespace_index;
  kin_.erase(kin_.begin() + place);
  census_.identities.erase(census_.identities.begin() + place);
  if (--census_.namespaces[namespace_index].identities_count == 0)
    census_.namespaces[namespace_index].identities_first = 0;
  for (std::size_t behind = namespace_index + 1; behind < census_.namespaces.size(); ++behind)
    if (census_.namespaces[behind].identities_count != 0) --census_.namespaces[behind].identities_first;
  for (Seen& seen : profiles_.seen)
    if (seen.identity != kNone && seen.identity > place) --seen.identity;
}

void Population::insert_profile(const Resident& resident, const Resident::Place& place,
                                std::uint32_t identity) {
  Seen seen;
  seen.content = place.content;
  seen.profile = place.profile;
  seen.identity = identity;
  if (resident.subject) seen.node = *node_of(resident.node);
  seen.region = place.region;
  seen.kubernetes = resident.endpoint->kubernetes;
  seen.subject = resident.subject;
  seen.ports = keep_ports(resident.endpoint->ports);
  profiles_.seen.insert(find(place.profile), seen);
}

void Population::erase_profile(const Resident::Place& place) {
  const auto seen = find(place.profile);
  const auto ports = ports_.find(*seen->ports);
  if (--ports->second == 0) ports_.erase(ports);
  profiles_.seen.erase(seen);
}

std::vector<Seen>::iterator Population::find(image::Profile profile) {
  return std::lower_bound(profiles_.seen.begin(), profiles_.seen.end(), profile,
                          [](const Seen& seen, image::Profile key) { return seen.profile < key; });
}

const std::vector<policies::NamedPort>* Population::keep_ports(
    const std::vector<policies::NamedPort>& ports) {
  const auto known = ports_.try_emplace(ports, 0).first;
  ++known->second;
  return &known->first;
}

void Population::count_subject(std::uint32_t identity, int change) {
  const auto count = [change](std::uint32_t& subjects) {
    return (subjects += static_cast<std::uint32_t>(change)) != 0;
  };
  const std::uint32_t home = census_.identities[identity].namespace_index;
  census_.identities[identity].subject = count(kin_[identity]->subjects);
  census_.namespaces[home].subjects = count(homes_[home]->subjects);
}

}  // namespace bulkhead::compile
