#include "controlplane/compile/binding.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "controlplane/compile/intern.h"
#include "dataplane/image/query.h"

namespace bulkhead::compile {

void Binding::begin(std::size_t addresses) {
  ++round_;
  if (!entries_.empty()) return;
  entries_.reserve(addresses);
  shards_ = std::vector<Shard>(image::shards_for(addresses));
}

void Binding::end() {
  const auto sweep = [this](auto& all, auto take_out) {
    std::erase_if(all, [&](const auto& known) {
      const bool goes = known.second->round != round_;
      if (goes) take_out(*known.second);
      return goes;
    });
  };
  sweep(entries_, [this](Entry& entry) { leave(entry); });
  sweep(identities_, [this](const Named& identity) { forget(identity); });
}

std::uint32_t Binding::put(const Identity& identity) {
  const auto [known, is_new] = identities_.try_emplace(identity.id);
  if (is_new) {
    if (free_numbers_.empty()) {
      free_numbers_.push_back(static_cast<std::uint32_t>(numbers_.size()));
      numbers_.push_back(0);
    }
    known->second =
        std::make_unique<Named>(Named{identity.id, identity::text(*identity.labels),
                                      std::string(identity.namespace_name), free_numbers_.back()});
    free_numbers_.pop_back();
    enter(*known->second);
  }
  known->second->round = round_;
  return known->second->index;
}

void Binding::remove(const identity::Id& id) {
  const auto known = identities_.find(id);
  if (known == identities_.end()) return;
  forget(*known->second);
  identities_.erase(known);
}

Binding::Shard& Binding::shard_of(const identity::Id& id) {
  return shards_[image::shard_of_hash(image::identity_hash(id.bytes),
                                      static_cast<std::uint32_t>(shards_.size() - 1))];
}

std::tuple<std::uint32_t, identity::Id> Binding::order_of(const Named& identity) {
  return {static_cast<std::uint32_t>(image::identity_hash(identity.id.bytes)), identity.id};
}

std::tuple<std::uint32_t, std::string_view, std::string_view, std::string_view> Binding::order_of(
    const Entry& entry) {
  return {static_cast<std::uint32_t>(entry.hash), entry.owner.id, entry.owner.namespace_name,
          entry.owner.name};
}

void Binding::enter(Named& identity) {
  Shard& shard = shard_of(identity.id);
  const auto before = [](const Named* a, const Named* b) { return order_of(*a) < order_of(*b); };
  shard.identities.insert(
      std::upper_bound(shard.identities.begin(), shard.identities.end(), &identity, before), &identity);
  shard.identities_moved = shard.dirty = true;
}

void Binding::forget(const Named& identity) {
  numbers_[identity.index] = 0;
  free_numbers_.push_back(identity.index);
  Shard& shard = shard_of(identity.id);
  std::erase(shard.identities, &identity);
  shard.identities_moved = shard.dirty = true;
}

void Binding::put(std::string key, const Owner& owner, std::span<const Address> addresses) {
  const auto [known, is_new] = entries_.try_emplace(std::move(key));
  if (is_new) known->second = std::make_unique<Entry>();
  Entry& entry = *known->second;
  entry.round = round_;
  if (!is_new && is_as(entry, owner, addresses)) return;
  if (!is_new) leave(entry);
  entry.key = &known->first;
  entry.text.clear();
  entry.text.append(owner.namespace_name).append(owner.name).append(owner.id);
  const std::string_view text = entry.text;
  entry.owner = owner;
  entry.owner.namespace_name = text.substr(0, owner.namespace_name.size());
  entry.owner.name = text.substr(owner.namespace_name.size(), owner.name.size());
  entry.owner.id = text.substr(text.size() - owner.id.size());
  entry.hash = image::endpoint_hash(owner.id);
  entry.place = 0;
  entry.addresses.clear();
  entry.profiles.clear();
  for (const Address& each : addresses) {
    entry.addresses.push_back(each.address);
    entry.profiles.push_back(each.profile);
  }
  enter(entry);
}

bool Binding::is_as(const Entry& entry, const Owner& owner, std::span<const Address> addresses) {
  const auto parts = [](const Owner& of) {
    return std::tie(of.namespace_name, of.name, of.id, of.port_key, of.port, of.flags);
  };
  if (parts(entry.owner) != parts(owner) || entry.addresses.size() != addresses.size()) return false;
  for (std::size_t i = 0; i < addresses.size(); ++i)
    if (!(entry.addresses[i] == addresses[i].address) || entry.profiles[i] != addresses[i].profile)
      return false;
  return true;
}

void Binding::remove(const std::string& key) {
  const auto known = entries_.find(key);
  if (known == entries_.end()) return;
  leave(*known->second);
  entries_.erase(known);
}

const std::string* Binding::owner(const abi::Address& address) {
  for (const Held& held : shard_of(address).addresses)
    if (held.address == address) return held.entry->key;
  return nullptr;
}

bool Binding::anybody_in(const policies::AddressBlock& block) const {
  for (const Shard& shard : shards_)
    for (const Held& held : shard.addresses)
      if (block.contains(held.address.bytes)) return true;
  return false;
}

Binding::Shard& Binding::shard_of(const abi::Address& address) {
  return shards_[image::shard_of_hash(image::slot_hash(0, address),
                                      static_cast<std::uint32_t>(shards_.size() - 1))];
}

/// Beside its first address, so that most changes are of one shard.
std::uint32_t Binding::home_of(const Entry& entry) const {
  const std::uint64_t hash =
      entry.addresses.empty() ? entry.hash : image::slot_hash(0, entry.addresses.front());
  return image::shard_of_hash(hash, static_cast<std::uint32_t>(shards_.size() - 1));
}

std::uint32_t Binding::number_of(const Entry& entry) const {
  return entry.owner.flags == 0 ? 0 : home_of(entry) << image::kEndpointPlaceBits | entry.place;
}

void Binding::enter(Entry& entry) {
  if (entry.owner.flags != 0) {
    Shard& home = shards_[home_of(entry)];
    const auto before = [](const Entry* a, const Entry* b) { return order_of(*a) < order_of(*b); };
    home.endpoints.insert(std::upper_bound(home.endpoints.begin(), home.endpoints.end(), &entry, before),
                          &entry);
    home.moved = home.dirty = true;
  }
  for (std::uint32_t i = 0; i < entry.addresses.size(); ++i) {
    Shard& shard = shard_of(entry.addresses[i]);
    shard.addresses.push_back({entry.addresses[i], &entry, i});
    shard.dirty = true;
  }
  address_count_ += entry.addresses.size();
}

void Binding::leave(Entry& entry) {
  if (entry.owner.flags != 0) {
    Shard& home = shards_[home_of(entry)];
    std::erase(home.endpoints, &entry);
    home.moved = home.dirty = true;
  }
  for (const abi::Address& address : entry.addresses) {
    Shard& shard = shard_of(address);
    std::erase_if(shard.addresses, [&](const Held& held) { return held.entry == &entry; });
    shard.dirty = true;
  }
  address_count_ -= entry.addresses.size();
}

void Binding::divide(std::uint32_t shards) {
  shards_ = std::vector<Shard>(shards);
  address_count_ = 0;
  for (auto& [key, entry] : entries_) enter(*entry);
  for (auto& [id, identity] : identities_) enter(*identity);
}

/// Endpoints that stand elsewhere now take the shards of their addresses along.
void Binding::place(Shard& shard) {
  shard.moved = false;
  std::vector<std::uint64_t> hashes;
  for (const Entry* entry : shard.endpoints) hashes.push_back(entry->hash);
  const auto places = image::find_places(hashes);
  if (!places) {
    shard.moved = true;
    throw Refused{"a shard has no room for " + std::to_string(hashes.size()) + " endpoints"};
  }
  shard.table = places->table;
  for (std::size_t i = 0; i < shard.endpoints.size(); ++i) {
    Entry& entry = *shard.endpoints[i];
    if (entry.place == places->place[i]) continue;
    entry.place = places->place[i];
    for (const abi::Address& address : entry.addresses) shard_of(address).dirty = true;
  }
}

bool Binding::place_identities(Shard& shard) {
  shard.identities_moved = false;
  std::vector<std::uint64_t> hashes;
  for (const Named* identity : shard.identities) hashes.push_back(image::identity_hash(identity->id.bytes));
  const auto places = image::find_places(hashes);
  if (!places) {
    shard.identities_moved = true;
    throw Refused{"a shard has no room for " + std::to_string(hashes.size()) + " identities"};
  }
  shard.identity_table = places->table;
  const auto number = static_cast<std::uint32_t>(&shard - shards_.data()) << image::kEndpointPlaceBits;
  bool other = false;
  for (std::size_t i = 0; i < shard.identities.size(); ++i) {
    std::uint32_t& before = numbers_[shard.identities[i]->index];
    const std::uint32_t now = number | places->place[i];
    other |= before != 0 && before != now;
    before = now;
  }
  return other;
}

bool Binding::settle() {
  const std::uint32_t wanted = image::shards_for(address_count_);
  if (wanted != shards_.size()) divide(wanted);
  bool other = false;
  for (Shard& shard : shards_) {
    if (shard.moved) place(shard);
    if (shard.identities_moved) other |= place_identities(shard);
  }
  return other;
}

std::vector<image::SectionBytes> Binding::build(std::uint64_t section_bytes_max) {
  std::vector<image::SectionBytes> sections;
  for (std::uint32_t number = 0; number < shards_.size(); ++number) {
    Shard& shard = shards_[number];
    if (shard.dirty) {
      image::ShardTables tables;
      tables.shard = number;
      tables.shards = static_cast<std::uint32_t>(shards_.size());
      tables.endpoint_table = shard.table;
      tables.endpoints.reserve(shard.endpoints.size());
      for (const Entry* entry : shard.endpoints)
        tables.endpoints.push_back({entry->owner.namespace_name, entry->owner.name, entry->owner.id,
                                    entry->owner.port_key, entry->owner.port, entry->owner.flags,
                                    entry->addresses, entry->place});
      tables.identity_table = shard.identity_table;
      for (const Named* identity : shard.identities)
        tables.identities.push_back({identity->id.bytes, identity->labels, identity->namespace_name,
                                     numbers_[identity->index] & ((1u << image::kEndpointPlaceBits) - 1)});
      tables.bound.reserve(shard.addresses.size());
      for (const auto& [address, entry, which] : shard.addresses)
        tables.bound.push_back({address, entry->profiles[which], number_of(*entry)});
      auto built = image::build_shard(tables, {section_bytes_max});
      if (auto* refusal = std::get_if<image::Refusal>(&built)) throw Refused{std::move(refusal->reason)};
      shard.bytes = std::make_shared<const std::vector<std::byte>>(std::get<0>(std::move(built)));
      shard.dirty = false;
    }
    sections.push_back(shard.bytes);
  }
  return sections;
}

}  // namespace bulkhead::compile
