// Asking an image. Header-only, no allocation, no failure: the view was validated before it was made.
//
// A worker holds one View for a whole burst, so no packet is ever judged by parts of two images. The same
// functions answer `bulkheadctl verdict`: there is no second model that an explanation could come from.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "dataplane/abi/address.h"
#include "dataplane/abi/fate.h"
#include "dataplane/image/format.h"

namespace bulkhead::image {

/// Where a shard's addresses are at home.
struct Slots {
  const AddressSlot* first = nullptr;
  std::uint32_t mask = 0, seed = 0;
};
static_assert(sizeof(Slots) == 16);

/// A shard, mapped.
struct Shard {
  const ShardHeader* header = nullptr;
  Slots slots;
  const Endpoint* endpoints = nullptr;
  std::uint32_t endpoint_mask = 0;
  const Identity* identities = nullptr;
  std::uint32_t identity_mask = 0;
  const std::uint32_t* locals = nullptr;  // places
  std::uint32_t locals_count = 0;
  std::uint32_t number = 0, of = 1;  // which of how many
  const abi::Address* addresses = nullptr;
  const char* strings = nullptr;
  Digest digest = {};

  std::string_view text(StringRef ref) const { return {strings + ref.offset, ref.bytes}; }
};

/// All sections, mapped. Pointers are into the mappings and live exactly as long as they. Only validate.h makes
/// one.
struct View {
  const PolicyHeader* policy = nullptr;
  const std::uint16_t* page_of = nullptr;
  const std::uint16_t* pages = nullptr;
  const std::uint32_t* matrix[kDirections] = {};
  std::uint32_t matrix_width[kDirections] = {};  // pages of a row
  const std::uint32_t* cells = nullptr;
  const std::uint32_t* verdict_pages = nullptr;
  std::uint32_t verdict_width = 0;  // pages of a row
  const Decision* verdicts = nullptr;
  const std::uint32_t* passed_of = nullptr;  // nullptr: no rule passes
  const Passed* passed = nullptr;
  const std::uint32_t* audited_of = nullptr;  // nullptr: nothing is audited
  const SubjectClass* subjects[kDirections] = {};
  const Policy* policies = nullptr;
  const Rule* rules = nullptr;
  const std::uint32_t* isolating = nullptr;
  const std::uint32_t* governing = nullptr;
  const PackedRecord* records = nullptr;
  const Meaning* meanings = nullptr;
  std::uint64_t record_homes = 0, record_factor = 1;
  const std::uint32_t* trie = nullptr;
  const char* policy_strings = nullptr;

  const Shard* shards = nullptr;
  const Slots* slots = nullptr;  // of each shard: side by side, since every lookup begins there
  std::uint32_t shard_mask = 0;
  struct Kept {
    std::vector<Shard> shards;
    std::vector<Slots> slots;
  };
  std::shared_ptr<const Kept> kept;  // what these point to

  Record record(std::uint32_t index) const {
    const PackedRecord& packed = records[index];
    const Meaning& meaning = meanings[packed.meaning];
    return {packed.profile,
            packed.identity,
            {meaning.subject[0], meaning.subject[1]},
            {meaning.peer[0], meaning.peer[1]},
            meaning.flags};
  }

  std::string_view policy_text(StringRef ref) const { return {policy_strings + ref.offset, ref.bytes}; }

  /// Of an endpoint's or an identity's.
  const Shard& shard_of_number(std::uint32_t number) const {
    return shards[number >> kEndpointPlaceBits & shard_mask];
  }
  /// Any number: one that is nobody's leads to an entry without a name, a port and flags.
  const Endpoint& endpoint(std::uint32_t number) const {
    const Shard& shard = shard_of_number(number);
    return shard.endpoints[number & shard.endpoint_mask];
  }
  std::string_view namespace_of(std::uint32_t number) const {
    return shard_of_number(number).text(endpoint(number).namespace_name);
  }
  std::string_view name_of(std::uint32_t number) const {
    return shard_of_number(number).text(endpoint(number).name);
  }
  std::string_view id_of(std::uint32_t number) const {
    return shard_of_number(number).text(endpoint(number).id);
  }
  std::span<const abi::Address> addresses_of(std::uint32_t number) const {
    const Endpoint& owner = endpoint(number);
    return {shard_of_number(number).addresses + owner.addresses_first, owner.addresses_count};
  }

