// Internet checksums (RFC 1071, 1624) over bytes that may lie in several places.
#pragma once

#include <cstdint>
#include <span>

#include "dataplane/abi/address.h"
#include "dataplane/packet/bytes.h"
#include "dataplane/packet/packet.h"

namespace bulkhead::forward {

/// A piece of a packet; a packet is the concatenation of its ranges. Pieces may have any length, also odd.
struct Range {
  std::uint8_t* data;
  std::uint32_t bytes;
};

/// A stretch of a packet's payload: offset from the frame's start.
struct Cut {
  std::uint32_t offset;
  std::uint32_t bytes;
};

/// Folds a sum to 16 bits, never zero for a sum that is not.
inline std::uint16_t fold(std::uint64_t sum) {
  sum = (sum & 0xffff'ffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>((sum & 0xffff) + (sum >> 16));
}

/// What goes into a checksum field, stored raw.
inline std::uint16_t finish(std::uint64_t sum) {
  return static_cast<std::uint16_t>(~fold(sum));
}

/// The same for UDP, where zero means "none" and its other form stands for it (RFC 768).
inline std::uint16_t finish_udp(std::uint64_t sum) {
  const std::uint16_t value = finish(sum);
  return value == 0 ? std::uint16_t{0xffff} : value;
}

/// One's complement sum of contiguous bytes; an odd last byte is padded with zero. Sums may be added to each
/// other where they start at even offsets.
std::uint64_t sum_bytes(const std::uint8_t* data, std::uint32_t bytes);

/// Sum of `bytes` from `offset` of a packet, as if they started at an even offset. Bytes beyond the ranges
/// count as zero.
std::uint64_t sum_ranges(std::span<const Range> ranges, std::uint32_t offset, std::uint32_t bytes);

/// The same while copying them to `out`. Returns the sum; copies less where the ranges end.
std::uint64_t copy_and_sum(std::span<const Range> ranges, std::uint32_t offset, std::uint32_t bytes,
                           std::uint8_t* out);

/// Pseudo header of both families (RFC 9293, RFC 8200 section 8.1).
std::uint64_t pseudo_sum(const abi::Address& source, const abi::Address& destination, std::uint8_t protocol,
                         std::uint32_t transport_bytes);

/// Computes and stores the checksum of the IPv4 header at `header`.
void store_ipv4_checksum(std::uint8_t* header);

/// A one's complement checksum field after one 16-bit word changed (RFC 1624, equation 3); all raw.
inline std::uint16_t adjust(std::uint16_t checksum, std::uint16_t before, std::uint16_t after) {
  return static_cast<std::uint16_t>(~fold(std::uint64_t{static_cast<std::uint16_t>(~checksum)} +
                                          static_cast<std::uint16_t>(~before) + after));
}

/// Whether a sender's request to finish a checksum is about the transport header of this packet. A container
/// may name any place in its virtio-net header; writing there after the verdict, here or in the receiver's
/// kernel, could change the addresses that were judged. Whoever does not fit is to be dropped.
bool partial_fits(const packet::Parsed& parsed, std::uint32_t start, std::uint32_t offset);

/// Finishes what Linux calls CHECKSUM_PARTIAL and virtio VIRTIO_NET_HDR_F_NEEDS_CSUM: the field at
/// start + offset holds the pseudo header's sum, and all from `start` to `end` (the packet's own end, frame
/// padding excluded) is to be added. A result of zero is stored as 0xffff. False, and nothing written, if the
/// field does not lie inside or is torn between two ranges.
bool complete_partial(std::span<const Range> ranges, std::uint32_t start, std::uint32_t offset,
                      std::uint32_t end);

}  // namespace bulkhead::forward
