#include "dataplane/image/builder.h"

#include <algorithm>
#include <bitset>
#include <cassert>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <tuple>

#include "dataplane/abi/telemetry.h"
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
  return kind == SectionKind::kPolicy ? "policy" : "binding";
}

std::string too_large(SectionKind kind, const std::string& bytes, std::uint64_t bound,
                      const std::string& largest) {
  return std::string("the ") + section_name(kind) + " section needs " + bytes +
         " bytes, more than the bound of " + std::to_string(bound) + "; its largest table is " + largest;
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

/// The pair of the reader's checks: what is refused there must not be made here.
void assert_valid(const std::optional<Refusal>& refusal) {
  if (!refusal) return;
  std::fprintf(stderr, "image builder was given tables that format.h forbids: %s\n", refusal->reason.c_str());
  std::abort();
}

std::string endpoint_text(const BindingTables& tables, const Endpoint& endpoint) {
  const auto strings = tables.strings.bytes();
  const auto part = [&](StringRef ref) { return std::string(strings.data() + ref.offset, ref.bytes); };
  return part(endpoint.namespace_name) + "/" + part(endpoint.name);
}

std::string owner_text(const BindingTables& tables, const BoundAddress& bound) {
  return bound.endpoint == 0 ? "no endpoint" : endpoint_text(tables, tables.endpoints[bound.endpoint]);
}

/// A port that two endpoints claim would let each send as the other.
std::optional<Refusal> find_shared_port(const BindingTables& tables) {
  std::vector<std::uint32_t> owner(abi::kPortsMax);
  for (std::uint32_t i = 1; i < tables.endpoints.size(); ++i) {
    const std::uint32_t port = tables.endpoints[i].port;
    if (port == 0 || port >= abi::kPortsMax) continue;  // the latter is the final check's business
    if (owner[port] != 0)
      return Refusal{"port " + std::to_string(port) + " is claimed by two endpoints, " +
                     endpoint_text(tables, tables.endpoints[owner[port]]) + " and " +
                     endpoint_text(tables, tables.endpoints[i])};
    owner[port] = i;
  }
  return std::nullopt;
}

}  // namespace

StringRef StringTable::add(std::string_view text) {
  if (text.empty()) return {0, 0};
  if (const auto known = known_.find(text); known != known_.end()) return known->second;
  assert(bytes_.size() + text.size() <= std::numeric_limits<std::uint32_t>::max());
  const StringRef ref{static_cast<std::uint32_t>(bytes_.size()), static_cast<std::uint32_t>(text.size())};
  bytes_.insert(bytes_.end(), text.begin(), text.end());
  known_.emplace(text, ref);
  return ref;
}

Section build_policy(const PolicyTables& tables, const Limits& limits) {
  auto header = new_header<PolicyHeader>(SectionKind::kPolicy);
  header.port_classes = tables.port_classes;
  header.rule_sets = tables.rule_sets;
  for (std::uint32_t direction = 0; direction < kDirections; ++direction) {
    header.subject_classes[direction] = tables.subject_classes[direction];
    header.peer_classes[direction] = tables.peer_classes[direction];
  }
  Section section =
      lay_out(header,
              {source(tables.page_of), source(tables.pages), source(tables.matrix[kIngress]),
               source(tables.matrix[kEgress]), source(tables.verdicts), source(tables.passed_of),
               source(tables.passed), source(tables.audited_of), source(tables.audited),
               source(tables.subjects[kIngress]), source(tables.subjects[kEgress]), source(tables.identities),
               source(tables.policies), source(tables.rules), source(tables.isolating),
               source(tables.governing), source(tables.strings.bytes())},
              limits);
  if (const auto* bytes = std::get_if<std::vector<std::byte>>(&section)) {
    View view;
    assert_valid(check_policy(*bytes, false, view));
  }
  return section;
}

Section build_binding(const BindingTables& tables, const Digest& policy, const Limits& limits) {
  std::vector<BoundAddress> bound = tables.bound;
  std::sort(bound.begin(), bound.end(), [](const auto& a, const auto& b) {
    return std::tie(a.address, a.endpoint, a.record) < std::tie(b.address, b.endpoint, b.record);
  });
  const auto same = std::adjacent_find(bound.begin(), bound.end(),
                                       [](const auto& a, const auto& b) { return a.address == b.address; });
  if (same != bound.end())
    return Refusal{"address " + text(same->address) + " is bound twice, to " + owner_text(tables, same[0]) +
                   " and to " + owner_text(tables, same[1])};
  if (auto refusal = find_shared_port(tables)) return *std::move(refusal);

  const std::uint64_t bytes_max = bound_of(limits);
  const auto slots = make_slots(bound, bytes_max / sizeof(AddressSlot));
  if (!slots)
    return Refusal{too_large(SectionKind::kBinding, "more than " + std::to_string(bytes_max), bytes_max,
                             "slots with " + std::to_string(bound.size()) + " addresses")};
  constexpr std::uint64_t kNodeBytes = kTrieEntries * sizeof(std::uint32_t);
  const auto trie =
      make_trie(tables.blocks, tables.world_record_v4, tables.world_record_v6, bytes_max / kNodeBytes);
  if (!trie)
    return Refusal{too_large(SectionKind::kBinding, "more than " + std::to_string(bytes_max), bytes_max,
                             "trie with " + std::to_string(tables.blocks.size()) + " address blocks")};

  auto header = new_header<BindingHeader>(SectionKind::kBinding);
  header.policy = policy;
  header.slot_seed = slots->seed;
  header.gateway_v4 = tables.gateway_v4;
  header.gateway_v6 = tables.gateway_v6;
  header.trie_root_v4 = trie->root_v4;
  header.trie_root_v6 = trie->root_v6;
  Section section =
      lay_out(header,
              {source(tables.records), source(slots->slots), source(trie->entries), source(tables.endpoints),
               source(tables.addresses), source(tables.strings.bytes())},
              limits);
  if (const auto* bytes = std::get_if<std::vector<std::byte>>(&section)) {
    View view;
    assert_valid(check_binding(*bytes, false, PolicyBounds{}, view));
  }
  return section;
}

}  // namespace bulkhead::image
