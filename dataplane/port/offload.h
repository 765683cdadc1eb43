// The virtio-net header (OASIS virtio 1.2, section 5.1.6) against the mbuf's transmit flags.
//
// A container's kernel hands us packets whose checksum is partial (the pseudo-header's sum is in the field)
// and TCP that is not segmented yet. Between two ports that both speak virtio-net this passes through
// untouched; elsewhere the worker finishes it.
#pragma once

#include <rte_mbuf.h>

#include <cstdint>

namespace bulkhead::port {

/// struct virtio_net_hdr, little-endian. <linux/virtio_net.h> is no C++: it names a field `class`.
struct VnetHeader {
  std::uint8_t flags;
  std::uint8_t gso_type;
  std::uint16_t hdr_len;
  std::uint16_t gso_size;
  std::uint16_t csum_start;
  std::uint16_t csum_offset;
};
inline constexpr std::uint32_t kVnetBytes = sizeof(VnetHeader);
static_assert(kVnetBytes == 10);

inline constexpr std::uint8_t kVnetNeedsChecksum = 1;
enum VnetGso : std::uint8_t { kGsoNone = 0, kGsoTcp4 = 1, kGsoTcp6 = 4, kGsoUdpL4 = 5, kGsoEcn = 0x80 };

/// False if the header contradicts the packet (offsets outside the first segment, unknown segmentation): drop
/// it.
bool read_vnet(const VnetHeader& header, rte_mbuf* packet);
void write_vnet(const rte_mbuf* packet, VnetHeader& header);

}  // namespace bulkhead::port
