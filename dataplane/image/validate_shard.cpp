#include <bit>
#include <cstring>
#include <vector>

#include "dataplane/abi/telemetry.h"
#include "dataplane/image/layout.h"

namespace bulkhead::image {
namespace {

template <class... Parts>
Refusal refuse_at(const char* name, std::size_t index, const Parts&... parts) {
  return refuse("shard, table ", name, ", index ", index, ": ", parts...);
}

bool is_free(const AddressSlot& slot) {
  return slot.profile == 0;
}

/// Every occupied slot must be the one that bind() finds for its address.
std::optional<Refusal> check_slots(std::span<const AddressSlot> slots, const ShardHeader& header) {
  if (slots.size() <= kProbesMax || !std::has_single_bit(slots.size() - kProbesMax))
    return refuse("shard, table slots: ", slots.size(), " elements, expected a power of two plus ",
                  kProbesMax);
  if (header.slot_seed > 0xffff'ffffu)
    return refuse("shard: slot_seed ", header.slot_seed, ", expected less than 2^32");
  const std::uint64_t mask = slots.size() - kProbesMax - 1;
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const AddressSlot& slot = slots[i];
    if (slot.reserved != 0) return refuse_at("slots", i, "reserved field is not zero");
    if (is_free(slot)) {
      if (slot.endpoint != 0 || slot.address != abi::Address{})
        return refuse_at("slots", i, "names an address but no profile");
      continue;
    }
    const std::uint32_t shard = shard_of_hash(slot_hash(0, slot.address), header.shards - 1);
    if (shard != header.shard)
      return refuse_at("slots", i, "address ", text(slot.address), " belongs to shard ", shard);
    const std::uint64_t home = slot_hash(header.slot_seed, slot.address) & mask;
    if (i < home || i - home >= kProbesMax)
      return refuse_at("slots", i, "address ", text(slot.address), " is at home in slot ", home);
    for (std::uint64_t before = home; before < i; ++before)
      if (is_free(slots[before]) || slots[before].address == slot.address)
        return refuse_at("slots", i, "address ", text(slot.address), " cannot be found there");
  }
  return std::nullopt;
}

std::optional<Refusal> check_endpoint(const Endpoint& endpoint, std::size_t i, const ShardHeader& header) {
  const std::uint64_t strings = header.strings.count;
  if (!within(endpoint.namespace_name, strings) || !within(endpoint.name, strings) ||
      !within(endpoint.id, strings))
    return refuse_at("endpoints", i, "a string ends beyond the table");
  if (endpoint.flags > kEndpointOther || (endpoint.flags != 0 && !std::has_single_bit(endpoint.flags)))
    return refuse_at("endpoints", i, "flags ", endpoint.flags, ", expected local, node or other");
  if (endpoint.port >= abi::kPortsMax)
    return refuse_at("endpoints", i, "port ", endpoint.port, ", expected less than ", abi::kPortsMax);
  if ((endpoint.port != 0) != (endpoint.flags == kEndpointLocal))
    return refuse_at("endpoints", i, "an endpoint is local if, and only if, it has a port");
  if (!within(endpoint.addresses_first, endpoint.addresses_count, header.addresses.count))
    return refuse_at("endpoints", i, "its addresses end beyond the table");
  return std::nullopt;
}

std::optional<Refusal> check_endpoints(std::span<const Endpoint> endpoints,
                                       std::span<const std::uint32_t> locals, const ShardHeader& header) {
  if (!std::has_single_bit(endpoints.size()) || endpoints.size() > (std::size_t{1} << kEndpointPlaceBits))
    return refuse("shard, table endpoints: ", endpoints.size(), " elements, expected a power of two up to ",
                  1u << kEndpointPlaceBits);
  if (endpoints[0].flags != 0) return refuse("shard, table endpoints: lacks its none entry");
  auto local = locals.begin();
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    if (auto refusal = check_endpoint(endpoints[i], i, header)) return refusal;
    if ((endpoints[i].flags & (kEndpointLocal | kEndpointNode)) == 0) continue;
    if (local == locals.end() || *local++ != i)
      return refuse_at("endpoints", i, "is of this node, but table locals leaves it out");
  }
  if (local != locals.end())
    return refuse_at("locals", static_cast<std::size_t>(local - locals.begin()), "endpoint ", *local,
                     " is not of this node");
  return std::nullopt;
}

/// Of their ids nothing is asked: whatever a number leads to, it is for people.
std::optional<Refusal> check_identities(std::span<const Identity> identities, const ShardHeader& header) {
  if (!std::has_single_bit(identities.size()) || identities.size() > (std::size_t{1} << kEndpointPlaceBits))
    return refuse("shard, table identities: ", identities.size(), " elements, expected a power of two up to ",
                  1u << kEndpointPlaceBits);
  constexpr Identity kNone{};
  if (std::memcmp(&identities[0], &kNone, sizeof kNone) != 0)
    return refuse("shard, table identities: lacks its none entry");
  for (std::size_t i = 0; i < identities.size(); ++i)
    if (!within(identities[i].labels, header.strings.count) ||
        !within(identities[i].namespace_name, header.strings.count))
      return refuse_at("identities", i, "a string ends beyond the table");
  return std::nullopt;
}

}  // namespace

std::optional<Refusal> check_shard(std::span<const std::byte> section, bool check_digest, Shard& shard) {
  if (auto refusal = check_frame(section, SectionKind::kShard, check_digest)) return refusal;
  const auto& header = *reinterpret_cast<const ShardHeader*>(section.data());
  if (!std::has_single_bit(header.shards) || header.shards > kShardsMax || header.shard >= header.shards)
    return refuse("shard: is number ", header.shard, " of ", header.shards,
                  ", expected a power of two up to ", kShardsMax);
  const auto slots = table<AddressSlot>(section, header.slots);
  const auto endpoints = table<Endpoint>(section, header.endpoints);
  const auto locals = table<std::uint32_t>(section, header.locals);
  if (auto refusal = check_endpoints(endpoints, locals, header)) return refusal;
  const auto identities = table<Identity>(section, header.identities);
  if (auto refusal = check_identities(identities, header)) return refusal;
  if (auto refusal = check_slots(slots, header)) return refusal;
  shard.header = &header;
  shard.slots = {slots.data(), static_cast<std::uint32_t>(slots.size() - kProbesMax - 1),
                 static_cast<std::uint32_t>(header.slot_seed)};
  shard.endpoints = endpoints.data();
  shard.endpoint_mask = static_cast<std::uint32_t>(endpoints.size() - 1);
  shard.identities = identities.data();
  shard.identity_mask = static_cast<std::uint32_t>(identities.size() - 1);
  shard.locals = locals.data();
  shard.locals_count = static_cast<std::uint32_t>(locals.size());
  shard.number = header.shard;
  shard.of = header.shards;
  shard.digest = header.digest;
  shard.addresses = table<abi::Address>(section, header.addresses).data();
  shard.strings = table<char>(section, header.strings).data();
  return std::nullopt;
}

}  // namespace bulkhead::image
