// Cutting a super-packet into the segments its sender meant (TSO and USO done in software), IPv4 and IPv6.
//
// A container's kernel hands over up to 64 KB with one set of headers and the payload bytes of a segment
// (virtio-net's gso_size). Where the way out cannot take that, each segment gets headers of its own: IPv4
// identification counts up, TCP's sequence number advances, CWR stays on the first, FIN and PSH on the last,
// lengths and checksums are complete.
#pragma once

#include <cstdint>

#include "dataplane/forward/checksum.h"
#include "dataplane/packet/packet.h"

namespace bulkhead::forward {

struct SegmentPlan {
  const std::uint8_t* frame;
  packet::Parsed parsed;
  std::uint32_t header_bytes;   // from the frame's start to the payload; the same for every segment
  std::uint32_t payload_bytes;  // of the whole super-packet
  std::uint32_t segment_bytes;  // payload of each segment but the last
  std::uint32_t count;          // at least 1

  /// Layer 3 bytes of the largest segment, to be compared with the MTU.
  std::uint32_t l3_bytes_max() const {
    const std::uint32_t payload = payload_bytes < segment_bytes ? payload_bytes : segment_bytes;
    return header_bytes - parsed.l3_offset + payload;
  }
};

/// False where the packet cannot be cut: neither TCP nor UDP, a fragment, headers not readable, or
/// `segment_bytes` zero. `frame` must outlive the plan.
bool plan_segments(const std::uint8_t* frame, std::uint32_t readable, const packet::Parsed& parsed,
                   std::uint32_t segment_bytes, SegmentPlan& plan);

/// The payload of segment `index` < plan.count.
inline Cut segment_cut(const SegmentPlan& plan, std::uint32_t index) {
  const std::uint32_t done = index * plan.segment_bytes;
  const std::uint32_t left = plan.payload_bytes - done;
  return {plan.header_bytes + done, left < plan.segment_bytes ? left : plan.segment_bytes};
}

/// Writes plan.header_bytes to `out` (Ethernet and 802.1Q as in the frame). `payload_sum` is sum_ranges() or
/// copy_and_sum() of the segment's cut.
void write_segment_headers(const SegmentPlan& plan, std::uint32_t index, std::uint64_t payload_sum,
                           std::uint8_t* out);

}  // namespace bulkhead::forward
