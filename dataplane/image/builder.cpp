#include "dataplane/image/builder.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>
#include <limits>
#include <numeric>

#include "dataplane/image/layout.h"
#include "dataplane/image/lookup_tables.h"

namespace bulkhead::image {
namespace {

using Section = std::variant<std::vector<std::byte>, Refusal>;

struct Source {
  const void* data;
  std::uint64_t count;
  std::size_t element_bytes;
};

template <class Range>
Source source(const Range& elements) {
  using T = std::remove_cvref_t<decltype(*elements.data())>;
  static_assert(std::has_unique_object_representations_v<T>);  // no padding that would make bytes differ
  return {elements.data(), elements.size(), sizeof(T)};
}

const char* section_name(SectionKind kind) {
  return kind == SectionKind::kPolicy ? "policy section" : "shard";
}

std::string too_large(SectionKind kind, const std::string& bytes, std::uint64_t bound,
                      const std::string& largest) {
  return std::string("the ") + section_name(kind) + " needs " + bytes + " bytes, more than the bound of " +
         std::to_string(bound) + "; its largest table is " + largest;
}

std::uint64_t bound_of(const Limits& limits) {
  return std::min(limits.section_bytes_max, kSectionBytesMax);
}

/// Places the tables behind the header, in the order of for_each_table, and writes the digest.
template <class Header>
Section lay_out(Header header, std::initializer_list<Source> sources, const Limits& limits) {
  static_assert(std::has_unique_object_representations_v<Header>);
  std::uint64_t end = sizeof(Header);
  std::uint64_t largest_bytes = 0;
  const char* largest = "";
  auto next = sources.begin();
  for_each_table(header, [&](const char* name, TableRef& ref, std::size_t element_bytes) {
    assert(next != sources.end() && next->element_bytes == element_bytes);
    const std::uint64_t bytes = next->count * element_bytes;
    ref = {align_table(end), next->count};
    end = ref.offset + bytes;
    if (bytes > largest_bytes) {
      largest_bytes = bytes;
      largest = name;
    }
    ++next;
  });
  assert(next == sources.end());
  header.bytes = align_table(end);
  if (header.bytes > bound_of(limits))
    return Refusal{too_large(header.kind, std::to_string(header.bytes), bound_of(limits),
                             std::string(largest) + " with " + std::to_string(largest_bytes) + " bytes")};

  std::vector<std::byte> section(header.bytes);
  next = sources.begin();
  for_each_table(header, [&](const char*, const TableRef& ref, std::size_t element_bytes) {
    if (next->count != 0) std::memcpy(section.data() + ref.offset, next->data, next->count * element_bytes);
    ++next;
  });
  std::memcpy(section.data(), &header, sizeof header);
  header.digest = section_digest(section);
  std::memcpy(section.data(), &header, sizeof header);
  return section;
}

template <class Header>
Header new_header(SectionKind kind) {
  Header header{};
  header.magic = kMagic;
  header.version = kFormatVersion;
  header.kind = kind;
  return header;
}

/// Pages of so many words, equal ones once, numbered in order of first use.
template <std::uint32_t kWidth>
class Pages {
 public:
  /// So many items may come, equal pages left aside.
  void expect(std::size_t items) { items_.reserve(items); }

  /// Appends the row's pages to `of_row`.
  void add(std::span<const std::uint32_t> row, std::vector<std::uint32_t>& of_row) {
    for (; row.size() >= kWidth; row = row.subspan(kWidth)) of_row.push_back(number(row.data()));
    if (row.empty()) return;
    std::uint32_t last[kWidth] = {};
    std::copy(row.begin(), row.end(), last);
    of_row.push_back(number(last));
  }
  std::uint32_t number(const std::uint32_t* page) {
    if (hashes_.size() * 2 >= slots_.size()) grow();
    const std::uint64_t hash = hash_of(page);
    std::size_t slot = hash & (slots_.size() - 1);
    for (; slots_[slot] != 0; slot = (slot + 1) & (slots_.size() - 1)) {
      const std::uint32_t known = slots_[slot] - 1;
      if (hashes_[known] == hash &&
          std::memcmp(items_.data() + std::size_t{known} * kWidth, page, kWidth * sizeof *page) == 0)
        return known;
    }
    const auto made = static_cast<std::uint32_t>(hashes_.size());
    slots_[slot] = made + 1;
    hashes_.push_back(hash);
    items_.insert(items_.end(), page, page + kWidth);
    return made;
  }