  /// Likewise.
  const Identity& identity(std::uint32_t number) const {
    const Shard& shard = shard_of_number(number);
    return shard.identities[number & shard.identity_mask];
  }
  std::string_view labels_of_identity(std::uint32_t number) const {
    return shard_of_number(number).text(identity(number).labels);
  }
  std::string_view namespace_of_identity(std::uint32_t number) const {
    return shard_of_number(number).text(identity(number).namespace_name);
  }

  /// Calls visit(number) for every endpoint: in the order of shards and places, which is nobody's.
  template <class Visit>
  void for_each_endpoint(Visit visit) const {
    for (std::uint32_t shard = 0; shard <= shard_mask; ++shard)
      for (std::uint32_t place = 1; place <= shards[shard].endpoint_mask; ++place)
        if (shards[shard].endpoints[place].flags != 0) visit(shard << kEndpointPlaceBits | place);
  }
  /// Likewise for identities: no two have one id.
  template <class Visit>
  void for_each_identity(Visit visit) const {
    static constexpr Identity kFree{};
    for (std::uint32_t shard = 0; shard <= shard_mask; ++shard)
      for (std::uint32_t place = 1; place <= shards[shard].identity_mask; ++place)
        if (std::memcmp(&shards[shard].identities[place], &kFree, sizeof kFree) != 0)
          visit(shard << kEndpointPlaceBits | place);
  }
  /// Likewise for those that have a port here, and the node.
  template <class Visit>
  void for_each_local(Visit visit) const {
    for (std::uint32_t shard = 0; shard <= shard_mask; ++shard) {
      const Shard& one = shards[shard];
      for (std::uint32_t i = 0; i < one.locals_count; ++i) visit(shard << kEndpointPlaceBits | one.locals[i]);
    }
  }
  /// Calls visit(slot) for every bound address.
  template <class Visit>
  void for_each_address(Visit visit) const {
    for (std::uint32_t shard = 0; shard <= shard_mask; ++shard)
      for (std::uint64_t i = 0; i < shards[shard].header->slots.count; ++i)
        if (shards[shard].slots.first[i].profile != 0) visit(shards[shard].slots.first[i]);
  }
};

/// What an address is. `endpoint` is 0 for world. `record` is 0, which denies, only where shards and policy section are not
/// of one making.
struct Bound {
  std::uint32_t record = 0;
  std::uint32_t endpoint = 0;
};

/// A murmur-style finaliser over both halves. Builder and reader share it; the seed spreads what an input
/// would crowd.
inline std::uint64_t slot_hash(std::uint64_t seed, const abi::Address& address) {
  std::uint64_t high, low;
  std::memcpy(&high, address.bytes.data(), 8);
  std::memcpy(&low, address.bytes.data() + 8, 8);
  std::uint64_t x = (high ^ seed) * 0x9e37'79b9'7f4a'7c15u;
  x = (x ^ (x >> 32) ^ low) * 0xd6e8'feb8'6659'fd93u;
  x = (x ^ (x >> 32)) * 0xd6e8'feb8'6659'fd93u;
  return x ^ (x >> 32);
}

/// Which shard an address or an endpoint of this hash lies in. Not by the low bits, which choose its place there.
inline std::uint32_t shard_of_hash(std::uint64_t hash, std::uint32_t shard_mask) {
  return static_cast<std::uint32_t>(hash >> 48) & shard_mask;
}

/// Where bind() will look first; for prefetching a burst ahead.
inline const AddressSlot* home_slot(const View& view, const abi::Address& address) {
  const std::uint64_t hash = slot_hash(0, address);
  const Slots& slots = view.slots[shard_of_hash(hash, view.shard_mask)];
  return slots.first + ((slots.seed == 0 ? hash : slot_hash(slots.seed, address)) & slots.mask);
}

/// What the profile means: at most kProbesMax neighbouring records; 0 where the policy section does not know it.
inline std::uint32_t record_of(const View& view, Profile profile) {
  auto at = static_cast<std::uint32_t>(1 + record_home(profile, view.record_factor, view.record_homes));
  for (std::uint32_t probe = 0; probe < kProbesMax; ++probe, ++at)
    if (view.records[at].profile == profile) return at;
  return 0;
}

/// The address's meaning: at most kProbesMax neighbouring slots and as many records, or at most 16 trie steps (4 for IPv4).
inline Bound bind(const View& view, const abi::Address& address) {
  const AddressSlot* slot = home_slot(view, address);
  for (std::uint32_t probe = 0; probe < kProbesMax && slot->profile != 0; ++probe, ++slot)
    if (slot->address == address) return {record_of(view, slot->profile), slot->endpoint};
  const bool v4 = address.is_v4();
  std::uint32_t node = v4 ? view.policy->trie_root_v4 : view.policy->trie_root_v6;
  for (std::uint32_t at = v4 ? 12 : 0; at < 16; ++at) {
    const std::uint32_t entry = view.trie[std::uint64_t{node} * kTrieEntries + address.bytes[at]];
    if ((entry & kTrieChildBit) == 0) return {entry, 0};
    node = entry & ~kTrieChildBit;
  }
  return {};  // not reached in a validated image: the last level holds records only
}

/// An endpoint's identity; 0 where it has none, or no address to be known by.
inline std::uint32_t identity_of(const View& view, std::uint32_t endpoint) {
  const auto addresses = view.addresses_of(endpoint);
  return addresses.empty() ? 0 : view.records[bind(view, addresses.front()).record].identity;
}

/// IANA protocol number to slot.
constexpr ProtocolSlot protocol_slot(std::uint8_t protocol) {
  switch (protocol) {
    case 6:
      return kTcp;
    case 17:
      return kUdp;
    case 132:
      return kSctp;
    case 1:
      return kIcmp;
    case 58:
      return kIcmpV6;
    default:
      return kOtherProtocol;
  }
}

/// `port` is the destination port, the ICMP type, or the protocol number itself in the last slot.
inline std::uint32_t port_class(const View& view, ProtocolSlot slot, std::uint16_t port) {
  const std::uint32_t page = view.page_of[slot * 256 + (port >> 8)];
  return view.pages[page * kPageEntries + (port & 0xff)];
}

/// What a row of verdict_pages answers: a rule set's own, or that of audited_of.
inline Decision answer(const View& view, std::uint32_t row, std::uint32_t port_class) {
  const std::uint32_t page =
      view.verdict_pages[std::uint64_t{row} * view.verdict_width + port_class / kVerdictPage];
  return view.verdicts[std::uint64_t{page} * kVerdictPage + port_class % kVerdictPage];
}

/// What a subject class asks a peer class by.
inline std::uint32_t rule_set(const View& view, std::uint32_t direction, std::uint32_t subject,
                              std::uint32_t peer) {
  const std::uint32_t page =
      view.matrix[direction][std::uint64_t{subject} * view.matrix_width[direction] + peer / kCellPage];
  return view.cells[std::uint64_t{page} * kCellPage + peer % kCellPage];
}

inline Decision decide(const View& view, std::uint32_t direction, std::uint32_t subject, std::uint32_t peer,
                       std::uint32_t port_class) {
  if (subject == kNoSubject) return kAllowBit;
  const std::uint32_t set = rule_set(view, direction, subject, peer);
  return answer(view, set, port_class);
}

/// Who passed on what decide() answers.
inline Passed passed(const View& view, std::uint32_t direction, std::uint32_t subject, std::uint32_t peer,
                     std::uint32_t port_class) {
  if (subject == kNoSubject || view.passed_of == nullptr) return {};
  const std::uint32_t set = rule_set(view, direction, subject, peer);
  return view.passed[std::uint64_t{view.passed_of[set]} * view.policy->port_classes + port_class];
}

/// The whole answer. `direction` and `rule` name the end that decided: the first that denied, else the
/// receiver's.
struct Judgement {
  abi::Fate fate =
      abi::Fate::kDeniedPosture;  // kForwarded, kDeniedPolicy, kDeniedDefault, kDeniedPosture, kUnidentified
  std::uint32_t direction = kEgress;
  std::uint32_t rule = 0;
  std::uint32_t egress_rule = 0;  // what the sender's end said, where it allowed

