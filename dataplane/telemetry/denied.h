// Denied conversations, aggregated where they are counted, so that a flood of denials costs a reader nothing.
//
// A worker keeps kDeniedSlots of them in its block. All packets of one (source, destination, protocol, port,
// fate) share a slot, whatever their source port. Two slots are tried; if both hold others, the older one is
// overwritten, and counted as lost if it was younger than kFreshMs: losses are exact, never silent.
#pragma once

#include <cstdint>

#include "dataplane/abi/telemetry.h"

namespace bulkhead::telemetry {

inline constexpr std::uint64_t kFreshMs = 60'000;

struct Denial {
  abi::Address source, destination;
  std::uint16_t source_port = 0;
  std::uint16_t policy_port = 0;
  std::uint8_t protocol = 0;
  abi::Fate fate = abi::Fate::kDeniedPosture;
  abi::Fate would = abi::Fate::kDeniedPosture;  // of record_audited
  std::uint8_t direction = 0;
  std::uint32_t rule = 0;
  std::uint32_t generation = 0;
  std::uint16_t port = 0;
};

/// Only by the worker that owns `block`. `now_ms` is Unix time.
void record(abi::WorkerBlock& block, const Denial& denial, std::uint64_t now_ms);

/// Likewise a conversation that audited policies would have judged otherwise, in slots of their own.
void record_audited(abi::WorkerBlock& block, const Denial& difference, std::uint64_t now_ms);

}  // namespace bulkhead::telemetry
