// The order of the tables within a section, once: the builder lays them out and the validator expects them
// so.
//
//   header | table | table | ...        each table starts at the next 64-byte boundary after the one before
//   it,
//                                       the section ends at one; what lies between is zero
#pragma once

#include <algorithm>
#include <concepts>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <type_traits>

#include "dataplane/image/format.h"
#include "dataplane/image/validate.h"

namespace bulkhead::image {

constexpr std::uint64_t align_table(std::uint64_t offset) {
  return (offset + kTableAlign - 1) / kTableAlign * kTableAlign;
}

/// Calls visit(name, TableRef, element bytes) for each table in the order of the bytes.
template <class Header, class Visit>
requires std::same_as<std::remove_const_t<Header>, PolicyHeader>
void for_each_table(Header& header, Visit visit) {
  visit("page_of", header.page_of, sizeof(std::uint16_t));
  visit("pages", header.pages, sizeof(std::uint16_t));
  visit("matrix[ingress]", header.matrix[kIngress], sizeof(std::uint32_t));
  visit("matrix[egress]", header.matrix[kEgress], sizeof(std::uint32_t));
  visit("cells", header.cells, sizeof(std::uint32_t));
  visit("verdict_pages", header.verdict_pages, sizeof(std::uint32_t));
  visit("verdicts", header.verdicts, sizeof(Decision));
  visit("passed_of", header.passed_of, sizeof(std::uint32_t));
  visit("passed", header.passed, sizeof(Passed));
  visit("audited_of", header.audited_of, sizeof(std::uint32_t));
  visit("subjects[ingress]", header.subjects[kIngress], sizeof(SubjectClass));
  visit("subjects[egress]", header.subjects[kEgress], sizeof(SubjectClass));
  visit("policies", header.policies, sizeof(Policy));
  visit("rules", header.rules, sizeof(Rule));
  visit("isolating", header.isolating, sizeof(std::uint32_t));
  visit("governing", header.governing, sizeof(std::uint32_t));
  visit("records", header.records, sizeof(PackedRecord));
  visit("meanings", header.meanings, sizeof(Meaning));
  visit("trie", header.trie, sizeof(std::uint32_t));
  visit("strings", header.strings, sizeof(char));
}

template <class Header, class Visit>
requires std::same_as<std::remove_const_t<Header>, ShardHeader>
void for_each_table(Header& header, Visit visit) {
  visit("slots", header.slots, sizeof(AddressSlot));
  visit("endpoints", header.endpoints, sizeof(Endpoint));
  visit("identities", header.identities, sizeof(Identity));
  visit("locals", header.locals, sizeof(std::uint32_t));
  visit("addresses", header.addresses, sizeof(abi::Address));
  visit("strings", header.strings, sizeof(char));
}

/// What lookups walk through: profiles' records and the trie. Part of check_policy.
std::optional<Refusal> check_lookups(std::span<const std::byte> section, const PolicyHeader& header);

/// One section's checks. Where nothing is refused, the view is set.
std::optional<Refusal> check_policy(std::span<const std::byte> section, bool check_digest, View& view);
std::optional<Refusal> check_shard(std::span<const std::byte> section, bool check_digest, Shard& shard);

/// What all sections have in common: header, place of each table, zero padding, digest.
std::optional<Refusal> check_frame(std::span<const std::byte> section, SectionKind kind, bool check_digest);

/// Joins words and numbers into a reason.
template <class... Parts>
Refusal refuse(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  return {text.str()};
}

template <class T>
std::span<const T> table(std::span<const std::byte> section, const TableRef& ref) {
  return {reinterpret_cast<const T*>(section.data() + ref.offset), ref.count};
}

inline bool within(StringRef ref, std::uint64_t strings_bytes) {
  return std::uint64_t{ref.offset} + ref.bytes <= strings_bytes;
}

/// Whether [first, first + count) lies inside a table of `table_count` elements.
inline bool within(std::uint32_t first, std::uint32_t count, std::uint64_t table_count) {
  return std::uint64_t{first} + count <= table_count;
}

/// The index of the first element that is not below `bound`; the count if there is none. The large tables are
/// all good or nearly so: the first pass only takes the largest, which compilers turn into vector code.
template <class T>
std::size_t find_not_below(std::span<const T> elements, std::uint64_t bound) {
  T largest = 0;
  for (const T element : elements) largest = std::max(largest, element);
  if (elements.empty() || largest < bound) return elements.size();
  return static_cast<std::size_t>(
      std::find_if(elements.begin(), elements.end(), [&](T element) { return element >= bound; }) -
      elements.begin());
}

/// "10.0.0.1", "fd00::1"; for messages.
std::string text(const abi::Address& address);

}  // namespace bulkhead::image
