#include "dataplane/forward/checksum.h"

#include <algorithm>

namespace bulkhead::forward {

using packet::load_raw16;
using packet::load_raw32;
using packet::load_raw64;

namespace {

// Carries of 64-bit additions are caught in the high half's count: adding 32-bit halves into two 64-bit sums
// cannot overflow below 16 GB.
struct Halves {
  std::uint64_t low = 0, high = 0;
  void add(std::uint64_t word) {
    low += word & 0xffff'ffff;
    high += word >> 32;
  }
  std::uint64_t total() const { return low + high; }
};

/// A sum that starts at an odd offset: its bytes change places (RFC 1071, section 2(B)).
std::uint64_t swapped(std::uint64_t sum) {
  return __builtin_bswap16(fold(sum));
}

/// Calls visit(data, bytes, packet offset) for each contiguous piece of the stretch.
template <typename Visit>
void each_piece(std::span<const Range> ranges, std::uint32_t offset, std::uint32_t bytes, Visit visit) {
  const std::uint64_t end = std::uint64_t{offset} + bytes;
  std::uint64_t at = 0;
  for (const Range& range : ranges) {
    const std::uint64_t from = std::max<std::uint64_t>(at, offset);
    const std::uint64_t to = std::min<std::uint64_t>(at + range.bytes, end);
    if (from < to) visit(range.data + (from - at), static_cast<std::uint32_t>(to - from), from - offset);
    at += range.bytes;
    if (at >= end) break;
  }
}

}  // namespace

std::uint64_t sum_bytes(const std::uint8_t* data, std::uint32_t bytes) {
  Halves even, odd;
  for (; bytes >= 32; data += 32, bytes -= 32) {
    even.add(load_raw64(data));
    odd.add(load_raw64(data + 8));
    even.add(load_raw64(data + 16));
    odd.add(load_raw64(data + 24));
  }
  for (; bytes >= 8; data += 8, bytes -= 8) even.add(load_raw64(data));
  std::uint64_t sum = even.total() + odd.total();
  if (bytes >= 4) {
    sum += load_raw32(data);
    data += 4;
    bytes -= 4;
  }
  if (bytes >= 2) {
    sum += load_raw16(data);
    data += 2;
    bytes -= 2;
  }
  return bytes != 0 ? sum + *data : sum;
}

std::uint64_t sum_ranges(std::span<const Range> ranges, std::uint32_t offset, std::uint32_t bytes) {
  std::uint64_t sum = 0;
  each_piece(ranges, offset, bytes, [&](const std::uint8_t* data, std::uint32_t piece, std::uint64_t at) {
    const std::uint64_t part = sum_bytes(data, piece);
    sum += (at & 1) != 0 ? swapped(part) : part;
  });
  return sum;
}

std::uint64_t copy_and_sum(std::span<const Range> ranges, std::uint32_t offset, std::uint32_t bytes,
                           std::uint8_t* out) {
  std::uint64_t sum = 0;
  each_piece(ranges, offset, bytes, [&](const std::uint8_t* data, std::uint32_t piece, std::uint64_t at) {
    std::memcpy(out + at, data, piece);
    const std::uint64_t part = sum_bytes(out + at, piece);
    sum += (at & 1) != 0 ? swapped(part) : part;
  });
  return sum;
}

std::uint64_t pseudo_sum(const abi::Address& source, const abi::Address& destination, std::uint8_t protocol,
                         std::uint32_t transport_bytes) {
  // IPv4's pseudo header has a 16-bit length and IPv6's a 32-bit one: the sum is the same.
  const bool v4 = source.is_v4();
  const std::uint32_t skip = v4 ? 12 : 0;
  return sum_bytes(source.bytes.data() + skip, 16 - skip) +
         sum_bytes(destination.bytes.data() + skip, 16 - skip) + (std::uint64_t{protocol} << 8) +
         __builtin_bswap32(transport_bytes);
}

void store_ipv4_checksum(std::uint8_t* header) {
  packet::store_raw16(header + 10, 0);
  packet::store_raw16(header + 10, finish(sum_bytes(header, (header[0] & 0xfu) << 2)));
}

bool partial_fits(const packet::Parsed& parsed, std::uint32_t start, std::uint32_t offset) {
  if (parsed.kind == packet::Kind::kDrop || parsed.kind == packet::Kind::kArp || start != parsed.l4_offset ||
      parsed.fragment_offset != 0 || start + offset + 2 > parsed.l3_offset + parsed.l3_bytes)
    return false;
  switch (parsed.protocol) {
    case 1:   // ICMP
    case 58:  // ICMPv6
      return offset == 2;
    case 6:  // TCP
      return offset == 16;
    case 17:   // UDP
    case 136:  // UDP-Lite
      return offset == 6;
    default:
      return false;
  }
}

bool complete_partial(std::span<const Range> ranges, std::uint32_t start, std::uint32_t offset,
                      std::uint32_t end) {
  const std::uint64_t field = std::uint64_t{start} + offset;
  if (start >= end || field + 2 > end) return false;
  std::uint8_t* field_at = nullptr;
  std::uint64_t at = 0;
  for (const Range& range : ranges) {
    if (field >= at && field + 2 <= at + range.bytes) field_at = range.data + (field - at);
    at += range.bytes;
  }
  if (field_at == nullptr || at < end) return false;
  packet::store_raw16(field_at, finish_udp(sum_ranges(ranges, start, end - start)));
  return true;
}

}  // namespace bulkhead::forward
