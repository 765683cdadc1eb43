// Cutting an IPv4 packet without DF into fragments (RFC 791, section 3.2). Also one that is a fragment
// itself.
//
// Transport checksums must be complete before (complete_partial). IPv6 is never fragmented by a router.
#pragma once

#include <cstdint>

#include "dataplane/forward/checksum.h"
#include "dataplane/packet/packet.h"

namespace bulkhead::forward {

/// Ethernet with a tag, IPv4 header with 40 bytes of options.
inline constexpr std::uint32_t kFragmentHeaderBytesMax = 18 + 60;

struct FragmentPlan {
  const std::uint8_t* frame;
  packet::Parsed parsed;
  std::uint32_t payload_bytes;       // of the packet
  std::uint32_t first_header_bytes;  // from the frame's start, with all options
  std::uint32_t later_header_bytes;  // with the options that are copied (their first bit is set)
  std::uint32_t first_bytes;         // payload of the first fragment
  std::uint32_t later_bytes;         // of each further one but the last
  std::uint32_t count;

  std::uint32_t header_bytes(std::uint32_t index) const {
    return index == 0 ? first_header_bytes : later_header_bytes;
  }
};

/// `mtu`: layer 3 bytes of the way out, at least 68. False where the packet must not be cut: IPv6, DF, or an
/// MTU below that. `frame` must outlive the plan; its IP header is readable, as parse() has seen.
bool plan_fragments(const std::uint8_t* frame, const packet::Parsed& parsed, std::uint32_t mtu,
                    FragmentPlan& plan);

/// The payload of fragment `index` < plan.count.
inline Cut fragment_cut(const FragmentPlan& plan, std::uint32_t index) {
  const std::uint32_t done = index == 0 ? 0 : plan.first_bytes + (index - 1) * plan.later_bytes;
  const std::uint32_t room = index == 0 ? plan.first_bytes : plan.later_bytes;
  const std::uint32_t left = plan.payload_bytes - done;
  return {plan.first_header_bytes + done, left < room ? left : room};
}

/// Writes plan.header_bytes(index) to `out`: Ethernet and tag as in the frame, the IPv4 header with its
/// checksum.
void write_fragment_headers(const FragmentPlan& plan, std::uint32_t index, std::uint8_t* out);

}  // namespace bulkhead::forward
