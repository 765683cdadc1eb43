// Laying out an image's bytes. The compiler decides what is in the tables; the builder decides where they
// lie and bounds its size. Same inputs, same bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "dataplane/image/format.h"
#include "dataplane/image/validate.h"

namespace bulkhead::image {

/// A section's bytes, shared by every image that it is part of. Never null, never changed.
using SectionBytes = std::shared_ptr<const std::vector<std::byte>>;

/// An image in this process's memory.
struct ImageBytes {
  SectionBytes policy;
  std::vector<SectionBytes> shards;

  Sections sections() const;
  std::size_t bytes() const;
  bool operator==(const ImageBytes& other) const;  // byte by byte
};

/// Interns strings into one table; equal strings are stored once, in order of first use. The empty string is
/// {0, 0}.
class StringTable {
 public:
  StringRef add(std::string_view text);
  StringRef append(std::string_view text);  // for what comes once: without looking
  std::span<const char> bytes() const { return bytes_; }

 private:
  std::vector<char> bytes_;
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  std::unordered_map<std::string, StringRef, Hash, std::equal_to<>> known_;
};

/// An address block that leads addresses nobody owns to a record. The most specific block wins.
struct BlockRecord {
  abi::Address base;
  std::uint8_t prefix_bits = 0;  // of 128; an IPv4 /24 is 120
  std::uint32_t record = 0;      // into PolicyTables::worlds
};

/// The tables of a policy section, as format.h describes them, before records are hashed and the trie is grown. Element
/// 0 of policies and rules is the caller's none entry (default constructed is right).
struct PolicyTables {
  std::vector<std::uint16_t> page_of;  // kProtocolSlots * 256
  std::vector<std::uint16_t> pages;
  std::uint32_t port_classes = 0;
  std::uint32_t subject_classes[kDirections] = {};
  std::uint32_t peer_classes[kDirections] = {};
  std::vector<std::uint32_t> matrix[kDirections];
  /// In place of `matrix`: fills one row. So that the largest of all tables never lies in memory as a whole.
  std::function<void(std::uint32_t row, std::span<std::uint32_t> cells)> read_row[kDirections];
  std::uint32_t rule_sets = 0;
  std::vector<Decision> verdicts;
  std::vector<std::uint32_t> passed_of;  // empty, or by rule set
  std::vector<Passed> passed;
  std::vector<std::uint32_t> audited_of;  // empty, or by rule set: 0, or a row of `audited` plus 1
  std::vector<Decision> audited;
  std::vector<SubjectClass> subjects[kDirections];
  std::vector<Policy> policies;
  std::vector<Rule> rules;
  std::vector<std::uint32_t> isolating;
  std::vector<std::uint32_t> governing;
  std::vector<Record> profiles;     // of unique profiles, any order
  std::vector<Record> worlds;       // what blocks lead to; at least one
  std::vector<BlockRecord> blocks;  // unique (base, prefix), any order
  std::uint32_t world_v4 = 0;       // into worlds: where no block matches
  std::uint32_t world_v6 = 0;
  abi::Address gateway_v4 = {}, gateway_v6 = {};
  StringTable strings;
};

/// A number from any text, the same on every machine: where an endpoint of this id belongs.
std::uint64_t endpoint_hash(std::string_view id);

/// How many shards hold this many addresses well: about 64 each, and never more than kShardsMax.
std::uint32_t shards_for(std::size_t addresses);

/// Where the endpoints, or the identities, of one shard stand in its table.
struct Places {
  std::uint32_t table = 0;           // places there are, the none entry included
  std::vector<std::uint32_t> place;  // of each endpoint, ascending
};

/// `hashes` in ascending order of their lower 32 bits. Nothing where there is no room for so many.
std::optional<Places> find_places(std::span<const std::uint64_t> hashes);

struct BoundAddress {
  abi::Address address;
  Profile profile = 0;
  std::uint32_t endpoint = 0;  // its number, in whichever shard it stands; 0: nobody with a name
};

struct NamedEndpoint {
  std::string_view namespace_name, name, id;
  std::uint64_t port_key = 0;
  std::uint32_t port = 0;  // 0: not on this node
  std::uint32_t flags = kEndpointOther;
  std::span<const abi::Address> addresses;
  std::uint32_t place = 0;
};

struct NamedIdentity {
  std::array<std::uint8_t, 16> id{};
  std::string_view labels, namespace_name;
  std::uint32_t place = 0;
};

/// A number from an identity: where it belongs.
std::uint64_t identity_hash(const std::array<std::uint8_t, 16>& id);

/// One shard before it is hashed and laid out.
struct ShardTables {
  std::uint32_t shard = 0, shards = 1;
  std::uint32_t endpoint_table = 1;      // Places::table
  std::vector<NamedEndpoint> endpoints;  // ascending places
  std::uint32_t identity_table = 1;
  std::vector<NamedIdentity> identities;  // ascending places
  std::vector<BoundAddress> bound;        // unique addresses of this shard, any order
};

struct Limits {
  std::uint64_t section_bytes_max = std::uint64_t{64} << 20;
};

/// A section, or why it cannot be: too large (how large, what bound, which table is the largest), duplicate
/// address, ... An input that breaks format.h's own rules (an index out of range) makes a section that validate.h refuses.
std::variant<std::vector<std::byte>, Refusal> build_policy(const PolicyTables& tables,
                                                           const Limits& limits = {});
std::variant<std::vector<std::byte>, Refusal> build_shard(const ShardTables& tables,
                                                          const Limits& limits = {});

}  // namespace bulkhead::image
