// A burst on its way: one array a property, so that each stage walks only what it needs.
#pragma once

#include <rte_mbuf.h>

#include <array>
#include <cstdint>

#include "dataplane/flow/table.h"
#include "dataplane/packet/packet.h"
#include "dataplane/port/port.h"

namespace bulkhead::worker {

inline constexpr std::uint32_t kNoPacket = 0xffff'ffffu;

/// Packets of conversations, all from one port and judged by one image. `later` marks fragments after the first: they belong to
/// a flow but start none and move no TCP state.
struct Batch {
  Batch() {
    for (std::uint32_t i = 0; i < port::kBurst; ++i) keys[i] = &parsed[i];
  }
  Batch(const Batch&) = delete;

  std::uint32_t count = 0;
  std::uint32_t plain = 0;  // the first ones, which packet::is_expected_v4() passed and nobody has parsed
  rte_mbuf* packets[port::kBurst];
  std::uint8_t* frames[port::kBurst];  // of the plain ones
  packet::Parsed parsed[port::kBurst];
  const void* keys[port::kBurst];  // always &parsed[i]
  flow::Probe probes[port::kBurst];
  abi::Fate fates[port::kBurst];  // kForwarded: goes out by `egress`
  std::uint16_t egress[port::kBurst];
  bool later[port::kBurst] = {};

  void add(rte_mbuf* packet, bool later_fragment) {
    packets[count] = packet;
    later[count] = later_fragment;
    ++count;
  }
};

/// Packets on their way out, one lane a port, in order.
class Outbox {
 public:
  /// A super-packet may leave as many segments: a lane that is full, or one lane too many, and the box must be flushed.
  static constexpr std::uint32_t kPackets = 128;
  static constexpr std::uint32_t kLanes = port::kBurst;

  struct Lane {
    std::uint16_t port = 0;
    std::uint16_t count = 0;
    std::uint64_t bytes = 0;
    rte_mbuf* packets[kPackets];
  };

  /// The lane of `port`, with room for one more; null: flush first.
  Lane* lane(std::uint16_t port) {
    for (std::uint32_t at = 0; at < used_; ++at)
      if (lanes_[at].port == port) return lanes_[at].count < kPackets ? &lanes_[at] : nullptr;
    if (used_ == kLanes) return nullptr;
    Lane& made = lanes_[used_++];
    made.port = port;
    made.count = 0;
    made.bytes = 0;
    return &made;
  }
  static void put(Lane& lane, rte_mbuf* packet) {
    lane.packets[lane.count++] = packet;
    lane.bytes += packet->pkt_len;
  }

  /// Calls send(lane) for each lane, and is empty.
  template <typename Send>
  void flush(Send&& send) {
    for (std::uint32_t at = 0; at < used_; ++at) send(lanes_[at]);
    used_ = 0;
  }

 private:
  std::uint32_t used_ = 0;
  Lane lanes_[kLanes];
};

}  // namespace bulkhead::worker
