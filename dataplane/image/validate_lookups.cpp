#include <bit>
#include <vector>

#include "dataplane/image/layout.h"

namespace bulkhead::image {
namespace {

constexpr std::uint8_t kLevels = 16;  // bytes of an address
constexpr std::uint8_t kRootV4 = 12;
constexpr std::uint8_t kRootV6 = 0;

template <class... Parts>
Refusal refuse_at(const char* name, std::size_t index, const Parts&... parts) {
  return refuse("policy section, table ", name, ", index ", index, ": ", parts...);
}

std::optional<Refusal> check_meanings(std::span<const Meaning> meanings, const PolicyHeader& header) {
  if (meanings.empty() || !(meanings[0] == Meaning{}))
    return refuse("policy section, table meanings: lacks its none entry");
  for (std::size_t i = 1; i < meanings.size(); ++i) {
    const Meaning& meaning = meanings[i];
    if (meaning.flags != kRecordEndpoint && meaning.flags != kRecordNode && meaning.flags != kRecordWorld)
      return refuse_at("meanings", i, "unknown flags");
    for (std::uint32_t direction = 0; direction < kDirections; ++direction) {
      const std::uint32_t subject = meaning.subject[direction];
      if (subject != kNoSubject && subject >= header.subject_classes[direction])
        return refuse_at("meanings", i, "subject class ", subject, ", but there are ",
                         header.subject_classes[direction]);
      // Where there are no subjects, nobody ever looks at peers.
      if (meaning.peer[direction] >= header.peer_classes[direction] && header.subject_classes[direction] != 0)
        return refuse_at("meanings", i, "peer class ", meaning.peer[direction], ", but there are ",
                         header.peer_classes[direction]);
    }
  }
  return std::nullopt;
}

/// Every profile must be the one that record_of() finds, the places for them wide enough, and the rest world.
std::optional<Refusal> check_records(std::span<const PackedRecord> records, std::span<const Meaning> meanings,
                                     const PolicyHeader& header) {
  const std::uint64_t homes = header.record_homes;
  if (homes == 0 || homes > 0xffff'ffffu || records.size() < kProbesMax + 1 ||
      homes > records.size() - kProbesMax - 1)
    return refuse("policy section, table records: ", records.size(), " elements for ", homes,
                  " homes, expected one or more and ", kProbesMax + 1, " places more");
  if (header.record_factor % 2 == 0)
    return refuse("policy section: record_factor ", header.record_factor, ", expected an odd number");
  for (std::size_t i = 0; i < records.size(); ++i) {
    const PackedRecord& record = records[i];
    const bool hashed = i > 0 && i < 1 + homes + kProbesMax;
    if (record.meaning == 0) {
      if (i > 0 && !hashed) return refuse_at("records", i, "free, where the trie's are expected");
      // Whoever asks for a profile that nobody knows reads index 0.
      if (!(record == PackedRecord{})) return refuse_at("records", i, "a free place that is not zero");
      continue;
    }
    if (i == 0) return refuse_at("records", i, "the none entry has a meaning");
    if (record.meaning >= meanings.size())
      return refuse_at("records", i, "meaning ", record.meaning, ", but there are ", meanings.size());
    const bool owned = meanings[record.meaning].flags != kRecordWorld;
    if (owned != hashed || owned != (record.profile != 0))
      return refuse_at("records", i, owned ? "an owner's among the trie's" : "world among the profiles");
    if (!owned) continue;
    const std::uint64_t home = 1 + record_home(record.profile, header.record_factor, homes);
    if (i < home || i - home >= kProbesMax)
      return refuse_at("records", i, "its profile is at home at ", home);
    for (std::uint64_t before = home; before < i; ++before)
      if (records[before].profile == record.profile)
        return refuse_at("records", i, "its profile stands before it");
  }
  return std::nullopt;
}

/// The trie must be two trees whose children follow their parents: then one pass gives every node its level,
/// and none is deeper than an address has bytes. Nodes up to the current one have their levels already, so that a
/// step back or in a circle meets one of those.
std::optional<Refusal> check_trie(std::span<const std::uint32_t> entries, std::uint32_t root_v4,
                                  std::uint32_t root_v6, std::span<const PackedRecord> records,
                                  std::span<const Meaning> meanings) {
  if (entries.size() % kTrieEntries != 0)
    return refuse("policy section, table trie: ", entries.size(), " elements, expected a multiple of ",
                  kTrieEntries);
  const std::uint64_t nodes = entries.size() / kTrieEntries;
  if (root_v4 >= nodes || root_v6 >= nodes || root_v4 == root_v6)
    return refuse("policy section, table trie: roots ", root_v4, " and ", root_v6, ", but there are ", nodes,
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
      if (entry >= records.size())
        return refuse_at("trie", i, "record ", entry, ", but there are ", records.size());
      if (meanings[records[entry].meaning].flags != kRecordWorld)
        return refuse_at("trie", i, "record ", entry, " is not world's");
      continue;
    }
    const std::uint32_t child = entry & ~kTrieChildBit;
    if (child >= nodes || levels[child] != kUnknown || level + 1 == kLevels)
      return refuse_at("trie", i, "node ", node, " may not have the child ", child);
    levels[child] = static_cast<std::uint8_t>(level + 1);
  }
  return std::nullopt;
}

}  // namespace

std::optional<Refusal> check_lookups(std::span<const std::byte> section, const PolicyHeader& header) {
  const auto records = table<PackedRecord>(section, header.records);
  const auto meanings = table<Meaning>(section, header.meanings);
  if (auto refusal = check_meanings(meanings, header)) return refusal;
  if (auto refusal = check_records(records, meanings, header)) return refusal;
  return check_trie(table<std::uint32_t>(section, header.trie), header.trie_root_v4, header.trie_root_v6,
                    records, meanings);
}

}  // namespace bulkhead::image
