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
  std::uint32_t count = 0;
  rte_mbuf* packets[port::kBurst];
  packet::Parsed parsed[port::kBurst];
  const void* keys[port::kBurst];
  flow::Probe probes[port::kBurst];
  abi::Fate fates[port::kBurst];  // kForwarded: goes out by `egress`
  std::uint16_t egress[port::kBurst];
  bool later[port::kBurst];

  void add(rte_mbuf* packet, bool later_fragment) {
    packets[count] = packet;
    keys[count] = &parsed[count];
    later[count] = later_fragment;
    ++count;
  }
};

/// Packets sorted by the port they leave through, in order, without moving one: chains of indexes.
class Outbox {
 public:
  /// A super-packet may leave as many segments: the box is flushed when it is full.
  static constexpr std::uint32_t kPackets = 128;

  bool full() const { return count_ == kPackets; }
  void add(rte_mbuf* packet, std::uint16_t port) {
    packets_[count_] = packet;
    next_[count_] = kEnd;
    std::uint8_t at = 0;
    while (at < ports_ && port_[at] != port) ++at;
    if (at == ports_) {
      port_[ports_++] = port;
      first_[at] = static_cast<std::uint8_t>(count_);
    } else {
      next_[last_[at]] = static_cast<std::uint8_t>(count_);
    }
    last_[at] = static_cast<std::uint8_t>(count_++);
  }

  /// Calls send(port, packets, count) once a port, and is empty.
  template <typename Send>
  void flush(Send&& send) {
    for (std::uint8_t at = 0; at < ports_; ++at) {
      rte_mbuf* of_port[kPackets];
      std::uint16_t n = 0;
      for (std::uint8_t i = first_[at]; i != kEnd; i = next_[i]) of_port[n++] = packets_[i];
      send(port_[at], of_port, n);
    }
    count_ = 0;
    ports_ = 0;
  }

 private:
  static constexpr std::uint8_t kEnd = 0xff;
  std::uint32_t count_ = 0;
  std::uint8_t ports_ = 0;
  rte_mbuf* packets_[kPackets];
  std::uint8_t next_[kPackets];
  std::uint16_t port_[kPackets];
  std::uint8_t first_[kPackets], last_[kPackets];
};

}  // namespace bulkhead::worker
