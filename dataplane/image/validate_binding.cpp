#include <bit>
#include <utility>
#include <vector>

#include "dataplane/abi/telemetry.h"
#include "dataplane/image/layout.h"

namespace bulkhead::image {
namespace {

constexpr std::uint8_t kLevels = 16;  // bytes of an address
constexpr std::uint8_t kRootV4 = 12;
constexpr std::uint8_t kRootV6 = 0;

template <class... Parts>
Refusal refuse_at(const char* name, std::size_t index, const Parts&... parts) {
  return refuse("binding section, table ", name, ", index ", index, ": ", parts...);
}

/// Record 0 is never looked up, so its classes bind nobody.
std::optional<Refusal> check_records(std::span<const Record> records, const PolicyBounds& bounds) {
  if (records.empty()) return refuse("binding section, table records: lacks its none entry");
  for (std::size_t i = 1; i < records.size(); ++i) {
    const Record& record = records[i];
    if (record.identity >= bounds.identities)
      return refuse_at("records", i, "identity ", record.identity, ", but there are ", bounds.identities);
    if ((record.flags & ~(kRecordEndpoint | kRecordNode)) != 0)
      return refuse_at("records", i, "unknown flags");
    for (std::uint32_t direction = 0; direction < kDirections; ++direction) {
      const std::uint32_t subject = record.subject[direction];
      if (subject != kNoSubject && subject >= bounds.subject_classes[direction])
        return refuse_at("records", i, "subject class ", subject, ", but there are ",
                         bounds.subject_classes[direction]);
      // Where there are no subjects, nobody ever looks at peers.
      if (record.peer[direction] >= bounds.peer_classes[direction] && bounds.subject_classes[direction] != 0)
        return refuse_at("records", i, "peer class ", record.peer[direction], ", but there are ",
                         bounds.peer_classes[direction]);
    }
  }
  return std::nullopt;
}

bool is_free(const AddressSlot& slot) {
  return slot.record == 0;
}

/// Every occupied slot must be the one that bind() finds for its address.
std::optional<Refusal> check_slots(std::span<const AddressSlot> slots, std::uint64_t seed,
                                   std::uint64_t records, std::uint64_t endpoints) {
  if (slots.size() <= kProbesMax || !std::has_single_bit(slots.size() - kProbesMax))
    return refuse("binding section, table slots: ", slots.size(), " elements, expected a power of two plus ",
                  kProbesMax);
  const std::uint64_t mask = slots.size() - kProbesMax - 1;
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const AddressSlot& slot = slots[i];
    if (slot.reserved != 0) return refuse_at("slots", i, "reserved field is not zero");
    if (is_free(slot)) {
      if (slot.endpoint != 0 || slot.address != abi::Address{})
        return refuse_at("slots", i, "names an address but no record");
      continue;
    }
    if (slot.record >= records)
      return refuse_at("slots", i, "record ", slot.record, ", but there are ", records);
    if (slot.endpoint >= endpoints)
      return refuse_at("slots", i, "endpoint ", slot.endpoint, ", but there are ", endpoints);
    const std::uint64_t home = slot_hash(seed, slot.address) & mask;
    if (i < home || i - home >= kProbesMax)
      return refuse_at("slots", i, "address ", text(slot.address), " is at home in slot ", home);
    for (std::uint64_t before = home; before < i; ++before)
      if (is_free(slots[before]) || slots[before].address == slot.address)
        return refuse_at("slots", i, "address ", text(slot.address), " cannot be found there");
  }
  return std::nullopt;
}

/// The trie must be two trees whose children follow their parents: then one pass gives every node its level,
/// and none is deeper than an address has bytes. Nodes up to the current one have their levels already, so that a
/// step back or in a circle meets one of those.
std::optional<Refusal> check_trie(std::span<const std::uint32_t> entries, std::uint32_t root_v4,
                                  std::uint32_t root_v6, std::uint64_t records) {
  if (entries.size() % kTrieEntries != 0)
    return refuse("binding section, table trie: ", entries.size(), " elements, expected a multiple of ",
                  kTrieEntries);
  const std::uint64_t nodes = entries.size() / kTrieEntries;
  if (root_v4 >= nodes || root_v6 >= nodes || root_v4 == root_v6)
    return refuse("binding section, table trie: roots ", root_v4, " and ", root_v6, ", but there are ", nodes,
                  " nodes");
  constexpr std::uint8_t kUnknown = 0xff;
  std::vector<std::uint8_t> levels(nodes, kUnknown);
  levels[root_v4] = kRootV4;
  levels[root_v6] = kRootV6;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const std::uint64_t node = i / kTrieEntries;
    const std::uint8_t level = levels[node];
    if (level == kUnknown) return refuse_at("trie", i, "node ", node, " has no parent before it");
    const std::uint32_t entry = entries[i];
    if ((entry & kTrieChildBit) == 0) {
      if (entry == 0 || entry >= records)
        return refuse_at("trie", i, "record ", entry, ", expected 1 to ", records - 1);
      continue;
    }
    const std::uint32_t child = entry & ~kTrieChildBit;
    if (child >= nodes || levels[child] != kUnknown || level + 1 == kLevels)
      return refuse_at("trie", i, "node ", node, " may not have the child ", child);
    levels[child] = static_cast<std::uint8_t>(level + 1);
  }
  return std::nullopt;
}

