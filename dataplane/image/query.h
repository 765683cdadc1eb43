// Asking an image. Header-only, no allocation, no failure: the view was validated before it was made.
//
// A worker holds one View for a whole burst, so no packet is ever judged by parts of two images. The same
// functions answer `bulkheadctl verdict`: there is no second model that an explanation could come from.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "dataplane/abi/address.h"
#include "dataplane/abi/fate.h"
#include "dataplane/image/format.h"

namespace bulkhead::image {

/// Both sections, mapped. Pointers are into the mapping and live exactly as long as it. Only validate.h makes
/// one.
struct View {
  const PolicyHeader* policy = nullptr;
  const std::uint16_t* page_of = nullptr;
  const std::uint16_t* pages = nullptr;
  const std::uint32_t* matrix[kDirections] = {};
  const Decision* verdicts = nullptr;
  const std::uint32_t* passed_of = nullptr;  // nullptr: no rule passes
  const Passed* passed = nullptr;
  const std::uint32_t* audited_of = nullptr;  // nullptr: nothing is audited
  const Decision* audited = nullptr;
  const SubjectClass* subjects[kDirections] = {};
  const Identity* identities = nullptr;
  const Policy* policies = nullptr;
  const Rule* rules = nullptr;
  const std::uint32_t* isolating = nullptr;
  const std::uint32_t* governing = nullptr;
  const char* policy_strings = nullptr;

  const BindingHeader* binding = nullptr;
  const Record* records = nullptr;
  const AddressSlot* slots = nullptr;
  std::uint64_t slot_mask = 0;
  const std::uint32_t* trie = nullptr;
  const Endpoint* endpoints = nullptr;
  const abi::Address* addresses = nullptr;
  const char* binding_strings = nullptr;

  std::string_view policy_text(StringRef ref) const { return {policy_strings + ref.offset, ref.bytes}; }
  std::string_view binding_text(StringRef ref) const { return {binding_strings + ref.offset, ref.bytes}; }
};

/// What an address is. `record` is never 0; `endpoint` is 0 for world.
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

/// Where bind() will look first; for prefetching a burst ahead.
inline const AddressSlot* home_slot(const View& view, const abi::Address& address) {
  return view.slots + (slot_hash(view.binding->slot_seed, address) & view.slot_mask);
}

/// The address's meaning: at most kProbesMax neighbouring slots, then at most 16 trie steps (4 for IPv4).
inline Bound bind(const View& view, const abi::Address& address) {
  const AddressSlot* slot = home_slot(view, address);
  for (std::uint32_t probe = 0; probe < kProbesMax && slot->record != 0; ++probe, ++slot)
    if (slot->address == address) return {slot->record, slot->endpoint};
  const bool v4 = address.is_v4();
  std::uint32_t node = v4 ? view.binding->trie_root_v4 : view.binding->trie_root_v6;
  for (std::uint32_t at = v4 ? 12 : 0; at < 16; ++at) {
    const std::uint32_t entry = view.trie[std::uint64_t{node} * kTrieEntries + address.bytes[at]];
    if ((entry & kTrieChildBit) == 0) return {entry, 0};
    node = entry & ~kTrieChildBit;
  }
  return {};  // not reached in a validated image: the last level holds records only
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

inline Decision decide(const View& view, std::uint32_t direction, std::uint32_t subject, std::uint32_t peer,
                       std::uint32_t port_class) {
  if (subject == kNoSubject) return kAllowBit;
  const std::uint32_t columns = view.policy->peer_classes[direction];
  const std::uint32_t rule_set = view.matrix[direction][std::uint64_t{subject} * columns + peer];
  return view.verdicts[std::uint64_t{rule_set} * view.policy->port_classes + port_class];
}

/// Who passed on what decide() answers.
inline Passed passed(const View& view, std::uint32_t direction, std::uint32_t subject, std::uint32_t peer,
                     std::uint32_t port_class) {
  if (subject == kNoSubject || view.passed_of == nullptr) return {};
  const std::uint32_t columns = view.policy->peer_classes[direction];
  const std::uint32_t rule_set = view.matrix[direction][std::uint64_t{subject} * columns + peer];
  return view.passed[std::uint64_t{view.passed_of[rule_set]} * view.policy->port_classes + port_class];
}

/// The whole answer. `direction` and `rule` name the end that decided: the first that denied, else the
/// receiver's.
struct Judgement {
  abi::Fate fate = abi::Fate::kDeniedPosture;  // kForwarded, kDeniedPolicy, kDeniedDefault or kDeniedPosture
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
  const std::uint32_t columns = view.policy->peer_classes[direction];
  const std::uint32_t rule_set = view.matrix[direction][std::uint64_t{subject} * columns + peer];
  const std::uint32_t row = view.audited_of != nullptr ? view.audited_of[rule_set] : 0;
  const Decision* answers = row == 0 ? view.verdicts + std::uint64_t{rule_set} * view.policy->port_classes
                                     : view.audited + std::uint64_t{row - 1} * view.policy->port_classes;
  return answers[port_class];
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
  if (source.endpoint != 0 && source.endpoint == destination.endpoint)
    return {abi::Fate::kForwarded, kIngress, 0, 0};
  const Record& from = view.records[source.record];
  const Record& to = view.records[destination.record];
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
  const Record& from = view.records[source.record];
  const Record& to = view.records[destination.record];
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
  const Record& from = view.records[source.record];
  const Record& to = view.records[destination.record];
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
