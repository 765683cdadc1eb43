// The image: everything a verdict needs, as one immutable, position-independent set of bytes.
//
//   who writes   builder.h, in the control plane, into memfds that are then sealed
//   who checks   validate.h, once, where it crosses a process or a file (nobody trusts it before)
//   who reads    query.h, header-only: the data plane's workers, bulkheadctl, the tests
//   when it dies the data plane unmaps a retired section one grace period after the last image that held it
//
// An image is one *policy section* and a power of two of *shards*. Each is self-contained bytes: a header, a
// directory of tables, the tables. The policy section says what classes may do, and what each *profile* of an
// address means; a shard says which address has which profile. Which shard an address lies in, and what a shard's
// bytes are, depends on the addresses and label sets in it alone, on no number that another change could shift:
// a container that comes with labels already known changes a shard or two, and every other section is shared with
// the generation before.
//
//   shards, by a hash of the address
//     address ──exact slots──► profile, endpoint
//     an endpoint's names, an identity's labels: for people
//
//   policy section
//     profile ──hashed records──► record {identity, meaning {subject and peer class per direction}}
//     address ──(nobody's)── trie of address blocks ──► record
//     (protocol, port) ── pages ──► port class
//     cells[matrix[direction][subject class][peer class / 8]][peer class % 8] ──► rule set
//     verdicts[verdict_pages[rule set][port class / 16]][port class % 16] ──► allow | rule ──► policy, file:line, words
//     likewise by audited_of[rule set] ──► the verdict were every audited policy enforced
//     passed[passed_of[rule set]][port class] ──► the rules that passed it on to that verdict; for people only
//
// Everything is little-endian (the only byte order supported). Tables follow one another in the order of layout.h
// at 64-byte boundaries; padding is zero. Index 0 of records, identities, endpoints, rules and policies
// means *none*; the first real one is 1. The bytes are a function of the builder's input alone: same inputs,
// same digest, on any machine. A generation number is not part of it.
//
// A file that holds an image (`bulkheadctl image show FILE`) is the sections one after another, the policy section
// first and then the shards in order, each padded to 4096 bytes.
#pragma once

#include <cstdint>

#include "dataplane/abi/address.h"

