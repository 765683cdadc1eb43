// Asks a view about everything it can be asked, at random, and checks that no answer points outside its
// tables. The sanitizers watch what the lookups read on the way.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <string_view>

#include "dataplane/image/query.h"

namespace bulkhead::image::sample {

inline abi::Address random_address(const View& view, std::mt19937_64& random) {
  const std::uint64_t kind = random() % 4;
  const Shard& shard = view.shards[random() & view.shard_mask];
  if (kind == 0 && shard.header->addresses.count != 0)
    return shard.addresses[random() % shard.header->addresses.count];
  if (kind == 1) return shard.slots.first[random() % shard.header->slots.count].address;
  abi::Address address;
  if (kind == 2) {
    address = abi::address_v4(static_cast<std::uint32_t>(random()));
  } else {
    for (std::uint8_t& byte : address.bytes) byte = static_cast<std::uint8_t>(random() % 4 ? 0xfd : random());
  }
  return address;
}

/// Every byte of a text is read, so that a sanitizer sees it.
inline bool readable(std::string_view text) {
  return std::count(text.begin(), text.end(), '\n') <= static_cast<std::ptrdiff_t>(text.size());
}

inline bool rule_reads(const View& view, std::uint32_t index) {
  if (index >= view.policy->rules.count) return false;
  const Rule& rule = view.rules[index];
  if (rule.policy >= view.policy->policies.count) return false;
  const Policy& policy = view.policies[rule.policy];
  return readable(view.policy_text(rule.name)) && readable(view.policy_text(rule.peers)) &&
         readable(view.policy_text(rule.ports)) && readable(view.policy_text(policy.file)) &&
         readable(view.policy_text(policy.name));
}

inline bool bound_reads(const View& view, Bound bound) {
  if (bound.record >= view.policy->records.count) return false;
  for (const abi::Address& address : view.addresses_of(bound.endpoint))
    if (bind(view, address).record >= view.policy->records.count) return false;
  if (!readable(view.name_of(bound.endpoint)) || !readable(view.namespace_of(bound.endpoint)) ||
      !readable(view.id_of(bound.endpoint)))
    return false;
  const std::uint32_t identity = view.record(bound.record).identity;
  if (!readable(view.labels_of_identity(identity)) || !readable(view.namespace_of_identity(identity)))
    return false;
  if (bound.record == 0) return true;  // it denies, and nothing is asked about its classes
  for (std::uint32_t direction = 0; direction < kDirections; ++direction) {
    const std::uint32_t index = view.record(bound.record).subject[direction];
    if (index == kNoSubject) continue;
    const SubjectClass& subject = view.subjects[direction][index];
    for (std::uint32_t i = 0; i < subject.rules_count; ++i)
      if (!rule_reads(view, view.governing[subject.rules_first + i])) return false;
    for (std::uint32_t i = 0; i < subject.isolating_count + subject.audited_count; ++i)
      if (view.isolating[subject.isolating_first + i] >= view.policy->policies.count) return false;
  }
  return true;
}

inline bool answers_stay_inside(const View& view, std::uint64_t seed, int questions) {
  std::mt19937_64 random(seed);
  for (int i = 0; i < questions; ++i) {
    const Bound source = bind(view, random_address(view, random));
    const Bound destination = bind(view, random_address(view, random));
    if (!bound_reads(view, source) || !bound_reads(view, destination)) return false;
    const auto slot = ProtocolSlot{static_cast<std::uint32_t>(random() % kProtocolSlots)};
    const auto port = static_cast<std::uint16_t>(random());
    const Judgement judgement = judge(view, source, destination, slot, port);
    const Judgement audited = judge_audited(view, source, destination, slot, port);
    for (const std::uint32_t rule :
         {judgement.rule, judgement.egress_rule, audited.rule, audited.egress_rule})
      if (!rule_reads(view, rule)) return false;
    if (established(view, source, destination, slot, port) > Established::kReset) return false;
  }
  return true;
}

}  // namespace bulkhead::image::sample
