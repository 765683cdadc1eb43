// Real headers for DPDK's null devices, so that any DPDK program can be fed alike: load it with `-d libbulkhead-feeder.so`.
//
// net_null gives 64-byte packets with nothing in them, at almost no cost. This module adds a receive callback that writes
// Ethernet, IPv4 and UDP into each: net_null0 carries one direction of BULKHEAD_FEEDER_FLOWS conversations, net_null1 the other,
// in an order without locality (a full-period generator).
//
//   conversation k: 10.9.0.1 port 1024 + k % 32768  <->  10.9.1.(1 + k / 32768) port 9
//
// A NIC fills a ring of buffers ahead of its driver, so what a program reads lies in the shared cache and not in its own.
// The feeder does the same: a packet is handed out BULKHEAD_FEEDER_RING packets (4096 unless set, as many as a usual ring has
// descriptors) after its header was written. With 0 headers are still in the first-level cache when they are read, which
// no device can do: the barest common cost, against which everything else looks largest.
#include <rte_ethdev.h>

#include <bit>
#include <cstdlib>
#include <cstring>
#include <thread>

namespace {

constexpr std::uint32_t kPortsEach = 32'768;
constexpr std::uint32_t kPeersMax = 64;
constexpr std::uint32_t kFrameBytes = 64;
constexpr std::uint32_t kRingMax = 1u << 14;
constexpr std::uint32_t kRingDefault = 4096;

struct alignas(64) Frame {
  std::uint8_t bytes[kFrameBytes] = {};
};

struct Direction {
  Frame frames[kPeersMax] = {};  // by peer address; only the client's port differs
  std::uint32_t flows = 1;
  std::uint32_t mask = 0;
  std::uint32_t at = 0;
  std::uint32_t client_port_offset = 34;
  std::uint32_t ring_size = 0;  // a power of two, or 0
  std::uint32_t ring_at = 0;
  rte_mbuf* ring[kRingMax] = {};
};
constinit Direction directions[2] = {};  // start() runs before any dynamic initialisation

void store16(std::uint8_t* at, std::uint32_t value) {
  at[0] = static_cast<std::uint8_t>(value >> 8);
  at[1] = static_cast<std::uint8_t>(value);
}

Frame frame(bool reply, std::uint32_t peer) {
  const std::uint8_t client[4] = {10, 9, 0, 1};
  const std::uint8_t server[4] = {10, 9, 1, static_cast<std::uint8_t>(1 + peer)};
  Frame made{};
  std::uint8_t* b = made.bytes;
  const std::uint8_t gateway[6] = {0x02, 0xb1, 0xcb, 0xea, 0xd0, 0x01};
  const std::uint8_t own[6] = {0x02, 0, 0, 0, 0, static_cast<std::uint8_t>(reply ? 2 : 1)};
  std::memcpy(b, gateway, 6);
  std::memcpy(b + 6, own, 6);
  store16(b + 12, 0x0800);
  std::uint8_t* ip = b + 14;
  ip[0] = 0x45;
  store16(ip + 2, kFrameBytes - 14);
  store16(ip + 6, 0x4000);
  ip[8] = 64;
  ip[9] = 17;
  std::memcpy(ip + 12, reply ? server : client, 4);
  std::memcpy(ip + 16, reply ? client : server, 4);
  std::uint32_t sum = 0;
  for (int i = 0; i < 20; i += 2) sum += static_cast<std::uint32_t>(ip[i] << 8 | ip[i + 1]);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  store16(ip + 10, ~sum & 0xffff);
  std::uint8_t* udp = ip + 20;
  store16(udp + (reply ? 0 : 2), 9);
  store16(udp + 4, kFrameBytes - 34);
  return made;
}

/// What was just written waits in the ring; what was written one ring ago is handed out, described anew as a driver would.
std::uint16_t exchange(Direction& direction, rte_mbuf* packets[], std::uint16_t count) {
  std::uint16_t out = 0;
  rte_mbuf* ready[256];
  for (std::uint16_t i = 0; i < count && i < 256; ++i) {
    rte_mbuf*& place = direction.ring[direction.ring_at++ & (direction.ring_size - 1)];
    if (place != nullptr) {
      __builtin_prefetch(place, 1);
      ready[out++] = place;
    }
    place = packets[i];
  }
  for (std::uint16_t i = 0; i < out; ++i) {
    packets[i] = ready[i];
    packets[i]->pkt_len = packets[i]->data_len = kFrameBytes;
  }
  return out;
}

std::uint16_t fill(std::uint16_t, std::uint16_t, rte_mbuf* packets[], std::uint16_t count, std::uint16_t,
                   void* context) {
  auto& direction = *static_cast<Direction*>(context);
  for (std::uint16_t i = 0; i < count; ++i) {
    // Full period modulo a power of two (Hull and Dobell); values beyond the number of flows are folded back.
    direction.at = (direction.at * 1'664'525u + 1'013'904'223u) & direction.mask;
    const std::uint32_t flow = direction.at < direction.flows ? direction.at : direction.at - direction.flows;
    auto* bytes = rte_pktmbuf_mtod(packets[i], std::uint8_t*);
    std::memcpy(bytes, direction.frames[flow / kPortsEach].bytes, kFrameBytes);
    store16(bytes + direction.client_port_offset, 1024 + flow % kPortsEach);
  }
  return direction.ring_size == 0 ? count : exchange(direction, packets, count);
}

/// Ports appear when their program attaches them, so this looks for them as long as it runs.
void watch() {
  bool fed[RTE_MAX_ETHPORTS] = {};
  for (;;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    for (std::uint16_t port = 0; port < RTE_MAX_ETHPORTS; ++port) {  // owned ones too
      if (rte_eth_dev_is_valid_port(port) == 0) continue;
      char name[RTE_ETH_NAME_MAX_LEN];
      if (fed[port] || rte_eth_dev_get_name_by_port(port, name) != 0 ||
          std::strncmp(name, "net_null", 8) != 0)
        continue;
      // Refused until the device has its receive queues.
      if (rte_eth_add_rx_callback(port, 0, fill, &directions[name[8] == '1' ? 1 : 0]) == nullptr) continue;
      fed[port] = true;
    }
  }
}

[[gnu::constructor]] void start() {
  const char* text = std::getenv("BULKHEAD_FEEDER_FLOWS");
  const auto flows = static_cast<std::uint32_t>(text != nullptr ? std::strtoul(text, nullptr, 10) : 1000);
  text = std::getenv("BULKHEAD_FEEDER_RING");
  const auto ring =
      static_cast<std::uint32_t>(text != nullptr ? std::strtoul(text, nullptr, 10) : kRingDefault);
  for (int reply = 0; reply < 2; ++reply) {
    Direction& direction = directions[reply];
    direction.ring_size = ring == 0 ? 0 : std::bit_floor(ring < kRingMax ? ring : kRingMax);
    direction.flows = flows == 0 ? 1 : flows < kPortsEach * kPeersMax ? flows : kPortsEach * kPeersMax;
    direction.mask = std::bit_ceil(direction.flows) - 1;
    direction.client_port_offset = reply != 0 ? 36 : 34;
    for (std::uint32_t peer = 0; peer < kPeersMax; ++peer) direction.frames[peer] = frame(reply != 0, peer);
  }
  std::thread(watch).detach();
}

}  // namespace
