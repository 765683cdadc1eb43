#include "dataplane/forward/reset.h"

#include <cstring>

#include "dataplane/forward/checksum.h"
#include "dataplane/forward/rewrite.h"
#include "dataplane/packet/bytes.h"

namespace bulkhead::forward {

using packet::load_be32;
using packet::store_be16;
using packet::store_be32;

namespace {

constexpr std::uint32_t kEthernetBytes = 14, kTcpBytes = 20;
constexpr std::uint8_t kHopLimit = 64, kTcp = 6;
constexpr std::uint8_t kFin = 1, kSyn = 2, kRst = 4, kAck = 16;

struct Segment {
  std::uint32_t sequence = 0, acknowledged = 0;
  std::uint8_t flags = kRst;
};

/// What the segment takes of the sequence space (RFC 9293, section 3.4: SEG.LEN).
std::uint32_t length_of(const std::uint8_t* tcp, const packet::Parsed& parsed) {
  const std::uint32_t header_bytes = (tcp[12] >> 4) * 4u;
  const std::uint32_t bytes = parsed.l3_bytes - (parsed.l4_offset - parsed.l3_offset);
  return (bytes > header_bytes ? bytes - header_bytes : 0) + ((parsed.tcp_flags & kSyn) != 0) +
         ((parsed.tcp_flags & kFin) != 0);
}

Segment answer_to(const std::uint8_t* tcp, const packet::Parsed& parsed, Toward toward) {
  const std::uint32_t sequence = load_be32(tcp + 4), acknowledged = load_be32(tcp + 8);
  const bool acknowledges = (parsed.tcp_flags & kAck) != 0;
  if (toward == Toward::kReceiver) {
    const std::uint32_t next = sequence + ((parsed.tcp_flags & kSyn) != 0 ? 1 : 0);
    if (acknowledges) return {next, acknowledged, kRst | kAck};
    return {next, 0, kRst};
  }
  if (acknowledges) return {acknowledged, 0, kRst};
  return {0, sequence + length_of(tcp, parsed), kRst | kAck};
}

/// Returns the bytes of layer 3 and 4.
std::uint32_t write_headers(bool v4, const abi::Address& source, const abi::Address& destination,
                            std::uint8_t* ip) {
  if (v4) {
    std::memset(ip, 0, 20);
    ip[0] = 0x45;
    store_be16(ip + 2, 20 + kTcpBytes);
    store_be16(ip + 6, 0x4000);  // DF
    ip[8] = kHopLimit;
    ip[9] = kTcp;
    std::memcpy(ip + 12, source.bytes.data() + 12, 4);
    std::memcpy(ip + 16, destination.bytes.data() + 12, 4);
    store_ipv4_checksum(ip);
    return 20;
  }
  store_be32(ip, 0x6000'0000);
  store_be16(ip + 4, kTcpBytes);
  ip[6] = kTcp;
  ip[7] = kHopLimit;
  std::memcpy(ip + 8, source.bytes.data(), 16);
  std::memcpy(ip + 24, destination.bytes.data(), 16);
  return 40;
}

}  // namespace

bool owes_reset(const packet::Parsed& parsed, Toward toward) {
  if (parsed.kind != packet::Kind::kFlow || parsed.protocol != kTcp || parsed.fragment_offset != 0)
    return false;
  return toward == Toward::kReceiver || (parsed.tcp_flags & kRst) == 0;
}

std::uint32_t build_reset(const std::uint8_t* frame, const packet::Parsed& parsed, Toward toward,
                          const abi::Mac& own_mac, const abi::Mac& peer_mac, std::uint8_t* reset) {
  const bool v4 = (parsed.flags & packet::kIpv4) != 0;
  const bool back = toward == Toward::kSender;
  const abi::Address& source = back ? parsed.destination : parsed.source;
  const abi::Address& destination = back ? parsed.source : parsed.destination;
  set_macs(reset, peer_mac, own_mac);
  store_be16(reset + 12, v4 ? 0x0800 : 0x86dd);
  std::uint8_t* ip = reset + kEthernetBytes;
  const std::uint32_t ip_bytes = write_headers(v4, source, destination, ip);

  const Segment segment = answer_to(frame + parsed.l4_offset, parsed, toward);
  std::uint8_t* tcp = ip + ip_bytes;
  std::memset(tcp, 0, kTcpBytes);
  store_be16(tcp, back ? parsed.destination_port : parsed.source_port);
  store_be16(tcp + 2, back ? parsed.source_port : parsed.destination_port);
  store_be32(tcp + 4, segment.sequence);
  store_be32(tcp + 8, segment.acknowledged);
  tcp[12] = kTcpBytes / 4 << 4;
  tcp[13] = segment.flags;
  packet::store_raw16(tcp + 16,
                      finish(sum_bytes(tcp, kTcpBytes) + pseudo_sum(source, destination, kTcp, kTcpBytes)));
  return kEthernetBytes + ip_bytes + kTcpBytes;
}

}  // namespace bulkhead::forward
