// Laying out an image's bytes. The compiler decides what is in the tables; the builder decides where they
// lie, checks its own work and bounds its size. Same inputs, same bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "dataplane/image/format.h"
#include "dataplane/image/validate.h"

namespace bulkhead::image {

/// Interns strings into one table; equal strings are stored once, in order of first use. The empty string is
/// {0, 0}.
class StringTable {
 public:
  StringRef add(std::string_view text);
  std::span<const char> bytes() const { return bytes_; }

 private:
  std::vector<char> bytes_;
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  std::unordered_map<std::string, StringRef, Hash, std::equal_to<>> known_;
};

/// The tables of a policy section, as format.h describes them. Element 0 of identities, policies and rules is
/// the caller's none entry (default constructed is right).
struct PolicyTables {
  std::vector<std::uint16_t> page_of;  // kProtocolSlots * 256
  std::vector<std::uint16_t> pages;
  std::uint32_t port_classes = 0;
  std::uint32_t subject_classes[kDirections] = {};
  std::uint32_t peer_classes[kDirections] = {};
  std::vector<std::uint32_t> matrix[kDirections];
  std::uint32_t rule_sets = 0;
  std::vector<Decision> verdicts;
  std::vector<std::uint32_t> passed_of;  // empty, or by rule set
  std::vector<Passed> passed;
  std::vector<std::uint32_t> audited_of;  // empty, or by rule set
  std::vector<Decision> audited;
  std::vector<SubjectClass> subjects[kDirections];
  std::vector<Identity> identities;
  std::vector<Policy> policies;
  std::vector<Rule> rules;
  std::vector<std::uint32_t> isolating;
  std::vector<std::uint32_t> governing;
  StringTable strings;
};

/// An address block that leads addresses nobody owns to a record. The most specific block wins.
struct BlockRecord {
  abi::Address base;
  std::uint8_t prefix_bits = 0;  // of 128; an IPv4 /24 is 120
  std::uint32_t record = 0;
};

struct BoundAddress {
  abi::Address address;
  std::uint32_t record = 0;
  std::uint32_t endpoint = 0;
};

/// The tables of a binding section before they are hashed and laid out.
struct BindingTables {
  std::vector<Record> records;        // 0 is the none entry
  std::vector<BoundAddress> bound;    // unique addresses, any order
  std::vector<BlockRecord> blocks;    // unique (base, prefix), any order
  std::uint32_t world_record_v4 = 0;  // where no block matches
  std::uint32_t world_record_v6 = 0;
  std::vector<Endpoint> endpoints;  // 0 is the none entry; addresses_first/count refer to `addresses`
  std::vector<abi::Address> addresses;
  abi::Address gateway_v4, gateway_v6;
  StringTable strings;
};

struct Limits {
  std::uint64_t section_bytes_max = std::uint64_t{64} << 20;
};

/// A section, or why it cannot be: too large (how large, what bound, which table is the largest), duplicate
/// address, ... An input that breaks format.h's own rules (an index out of range) is a programmer's error and
/// asserts.
std::variant<std::vector<std::byte>, Refusal> build_policy(const PolicyTables& tables,
                                                           const Limits& limits = {});
std::variant<std::vector<std::byte>, Refusal> build_binding(const BindingTables& tables, const Digest& policy,
                                                            const Limits& limits = {});

}  // namespace bulkhead::image
