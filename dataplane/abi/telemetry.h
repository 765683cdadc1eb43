// The telemetry region: a memory file that the data plane alone writes and everybody else maps read-only.
//
// Counters only ever rise (64 bits, single writer each, relaxed stores); a reader needs no lock and can slow
// nobody. Blocks are per worker and every block starts on its own cache line.
#pragma once

#include <cstdint>

#include "dataplane/abi/fate.h"
#include "dataplane/abi/flow.h"

namespace bulkhead::abi {

inline constexpr std::uint64_t kTelemetryMagic = 0x31'4c'45'54'48'4b'4c'42;  // "BLKHTEL1"
inline constexpr std::uint32_t kWorkersMax = 64;

/// Port numbers are 1 to kPortsMax - 1; 0 means none.
inline constexpr std::uint32_t kPortsMax = 1024;

struct alignas(64) PortCounters {
  std::uint64_t rx_packets, rx_bytes;  // as taken from the port, before any check
  std::uint64_t tx_packets, tx_bytes;
  std::uint64_t fates[kFateCount];  // of the packets that came in by this port
};

/// The latest denied conversations, aggregated by everything but the source port. A slot is rewritten by its
/// worker only; `sequence` is odd while it is written, and readers retry.
struct alignas(64) DeniedFlow {
  std::uint32_t sequence;
  std::uint32_t generation;
  Address source, destination;
  std::uint16_t source_port;  // of the latest packet
  std::uint16_t policy_port;  // destination port or ICMP type
  std::uint8_t protocol;
  Fate fate;
  std::uint8_t direction;  // the end that denied: 0 ingress, 1 egress
  Fate
      would;  // audited: what it had met, were every audited policy enforced; `direction` and `rule` are of that
  std::uint32_t rule;  // in the image of `generation`; 0 for a default
  std::uint16_t port;  // where it came in
  std::uint16_t reserved2;
  std::uint64_t packets;                      // since first_seen_ms
  std::uint64_t first_seen_ms, last_seen_ms;  // Unix time
};
inline constexpr std::uint32_t kDeniedSlots = 1024;  // a worker; a power of two

struct alignas(64) WorkerBlock {
  std::uint64_t bursts;  // not empty
  std::uint64_t sleeps;  // times the worker waited for a packet in the kernel
  std::uint64_t packets;
  std::uint64_t flows_created, flows_ended, flows_evicted, flows_rejudged;
  std::uint64_t denied_lost;  // aggregated denials overwritten before they were old
  std::uint64_t flows_kept;   // judgements after which a conversation that is denied now went on
  std::uint64_t audited_denied,
      audited_allowed;         // judgements that audited policies would have made otherwise
  std::uint64_t audited_lost;  // aggregated differences overwritten before they were old
  std::uint64_t resets_sent;   // TCP resets and ICMP errors that told of a conversation's end
  PortCounters ports[kPortsMax];
  DeniedFlow denied[kDeniedSlots];
  DeniedFlow audited[kDeniedSlots];  // conversations that audited policies would have denied, or allowed
};

struct alignas(4096) TelemetryHeader {
  std::uint64_t magic;
  std::uint32_t version;  // abi::kVersion
  std::uint32_t workers;
  std::uint64_t started_ms;     // Unix time
  std::uint64_t blocks_offset;  // WorkerBlock[workers]
  std::uint64_t bytes;
};

}  // namespace bulkhead::abi
