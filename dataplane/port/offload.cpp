#include "dataplane/port/offload.h"

#include <rte_ether.h>

namespace bulkhead::port {
namespace {

constexpr std::uint16_t kTcpChecksum =
    16;  // offset of the field in a TCP header (RFC 9293), likewise for UDP (RFC 768)
constexpr std::uint16_t kUdpChecksum = 6;
constexpr std::uint16_t kTcpBytesMin = 20;
constexpr std::uint16_t kUdpBytes = 8;
constexpr std::uint8_t kTcpCwr = 0x80;

}  // namespace

bool read_vnet(const VnetHeader& header, rte_mbuf* packet) {
  const bool partial = (header.flags & kVnetNeedsChecksum) != 0;
  const std::uint8_t gso = header.gso_type & static_cast<std::uint8_t>(~kGsoEcn);
  if (!partial) return gso == kGsoNone;  // segmentation always comes with a partial checksum
  const std::uint16_t start = header.csum_start;
  if (start < sizeof(rte_ether_hdr) + 20 || start > 256 || start + header.csum_offset + 2u > packet->data_len)
    return false;

  packet->l2_len = sizeof(rte_ether_hdr);
  packet->l3_len = start - sizeof(rte_ether_hdr);
  const bool tcp = header.csum_offset == kTcpChecksum;
  if (tcp)
    packet->ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM;
  else if (header.csum_offset == kUdpChecksum)
    packet->ol_flags |= RTE_MBUF_F_TX_UDP_CKSUM;
  else
    return false;
  const auto* bytes = rte_pktmbuf_mtod(packet, const std::uint8_t*);
  packet->ol_flags |= (bytes[14] >> 4) == 4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6;
  if (gso == kGsoNone) return true;

  if (header.gso_size == 0) return false;
  packet->tso_segsz = header.gso_size;
  if ((gso == kGsoTcp4 || gso == kGsoTcp6) && tcp) {
    if (start + kTcpBytesMin > packet->data_len) return false;
    const auto tcp_bytes = static_cast<std::uint16_t>((bytes[start + 12] >> 4) * 4);
    if (tcp_bytes < kTcpBytesMin || start + tcp_bytes > packet->data_len) return false;
    packet->l4_len = tcp_bytes;
    packet->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
    return true;
  }
  if (gso == kGsoUdpL4 && !tcp) {
    packet->l4_len = kUdpBytes;
    packet->ol_flags |= RTE_MBUF_F_TX_UDP_SEG;
    return true;
  }
  return false;
}

void write_vnet(const rte_mbuf* packet, VnetHeader& header) {
  header = {};
  if ((packet->ol_flags & RTE_MBUF_F_TX_L4_MASK) == 0) return;
  const bool tcp = (packet->ol_flags & RTE_MBUF_F_TX_L4_MASK) == RTE_MBUF_F_TX_TCP_CKSUM;
  header.flags = kVnetNeedsChecksum;
  header.csum_start = static_cast<std::uint16_t>(packet->l2_len + packet->l3_len);
  header.csum_offset = tcp ? kTcpChecksum : kUdpChecksum;
  const std::uint64_t segment = packet->ol_flags & (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG);
  if (segment == 0) return;
  header.gso_size = packet->tso_segsz;
  header.hdr_len = static_cast<std::uint16_t>(header.csum_start + packet->l4_len);
  if ((segment & RTE_MBUF_F_TX_TCP_SEG) != 0) {
    header.gso_type = (packet->ol_flags & RTE_MBUF_F_TX_IPV4) != 0 ? kGsoTcp4 : kGsoTcp6;
    if ((rte_pktmbuf_mtod(packet, const std::uint8_t*)[header.csum_start + 13] & kTcpCwr) != 0)
      header.gso_type |= kGsoEcn;
  } else {
    header.gso_type = kGsoUdpL4;
  }
}

}  // namespace bulkhead::port