namespace bulkhead::image {

inline constexpr std::uint64_t kMagic = 0x31'47'4d'49'48'4b'4c'42;  // "BLKHIMG1"
inline constexpr std::uint32_t kFormatVersion = 6;
inline constexpr std::size_t kTableAlign = 64;
inline constexpr std::size_t kSectionAlign = 4096;

/// A section larger than this is refused by builder and validator alike.
inline constexpr std::uint64_t kSectionBytesMax = std::uint64_t{1} << 30;

enum class SectionKind : std::uint32_t { kPolicy = 1, kShard = 2 };

/// SHA-256 (FIPS 180-4).
struct Digest {
  std::uint8_t bytes[32];
  bool operator==(const Digest&) const = default;
};

/// Where a table lies, in bytes from the start of its section, and how many elements it has.
struct TableRef {
  std::uint64_t offset;
  std::uint64_t count;
};

/// A byte range of the section's string table; not terminated. UTF-8.
struct StringRef {
  std::uint32_t offset;
  std::uint32_t bytes;
};

inline constexpr std::uint32_t kDirections =
    2;  // 0 ingress (judged for the receiver), 1 egress (for the sender)
inline constexpr std::uint32_t kIngress = 0;
inline constexpr std::uint32_t kEgress = 1;

/// Protocols with ports of their own; all others share the last slot, where the port is the protocol number.
/// The port of ICMP is its type. Same order as policies::Protocol.
enum ProtocolSlot : std::uint32_t { kTcp, kUdp, kSctp, kIcmp, kIcmpV6, kOtherProtocol, kProtocolSlots };

// ---------------------------------------------------------------------------------------------------------------------
// Policy section

/// In the order quarantine, mesh, platform, application, baseline they are asked; most policies are of the
/// application tier.
enum PolicyTier : std::uint8_t {
  kApplicationTier,
  kPlatformTier,
  kBaselineTier,
  kMeshTier,
  kQuarantineTier,
  kPolicyTiers
};

/// What else a policy says. Of the first two at most one; neither: a conversation that it denies is cut silently.
enum PolicyOptions : std::uint8_t {
  kKeepEstablished = 1,   // a conversation that an earlier image allowed goes on until it ends
  kResetEstablished = 2,  // it is cut, and its ends are told
  kAuditedPolicy =
      4,  // asked for `audited_of` only: it isolates nobody, and no rule set answers by its rules
};

struct Policy {
  StringRef kind;
  StringRef namespace_name;
  StringRef name;
  StringRef file;
  std::uint32_t line;
  std::uint8_t tier;           // PolicyTier
  std::uint8_t options = 0;    // PolicyOptions
  std::uint16_t priority = 0;  // the lower, the earlier it is asked; 0 in the application tier
};
static_assert(sizeof(Policy) == 40);

/// kPass is of rules only: it leaves the decision to the tiers below.
enum class Verdict : std::uint32_t { kDeny = 0, kAllow = 1, kPass = 2 };

/// A rule, and the words to explain it with.
struct Rule {
  std::uint32_t policy;  // index into policies
  std::uint32_t direction;
  Verdict verdict;
  std::uint32_t line;
  std::uint32_t column;
  StringRef name;   // an edge's name, or "ingress[0]"
  StringRef peers;  // "pods app=web in namespace shop"
  StringRef ports;  // "tcp/443, udp/53"
  std::uint32_t reserved;
};
static_assert(sizeof(Rule) == 48);

/// Why a subject class is as it is, per direction: who isolates it, and all rules that govern it.
struct SubjectClass {
  std::uint32_t isolating_first;  // into isolating: policy indexes, the audited ones behind the others
  std::uint32_t isolating_count;  // without the audited
  std::uint32_t rules_first;      // into governing: rule indexes
  std::uint32_t rules_count;
  Verdict posture;           // the answer where no rule matches and nothing isolates
  std::uint8_t options = 0;  // PolicyOptions of the strictest that isolates
  std::uint8_t reserved = 0;
  std::uint16_t audited_count = 0;  // audited policies that would isolate, at most 65535 of them
};
static_assert(sizeof(SubjectClass) == 24);

/// An element of `verdicts`: the top bit allows, the rest is the deciding rule, 0 where none decided.
using Decision = std::uint32_t;
inline constexpr Decision kAllowBit = 0x8000'0000u;

/// Rule sets that differ about a few ports, and subjects that differ about a few peers, share the pages of all others.
inline constexpr std::uint32_t kVerdictPage = 16, kCellPage = 8;

/// Pages of a row.
constexpr std::uint32_t pages_of(std::uint32_t columns, std::uint32_t page) {
  return columns / page + (columns % page != 0 ? 1 : 0);
}

/// An element of `passed`: the rules that passed a packet on before `verdicts` decided it, 0 where none did.
struct Passed {
  std::uint32_t mesh;
  std::uint32_t platform;
  std::uint32_t baseline;
};
static_assert(sizeof(Passed) == 12);

/// Ports in two steps: pages[page_of[slot * 256 + port / 256] * 256 + port % 256] is the port class.
inline constexpr std::uint32_t kPageEntries = 256;

enum RecordFlags : std::uint32_t {
  kRecordEndpoint = 1,  // an endpoint's address
  kRecordNode = 2,      // an address of a node (this one or another)
  kRecordWorld = 4,     // nobody's: the trie leads here
};

/// What policies can see of an address's owner, in 64 bits: the start of a SHA-256. Never 0.
using Profile = std::uint64_t;

/// What a profile, or a block that nobody owns, means to policy, as readers see it: View::record(). `flags` is one of RecordFlags.
struct Record {
  Profile profile;                     // 0 for world
  std::uint32_t identity;              // its number, in whichever shard it stands; 0 for nodes and world
  std::uint32_t subject[kDirections];  // subject class; an address without ends of its own has kNoSubject
  std::uint32_t peer[kDirections];     // peer class as seen by a subject judging in that direction
  std::uint32_t flags;
  bool operator==(const Record&) const = default;
};

/// A record as it lies in its table: profiles are many, what they mean is not. All zero in a free place.
///
/// Index 0 denies everything: it is what a profile means that the policy section does not know. Profiles follow: open
/// addressing with linear probing from 1 + record_home(profile, record_factor, record_homes), less than kProbesMax places
/// away, room for that behind the last home. Behind them, the trie's.
struct PackedRecord {
  Profile profile;
  std::uint32_t identity;
  std::uint32_t meaning;  // into meanings
  bool operator==(const PackedRecord&) const = default;
};
static_assert(sizeof(PackedRecord) == 16);

struct Meaning {
  std::uint32_t subject[kDirections];
  std::uint32_t peer[kDirections];
  std::uint32_t flags;
  bool operator==(const Meaning&) const = default;
};
static_assert(sizeof(Meaning) == 20);

/// World has no ends of its own: its side of the judgement is "allow".
inline constexpr std::uint32_t kNoSubject = 0xffff'ffffu;

/// Profiles are hashes: their high half, scaled, so that homes rise with profiles. Another odd factor than 1 spreads those
/// that somebody chose to crowd one home.
constexpr std::uint64_t record_home(Profile profile, std::uint64_t factor, std::uint64_t homes) {
  return (profile * factor >> 32) * homes >> 32;
}

/// An address, like a profile, lies less than this many places after its home; the builder sees to that.
inline constexpr std::uint32_t kProbesMax = 16;

/// A trie node: 256 entries, one byte of the address a level. The top bit leads to a child node, else it is a
/// record.
inline constexpr std::uint32_t kTrieChildBit = 0x8000'0000u;
inline constexpr std::uint32_t kTrieEntries = 256;

struct PolicyHeader {
  std::uint64_t magic;
  std::uint32_t version;
  SectionKind kind;
  std::uint64_t bytes;  // whole section, header included
  Digest digest;        // of the whole section with this field zero
  std::uint32_t port_classes;
  std::uint32_t rule_sets;
  std::uint32_t subject_classes[kDirections];  // rows of matrix[direction]
  std::uint32_t peer_classes[kDirections];     // columns of matrix[direction]
  abi::Address
      gateway_v4;  // the data plane's own addresses: they answer ping and send ICMP errors; zero: none
  abi::Address gateway_v6;
  std::uint64_t record_homes;  // where profiles are at home in records, less than 2^32
  std::uint64_t record_factor;
  std::uint32_t trie_root_v4;  // entered with byte 12 of the mapped address
  std::uint32_t trie_root_v6;  // entered with byte 0
  TableRef page_of;            // uint16_t [kProtocolSlots * 256]
  TableRef pages;              // uint16_t [n * kPageEntries]
  TableRef matrix
      [kDirections];  // uint32_t [subject_classes * peer_classes / kCellPage, rounded up] -> page of cells
  TableRef cells;     // uint32_t [pages * kCellPage] -> rule set; 0 behind the last peer class
  TableRef
      verdict_pages;  // uint32_t [rows * port_classes / kVerdictPage, rounded up] -> page of verdicts; a row for
                      // each rule set, then those that audited_of leads to
  TableRef verdicts;    // Decision [pages * kVerdictPage]; 0 behind the last port class
  TableRef passed_of;   // uint32_t [rule_sets] -> row of passed; none where no rule passes
  TableRef passed;      // Passed [rows * port_classes]
  TableRef audited_of;  // uint32_t [rule_sets] -> row of verdict_pages; none where nothing is audited
  TableRef subjects[kDirections];  // SubjectClass [subject_classes]
  TableRef policies;               // Policy; 0 none
  TableRef rules;                  // Rule; 0 none
  TableRef isolating;              // uint32_t policy indexes
  TableRef governing;              // uint32_t rule indexes
  TableRef records;                // PackedRecord; 0 none
  TableRef meanings;               // Meaning; 0 none, all zero
  TableRef trie;     // uint32_t [nodes * kTrieEntries]; every address ends in a record other than 0
  TableRef strings;  // char
};

// ---------------------------------------------------------------------------------------------------------------------
// Shards

/// A power of two up to this.
inline constexpr std::uint32_t kShardsMax = 512;

/// Open addressing with linear probing; profile 0 marks a free slot. The home slot is slot_hash(seed, address)
/// & mask.
struct AddressSlot {
  abi::Address address;
  Profile profile;
  std::uint32_t endpoint;  // 0: a node's address, and the node has no name here
  std::uint32_t reserved;
};
static_assert(sizeof(AddressSlot) == 32);

/// An endpoint's number: its shard (that of its first address, where it has one) and its place there. Its place depends on
/// its neighbours' ids alone, so that its other addresses, which may lie in other shards, seldom have to follow it.
inline constexpr std::uint32_t kEndpointPlaceBits = 16;

enum EndpointFlags : std::uint32_t {
  kEndpointLocal = 1,  // has a port here: set if, and only if, port is not 0
  kEndpointNode = 2,   // the node itself: reached by the host port
  kEndpointOther = 4,  // anybody else. One of the three is set; none in a free place
};

/// One label set. `id` is the first 16 bytes of SHA-256 over its canonical encoding: the same on every node. Numbered as
/// endpoints are, in the shard that its id chooses. All zero in a free place.
struct Identity {
  std::uint8_t id[16];
  StringRef labels;  // "app=web,tier=front", sorted; for people
  StringRef namespace_name;
};
static_assert(sizeof(Identity) == 32);

/// Somebody with a name. `port` and `port_key` tie it to a port of the data plane: the port opens when both
/// agree.
struct Endpoint {
  StringRef namespace_name;
  StringRef name;
  StringRef id;
  std::uint64_t port_key;  // of the source's stable id: a reused port number opens for no stranger
  std::uint32_t port;      // abi port number, no two endpoints have the same; 0: not on this node
  std::uint32_t flags;
  std::uint32_t addresses_first;  // into addresses
  std::uint32_t addresses_count;
};
static_assert(sizeof(Endpoint) == 48);

struct ShardHeader {
  std::uint64_t magic;
  std::uint32_t version;
  SectionKind kind;
  std::uint64_t bytes;
  Digest digest;
  std::uint32_t shard;      // its number
  std::uint32_t shards;     // of how many
  std::uint64_t slot_seed;  // less than 2^32
  TableRef slots;           // AddressSlot, a power of two plus kProbesMax
  TableRef endpoints;       // Endpoint, a power of two; 0 none
  TableRef identities;      // Identity, a power of two; 0 none
  TableRef locals;          // uint32_t: places in endpoints that have a port or are the node, ascending
  TableRef addresses;       // abi::Address
  TableRef strings;         // char
};

}  // namespace bulkhead::image