/// A port has one owner: two would let each send as the other.
std::optional<Refusal> check_endpoints(std::span<const Endpoint> endpoints, const BindingHeader& header,
                                       std::uint64_t identities) {
  if (endpoints.empty() || endpoints[0].port != 0 || endpoints[0].flags != 0)
    return refuse("binding section, table endpoints: lacks its none entry");
  bool owned[abi::kPortsMax] = {};
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    const Endpoint& endpoint = endpoints[i];
    const std::uint64_t strings = header.strings.count;
    if (!within(endpoint.namespace_name, strings) || !within(endpoint.name, strings) ||
        !within(endpoint.id, strings))
      return refuse_at("endpoints", i, "a string ends beyond the table");
    if (endpoint.identity >= identities)
      return refuse_at("endpoints", i, "identity ", endpoint.identity, ", but there are ", identities);
    if (endpoint.flags > kEndpointNode)
      return refuse_at("endpoints", i, "flags ", endpoint.flags, ", expected none, local or node");
    if (endpoint.port >= abi::kPortsMax)
      return refuse_at("endpoints", i, "port ", endpoint.port, ", expected less than ", abi::kPortsMax);
    if ((endpoint.port != 0) != (endpoint.flags == kEndpointLocal))
      return refuse_at("endpoints", i, "an endpoint is local if, and only if, it has a port");
    if (endpoint.port != 0 && std::exchange(owned[endpoint.port], true))
      return refuse_at("endpoints", i, "port ", endpoint.port, " has another owner");
    if (!within(endpoint.addresses_first, endpoint.addresses_count, header.addresses.count))
      return refuse_at("endpoints", i, "its addresses end beyond the table");
    if (endpoint.reserved != 0) return refuse_at("endpoints", i, "reserved field is not zero");
  }
  return std::nullopt;
}

}  // namespace

std::optional<Refusal> check_binding(std::span<const std::byte> section, bool check_digest,
                                     const PolicyBounds& bounds, View& view) {
  if (auto refusal = check_frame(section, SectionKind::kBinding, check_digest)) return refusal;
  const auto& header = *reinterpret_cast<const BindingHeader*>(section.data());
  const auto records = table<Record>(section, header.records);
  const auto slots = table<AddressSlot>(section, header.slots);
  const auto trie = table<std::uint32_t>(section, header.trie);
  const auto endpoints = table<Endpoint>(section, header.endpoints);
  if (auto refusal = check_records(records, bounds)) return refusal;
  if (auto refusal = check_endpoints(endpoints, header, bounds.identities)) return refusal;
  if (auto refusal = check_slots(slots, header.slot_seed, records.size(), endpoints.size())) return refusal;
  if (auto refusal = check_trie(trie, header.trie_root_v4, header.trie_root_v6, records.size()))
    return refusal;
  view.binding = &header;
  view.records = records.data();
  view.slots = slots.data();
  view.slot_mask = slots.size() - kProbesMax - 1;
  view.trie = trie.data();
  view.endpoints = endpoints.data();
  view.addresses = table<abi::Address>(section, header.addresses).data();
  view.binding_strings = table<char>(section, header.strings).data();
  return std::nullopt;
}

}  // namespace bulkhead::image