  const std::vector<std::uint32_t>& items() const { return items_; }

 private:
  /// In lanes, which a processor works on at once.
  static std::uint64_t hash_of(const std::uint32_t* page) {
    constexpr std::size_t kLanes = 4;
    std::uint64_t lanes[kLanes] = {1, 2, 3, 4};
    for (std::size_t i = 0; i < kWidth; ++i) {
      std::uint64_t& lane = lanes[i % kLanes];
      lane = (lane ^ page[i]) * 0x9e37'79b9'7f4a'7c15u;
      lane ^= lane >> 32;
    }
    std::uint64_t hash = 0;
    for (const std::uint64_t lane : lanes) {
      hash = (hash ^ lane) * 0xd6e8'feb8'6659'fd93u;
      hash ^= hash >> 32;
    }
    return hash;
  }

  void grow() {
    slots_.assign(slots_.size() * 4, 0);
    for (std::uint32_t known = 0; known < hashes_.size(); ++known) {
      std::size_t slot = hashes_[known] & (slots_.size() - 1);
      while (slots_[slot] != 0) slot = (slot + 1) & (slots_.size() - 1);
      slots_[slot] = known + 1;
    }
  }

  std::vector<std::uint32_t> slots_ = std::vector<std::uint32_t>(256);  // 0 is free, else a number plus 1
  std::vector<std::uint64_t> hashes_;                                   // by number
  std::vector<std::uint32_t> items_;
};

/// Profiles hashed, and the worlds behind them.
struct Records {
  std::uint64_t factor = 1, homes = 0;
  std::vector<PackedRecord> table;
  Pages<sizeof(Meaning) / sizeof(std::uint32_t)> meanings;  // 0: none
  std::uint32_t worlds_first = 0;
};

/// Indexes of profiles in the order of their homes; empty where they lie in it already.
std::vector<std::uint32_t> order_of(const std::vector<Record>& profiles, std::uint64_t factor) {
  const auto before = [factor](const Record& a, const Record& b) {
    return a.profile * factor < b.profile * factor;
  };
  std::vector<std::uint32_t> order;
  if (std::is_sorted(profiles.begin(), profiles.end(), before)) return order;
  order.resize(profiles.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](std::uint32_t a, std::uint32_t b) { return before(profiles[a], profiles[b]); });
  return order;
}

/// Nothing where some profile would stand too far from home.
std::optional<Records> place_records(const PolicyTables& tables, std::uint64_t factor, std::uint64_t homes) {
  const std::vector<Record>& profiles = tables.profiles;
  const std::vector<std::uint32_t> order = order_of(profiles, factor);
  Records result{factor, homes, std::vector<PackedRecord>(1 + homes + kProbesMax, PackedRecord{}), {}, 0};
  const auto number = [&](const Meaning& meaning) {
    std::uint32_t words[sizeof(Meaning) / sizeof(std::uint32_t)];
    std::memcpy(words, &meaning, sizeof meaning);
    return result.meanings.number(words);
  };
  number({});
  const auto packed = [&](const Record& one) {
    return PackedRecord{one.profile, one.identity,
                        number({{one.subject[0], one.subject[1]}, {one.peer[0], one.peer[1]}, one.flags})};
  };
  std::uint64_t next = 1;
  for (std::size_t i = 0; i < profiles.size(); ++i) {
    const Record& one = profiles[order.empty() ? i : order[i]];
    assert(one.profile != 0);
    const std::uint64_t home = 1 + record_home(one.profile, factor, homes);
    next = std::max(next, home);
    if (next - home >= kProbesMax) return std::nullopt;
    result.table[next++] = packed(one);
  }
  result.worlds_first = static_cast<std::uint32_t>(result.table.size());
  for (const Record& world : tables.worlds) result.table.push_back(packed(world));
  return result;
}

/// Nothing where they would need more than `bytes_max`.
std::optional<Records> place_records(const PolicyTables& tables, std::uint64_t bytes_max) {
  // Half as many again: the farthest of ten thousand is then some ten places from home.
  constexpr std::uint64_t kHomesMin = 16;
  constexpr std::uint64_t kFactors[] = {1, 0x9e37'79b9'7f4a'7c15u, 0xd6e8'feb8'6659'fd93u,
                                        0xff51'afd7'ed55'8ccdu};
  for (std::uint64_t homes = std::max(kHomesMin, std::uint64_t{tables.profiles.size()} * 3 / 2);
       homes < bytes_max / sizeof(PackedRecord); homes += homes / 2)
    for (const std::uint64_t factor : kFactors)
      if (auto placed = place_records(tables, factor, homes)) return placed;
  return std::nullopt;
}

/// The rows of `verdicts` and `audited`.
struct VerdictPages {
  std::vector<std::uint32_t> of_row, audited_of;
  Pages<kVerdictPage> pages;
};

VerdictPages page_verdicts(const PolicyTables& tables) {
  VerdictPages result;
  const auto add = [&](const std::vector<Decision>& rows) {
    for (std::size_t first = 0; first < rows.size(); first += tables.port_classes)
      result.pages.add(std::span(rows).subspan(first, tables.port_classes), result.of_row);
  };
  assert(tables.verdicts.size() == std::uint64_t{tables.rule_sets} * tables.port_classes);
  add(tables.verdicts);
  add(tables.audited);
  for (std::uint32_t rule_set = 0; rule_set < tables.audited_of.size(); ++rule_set) {
    const std::uint32_t row = tables.audited_of[rule_set];
    result.audited_of.push_back(row == 0 ? rule_set : tables.rule_sets + row - 1);
  }
  return result;
}

/// The rows of both matrices.
struct CellPages {
  std::vector<std::uint32_t> of_row[kDirections];
  Pages<kCellPage> pages;
};

CellPages page_cells(const PolicyTables& tables) {
  CellPages result;
  std::size_t cells = 0;
  for (std::uint32_t direction = 0; direction < kDirections; ++direction)
    cells += std::size_t{tables.subject_classes[direction]} * tables.peer_classes[direction];
  result.pages.expect(cells / 4);
  std::vector<std::uint32_t> row;
  for (std::uint32_t direction = 0; direction < kDirections; ++direction) {
    const std::uint32_t columns = tables.peer_classes[direction];
    const auto& plain = tables.matrix[direction];
    assert(tables.read_row[direction] ||
           plain.size() == std::uint64_t{tables.subject_classes[direction]} * columns);
    row.resize(columns);
    for (std::uint32_t number = 0; number < tables.subject_classes[direction]; ++number) {
      if (tables.read_row[direction]) {
        tables.read_row[direction](number, row);
        result.pages.add(row, result.of_row[direction]);
      } else {
        result.pages.add(std::span(plain).subspan(std::size_t{number} * columns, columns),
                         result.of_row[direction]);
      }
    }
  }
  return result;
}

}  // namespace

Sections ImageBytes::sections() const {
  Sections sections{*policy, {}};
  for (const SectionBytes& shard : shards) sections.shards.push_back(*shard);
  return sections;
}

std::size_t ImageBytes::bytes() const {
  std::size_t sum = policy->size();
  for (const SectionBytes& shard : shards) sum += shard->size();
  return sum;
}

bool ImageBytes::operator==(const ImageBytes& other) const {
  const auto same = [](const SectionBytes& a, const SectionBytes& b) { return a == b || *a == *b; };
  return same(policy, other.policy) &&
         std::equal(shards.begin(), shards.end(), other.shards.begin(), other.shards.end(), same);
}

StringRef StringTable::add(std::string_view text) {
  if (text.empty()) return {0, 0};
  if (const auto known = known_.find(text); known != known_.end()) return known->second;
  const StringRef ref = append(text);
  known_.emplace(text, ref);
  return ref;
}

StringRef StringTable::append(std::string_view text) {
  if (text.empty()) return {0, 0};
  assert(bytes_.size() + text.size() <= std::numeric_limits<std::uint32_t>::max());
  const StringRef ref{static_cast<std::uint32_t>(bytes_.size()), static_cast<std::uint32_t>(text.size())};
  bytes_.insert(bytes_.end(), text.begin(), text.end());
  return ref;
}

std::uint64_t endpoint_hash(std::string_view id) {
  // Eight bytes a step, each mixed as slot_hash() mixes; the length keeps trailing zeros apart.
  std::uint64_t hash = 0x9e37'79b9'7f4a'7c15u ^ id.size();
  for (std::size_t at = 0; at < id.size(); at += 8) {
    std::uint64_t part = 0;
    std::memcpy(&part, id.data() + at, std::min<std::size_t>(8, id.size() - at));
    hash = (hash ^ part) * 0xd6e8'feb8'6659'fd93u;
    hash ^= hash >> 32;
  }
  hash *= 0xd6e8'feb8'6659'fd93u;
  return hash ^ (hash >> 32);
}

std::uint64_t identity_hash(const std::array<std::uint8_t, 16>& id) {
  std::uint64_t hash;  // it is one
  std::memcpy(&hash, id.data(), sizeof hash);
  return hash;
}

std::uint32_t shards_for(std::size_t addresses) {
  constexpr std::size_t kAddressesWanted = 64;
  return static_cast<std::uint32_t>(
      std::clamp<std::size_t>(std::bit_ceil(addresses / kAddressesWanted), 1, kShardsMax));
}

std::optional<Places> find_places(std::span<const std::uint64_t> hashes) {
  Places places;
  places.place.resize(hashes.size());
  constexpr std::uint64_t kTableMin = 8, kTableMax = std::uint64_t{1} << kEndpointPlaceBits;
  for (std::uint64_t table = std::max(kTableMin, std::bit_ceil(hashes.size() * 3 / 2 + 1));
       table <= kTableMax; table *= 2) {
    // The last eighth is room for those that find their homes taken.
    const std::uint64_t homes = table - table / 8 - 1;
    std::uint64_t next = 1;
    for (std::size_t i = 0; i < hashes.size(); ++i) {
      next = std::max(next, 1 + (static_cast<std::uint32_t>(hashes[i]) * homes >> 32));
      places.place[i] = static_cast<std::uint32_t>(next++);
    }
    if (next > table) continue;
    places.table = static_cast<std::uint32_t>(table);
    return places;
  }
  return std::nullopt;
}

Section build_policy(const PolicyTables& tables, const Limits& limits) {
  const std::uint64_t bytes_max = bound_of(limits);
  const auto placed = place_records(tables, bytes_max);
  const std::string more = "more than " + std::to_string(bytes_max);
  if (!placed)
    return Refusal{too_large(SectionKind::kPolicy, more, bytes_max,
                             "records with " + std::to_string(tables.profiles.size()) + " profiles")};
  const Records& records = *placed;
  constexpr std::uint64_t kNodeBytes = kTrieEntries * sizeof(std::uint32_t);
  std::vector<BlockRecord> blocks = tables.blocks;
  for (BlockRecord& block : blocks) block.record += records.worlds_first;
  const auto trie = make_trie(blocks, records.worlds_first + tables.world_v4,
                              records.worlds_first + tables.world_v6, bytes_max / kNodeBytes);
  if (!trie)
    return Refusal{too_large(SectionKind::kPolicy, more, bytes_max,
                             "trie with " + std::to_string(tables.blocks.size()) + " address blocks")};
  const VerdictPages verdicts = page_verdicts(tables);
  const CellPages cells = page_cells(tables);
  const std::vector<std::uint32_t>& words = records.meanings.items();
  const Source meanings{words.data(), words.size() * sizeof(std::uint32_t) / sizeof(Meaning),
                        sizeof(Meaning)};
  auto header = new_header<PolicyHeader>(SectionKind::kPolicy);
  header.port_classes = tables.port_classes;
  header.rule_sets = tables.rule_sets;
  for (std::uint32_t direction = 0; direction < kDirections; ++direction) {
    header.subject_classes[direction] = tables.subject_classes[direction];
    header.peer_classes[direction] = tables.peer_classes[direction];
  }
  header.gateway_v4 = tables.gateway_v4;
  header.gateway_v6 = tables.gateway_v6;
  header.record_homes = records.homes;
  header.record_factor = records.factor;
  header.trie_root_v4 = trie->root_v4;
  header.trie_root_v6 = trie->root_v6;
  Section section = lay_out(header,
                            {source(tables.page_of),
                             source(tables.pages),
                             source(cells.of_row[kIngress]),
                             source(cells.of_row[kEgress]),
                             source(cells.pages.items()),
                             source(verdicts.of_row),
                             source(verdicts.pages.items()),
                             source(tables.passed_of),
                             source(tables.passed),
                             source(verdicts.audited_of),
                             source(tables.subjects[kIngress]),
                             source(tables.subjects[kEgress]),
                             source(tables.policies),
                             source(tables.rules),
                             source(tables.isolating),
                             source(tables.governing),
                             source(records.table),
                             meanings,
                             source(trie->entries),
                             source(tables.strings.bytes())},
                            limits);
  return section;
}

Section build_shard(const ShardTables& tables, const Limits& limits) {
  std::vector<BoundAddress> bound = tables.bound;
  std::sort(bound.begin(), bound.end(), [](const auto& a, const auto& b) { return a.address < b.address; });
  const auto same = std::adjacent_find(bound.begin(), bound.end(),
                                       [](const auto& a, const auto& b) { return a.address == b.address; });
  if (same != bound.end()) return Refusal{"address " + text(same->address) + " is bound twice"};
  const std::uint64_t bytes_max = bound_of(limits);
  const auto slots = make_slots(bound, bytes_max / sizeof(AddressSlot));
  if (!slots)
    return Refusal{too_large(SectionKind::kShard, "more than " + std::to_string(bytes_max), bytes_max,
                             "slots with " + std::to_string(bound.size()) + " addresses")};

  StringTable strings;  // of which few come twice in a shard
  std::vector<Endpoint> endpoints(tables.endpoint_table, Endpoint{});
  std::vector<std::uint32_t> locals;
  std::vector<abi::Address> addresses;
  for (const NamedEndpoint& named : tables.endpoints) {
    assert(named.place > 0 && named.place < endpoints.size());
    endpoints[named.place] = {strings.append(named.namespace_name),
                              strings.append(named.name),
                              strings.append(named.id),
                              named.port_key,
                              named.port,
                              named.flags,
                              static_cast<std::uint32_t>(addresses.size()),
                              static_cast<std::uint32_t>(named.addresses.size())};
    if (named.flags != kEndpointOther) locals.push_back(named.place);
    addresses.insert(addresses.end(), named.addresses.begin(), named.addresses.end());
  }
  std::vector<Identity> identities(tables.identity_table, Identity{});
  for (const NamedIdentity& named : tables.identities) {
    assert(named.place > 0 && named.place < identities.size());
    Identity& identity = identities[named.place];
    std::memcpy(identity.id, named.id.data(), sizeof identity.id);
    identity.labels = strings.append(named.labels);
    identity.namespace_name = strings.append(named.namespace_name);
  }
  auto header = new_header<ShardHeader>(SectionKind::kShard);
  header.shard = tables.shard;
  header.shards = tables.shards;
  header.slot_seed = slots->seed;
  Section section = lay_out(header,
                            {source(slots->slots), source(endpoints), source(identities), source(locals),
                             source(addresses), source(strings.bytes())},
                            limits);
  return section;
}

}  // namespace bulkhead::image
