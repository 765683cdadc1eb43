// The image: everything a verdict needs, as one immutable, position-independent set of bytes.
//
//   who writes   builder.h, in the control plane, into a memfd that is then sealed
//   who checks   validate.h, once, where it crosses a process or a file (nobody trusts it before)
//   who reads    query.h, header-only: the data plane's workers, bulkheadctl, the tests
//   when it dies the data plane unmaps a retired image one grace period after the next one was published
//
// An image is two *sections*. Each is self-contained bytes: a header, a directory of tables, the tables. The
// policy section says what classes may do; the binding section says which address is which class. A container
// that comes with labels already known changes only the binding section, and the policy section is shared
// with the next generation.
//
//   binding section
//     address ──exact slots──► record {identity, subject and peer class per direction}, endpoint
//        └──(nobody's)── trie of address blocks ──► record
//
//   policy section
//     (protocol, port) ── pages ──► port class
//     matrix[direction][subject class][peer class] ──► rule set
//     verdicts[rule set][port class] ──► allow | rule ──► policy, file:line, words
//     audited[audited_of[rule set] - 1][port class] ──► the verdict were every audited policy enforced; where it may differ
//     passed[passed_of[rule set]][port class] ──► the rules that passed it on to that verdict; for people only
//
// Everything is little-endian (the only byte order supported). Tables follow one another in the order of layout.h
// at 64-byte boundaries; padding is zero. Index 0 of records, identities, endpoints, rules and policies
// means *none*; the first real one is 1. The bytes are a function of the builder's input alone: same inputs,
// same digest, on any machine. A generation number is not part of it.
//
// A file that holds an image (`bulkheadctl image show FILE`) is the sections one after another, each padded
// to 4096 bytes.
#pragma once

#include <cstdint>

#include "dataplane/abi/address.h"

namespace bulkhead::image {

inline constexpr std::uint64_t kMagic = 0x31'47'4d'49'48'4b'4c'42;  // "BLKHIMG1"
inline constexpr std::uint32_t kFormatVersion = 3;
inline constexpr std::size_t kTableAlign = 64;
inline constexpr std::size_t kSectionAlign = 4096;

/// A section larger than this is refused by builder and validator alike.
inline constexpr std::uint64_t kSectionBytesMax = std::uint64_t{1} << 30;

enum class SectionKind : std::uint32_t { kPolicy = 1, kBinding = 2 };

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

/// One label set. `id` is the first 16 bytes of SHA-256 over its canonical encoding: the same on every node.
struct Identity {
  std::uint8_t id[16];
  StringRef labels;  // "app=web,tier=front", sorted; for people
  StringRef namespace_name;
};
static_assert(sizeof(Identity) == 32);

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
  kAuditedPolicy = 4,  // asked for `audited` only: it isolates nobody, and `verdicts` names none of its rules
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

/// An element of `passed`: the rules that passed a packet on before `verdicts` decided it, 0 where none did.
struct Passed {
  std::uint32_t platform;
  std::uint32_t baseline;
};
static_assert(sizeof(Passed) == 8);

/// Ports in two steps: pages[page_of[slot * 256 + port / 256] * 256 + port % 256] is the port class.
inline constexpr std::uint32_t kPageEntries = 256;

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
  TableRef page_of;                            // uint16_t [kProtocolSlots * 256]
  TableRef pages;                              // uint16_t [n * kPageEntries]
  TableRef matrix[kDirections];                // uint32_t [subject_classes * peer_classes] -> rule set
  TableRef verdicts;                           // Decision [rule_sets * port_classes]
  TableRef passed_of;   // uint32_t [rule_sets] -> row of passed; none where no rule passes
  TableRef passed;      // Passed [rows * port_classes]
  TableRef audited_of;  // uint32_t [rule_sets] -> row of audited plus 1, 0: as in verdicts; none where
                        // nothing is audited
  TableRef audited;     // Decision [rows * port_classes]
  TableRef subjects[kDirections];  // SubjectClass [subject_classes]
  TableRef identities;             // Identity; 0 none
  TableRef policies;               // Policy; 0 none
  TableRef rules;                  // Rule; 0 none
  TableRef isolating;              // uint32_t policy indexes
  TableRef governing;              // uint32_t rule indexes
  TableRef strings;                // char
};

// ---------------------------------------------------------------------------------------------------------------------
// Binding section

enum RecordFlags : std::uint32_t {
  kRecordEndpoint = 1,  // an endpoint's address; clear: world
  kRecordNode = 2,      // an address of a node (this one or another)
};

/// What an address means to policy. Addresses that no policy can tell apart share one record.
struct Record {
  std::uint32_t identity;              // 0 for world
  std::uint32_t subject[kDirections];  // subject class; an address without ends of its own has kNoSubject
  std::uint32_t peer[kDirections];     // peer class as seen by a subject judging in that direction
  std::uint32_t flags;
};
static_assert(sizeof(Record) == 24);

/// World has no ends of its own: its side of the judgement is "allow".
inline constexpr std::uint32_t kNoSubject = 0xffff'ffffu;

/// Open addressing with linear probing; record 0 marks a free slot. The home slot is slot_hash(seed, address)
/// & mask.
struct AddressSlot {
  abi::Address address;
  std::uint32_t record;
  std::uint32_t endpoint;
  std::uint64_t reserved;
};
static_assert(sizeof(AddressSlot) == 32);

/// An address lies less than this many slots after its home; the builder tries seeds until that holds.
inline constexpr std::uint32_t kProbesMax = 16;

/// A trie node: 256 entries, one byte of the address a level. The top bit leads to a child node, else it is a
/// record.
inline constexpr std::uint32_t kTrieChildBit = 0x8000'0000u;
inline constexpr std::uint32_t kTrieEntries = 256;

enum EndpointFlags : std::uint32_t {
  kEndpointLocal = 1,  // has a port here: set if, and only if, port is not 0
  kEndpointNode = 2,   // the node itself: reached by the host port
};

/// Somebody with a name. `port` and `port_key` tie it to a port of the data plane: the port opens when both
/// agree.
struct Endpoint {
  StringRef namespace_name;
  StringRef name;
  StringRef id;
  std::uint64_t port_key;  // of the source's stable id: a reused port number opens for no stranger
  std::uint32_t port;      // abi port number, no two endpoints have the same; 0: not on this node
  std::uint32_t identity;
  std::uint32_t flags;
  std::uint32_t addresses_first;  // into addresses
  std::uint32_t addresses_count;
  std::uint32_t reserved;
};
static_assert(sizeof(Endpoint) == 56);

struct BindingHeader {
  std::uint64_t magic;
  std::uint32_t version;
  SectionKind kind;
  std::uint64_t bytes;
  Digest digest;
  Digest policy;  // the policy section that these class numbers belong to
  std::uint64_t slot_seed;
  abi::Address
      gateway_v4;  // the data plane's own addresses: they answer ping and send ICMP errors; zero: none
  abi::Address gateway_v6;
  std::uint32_t trie_root_v4;  // entered with byte 12 of the mapped address
  std::uint32_t trie_root_v6;  // entered with byte 0
  TableRef records;            // Record; 0 none (never looked up: it denies everything)
  TableRef slots;              // AddressSlot, a power of two plus kProbesMax
  TableRef trie;               // uint32_t [nodes * kTrieEntries]; every address ends in a record other than 0
  TableRef endpoints;          // Endpoint; 0 none
  TableRef addresses;          // abi::Address
  TableRef strings;            // char
};

}  // namespace bulkhead::image