  bool allowed() const { return fate == abi::Fate::kForwarded; }
};

inline abi::Fate denial(const View& view, std::uint32_t direction, std::uint32_t subject, Decision decision) {
  if (decision != 0) return abi::Fate::kDeniedPolicy;
  return view.subjects[direction][subject].isolating_count != 0 ? abi::Fate::kDeniedDefault
                                                                : abi::Fate::kDeniedPosture;
}

/// What decide() would answer were every audited policy enforced.
inline Decision decide_audited(const View& view, std::uint32_t direction, std::uint32_t subject,
                               std::uint32_t peer, std::uint32_t port_class) {
  if (subject == kNoSubject) return kAllowBit;
  const std::uint32_t set = rule_set(view, direction, subject, peer);
  return answer(view, view.audited_of != nullptr ? view.audited_of[set] : set, port_class);
}

/// What becomes of a conversation that an earlier image allowed and this one denies. The later, the stricter.
enum class Established : std::uint8_t { kKeep, kReevaluate, kReset };

inline Established established(std::uint8_t options) {
  return (options & kResetEstablished) != 0  ? Established::kReset
         : (options & kKeepEstablished) != 0 ? Established::kKeep
                                             : Established::kReevaluate;
}

/// What one end that denies by `decision` says of it: the rule's policy, else those that isolate it, else the
/// posture.
inline Established established(const View& view, std::uint32_t direction, std::uint32_t subject,
                               Decision decision) {
  return established(decision != 0 ? view.policies[view.rules[decision].policy].options
                                   : view.subjects[direction][subject].options);
}

/// Judges a new flow from `source` to `destination`. Ends with kNoSubject (world) allow; an endpoint always
/// reaches itself.
inline Judgement judge(const View& view, Bound source, Bound destination, ProtocolSlot slot,
                       std::uint16_t port) {
  if (source.record == 0 || destination.record == 0) return {abi::Fate::kUnidentified, kEgress, 0, 0};
  if (source.endpoint != 0 && source.endpoint == destination.endpoint)
    return {abi::Fate::kForwarded, kIngress, 0, 0};
  const Record from = view.record(source.record);
  const Record to = view.record(destination.record);
  const std::uint32_t ports = port_class(view, slot, port);

  const Decision egress = decide(view, kEgress, from.subject[kEgress], to.peer[kEgress], ports);
  if ((egress & kAllowBit) == 0)
    return {denial(view, kEgress, from.subject[kEgress], egress), kEgress, egress, 0};
  const Decision ingress = decide(view, kIngress, to.subject[kIngress], from.peer[kIngress], ports);
  if ((ingress & kAllowBit) == 0)
    return {denial(view, kIngress, to.subject[kIngress], ingress), kIngress, ingress, egress & ~kAllowBit};
  return {abi::Fate::kForwarded, kIngress, ingress & ~kAllowBit, egress & ~kAllowBit};
}

/// What judge() would say were every audited policy enforced.
inline Judgement judge_audited(const View& view, Bound source, Bound destination, ProtocolSlot slot,
                               std::uint16_t port) {
  if (source.endpoint != 0 && source.endpoint == destination.endpoint)
    return {abi::Fate::kForwarded, kIngress, 0, 0};
  const Record from = view.record(source.record);
  const Record to = view.record(destination.record);
  const std::uint32_t ports = port_class(view, slot, port);
  const auto fate = [&](std::uint32_t direction, std::uint32_t subject, Decision decision) {
    const bool isolated = decision == 0 && view.subjects[direction][subject].audited_count != 0;
    return isolated ? abi::Fate::kDeniedDefault : denial(view, direction, subject, decision);
  };
  const Decision egress = decide_audited(view, kEgress, from.subject[kEgress], to.peer[kEgress], ports);
  if ((egress & kAllowBit) == 0) return {fate(kEgress, from.subject[kEgress], egress), kEgress, egress, 0};
  const Decision ingress = decide_audited(view, kIngress, to.subject[kIngress], from.peer[kIngress], ports);
  if ((ingress & kAllowBit) == 0)
    return {fate(kIngress, to.subject[kIngress], ingress), kIngress, ingress, egress & ~kAllowBit};
  return {abi::Fate::kForwarded, kIngress, ingress & ~kAllowBit, egress & ~kAllowBit};
}

/// Of a flow that judge() denies: the strictest that its denying ends say.
inline Established established(const View& view, Bound source, Bound destination, ProtocolSlot slot,
                               std::uint16_t port) {
  const Record from = view.record(source.record);
  const Record to = view.record(destination.record);
  const std::uint32_t ports = port_class(view, slot, port);
  const Decision egress = decide(view, kEgress, from.subject[kEgress], to.peer[kEgress], ports);
  const Decision ingress = decide(view, kIngress, to.subject[kIngress], from.peer[kIngress], ports);
  Established strictest = Established::kKeep;
  if ((egress & kAllowBit) == 0) strictest = established(view, kEgress, from.subject[kEgress], egress);
  if ((ingress & kAllowBit) == 0)
    strictest = std::max(strictest, established(view, kIngress, to.subject[kIngress], ingress));
  return strictest;
}

}  // namespace bulkhead::image
