// Unaligned reads and writes of network byte order, and the small arithmetic that headers need.
//
// No bounds are checked here: callers have compared lengths before.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace bulkhead::packet {

static_assert(std::endian::native == std::endian::little, "raw loads below assume it");

inline std::uint16_t load_raw16(const std::uint8_t* at) {
  std::uint16_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

inline std::uint32_t load_raw32(const std::uint8_t* at) {
  std::uint32_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

inline std::uint64_t load_raw64(const std::uint8_t* at) {
  std::uint64_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

inline std::uint16_t load_be16(const std::uint8_t* at) {
  return __builtin_bswap16(load_raw16(at));
}

inline std::uint32_t load_be32(const std::uint8_t* at) {
  return __builtin_bswap32(load_raw32(at));
}

inline void store_raw16(std::uint8_t* at, std::uint16_t value) {
  std::memcpy(at, &value, sizeof value);
}

inline void store_be16(std::uint8_t* at, std::uint32_t value) {
  store_raw16(at, __builtin_bswap16(static_cast<std::uint16_t>(value)));
}

inline void store_be32(std::uint8_t* at, std::uint32_t value) {
  value = __builtin_bswap32(value);
  std::memcpy(at, &value, sizeof value);
}

/// The mapped form of an IPv4 address whose four bytes were loaded raw.
inline void store_address_v4(std::uint8_t* at, std::uint32_t raw) {
  const std::uint64_t low = std::uint64_t{raw} << 32 | 0xffff'0000u;
  std::memset(at, 0, 8);
  std::memcpy(at + 8, &low, sizeof low);
}

/// One's complement sum of a 20-byte IPv4 header, folded to 16 bits: 0xffff where its checksum is right
/// (RFC 1071; the sum does not depend on the byte order).
inline std::uint32_t header_sum20(const std::uint8_t* at) {
  const std::uint64_t first = load_raw64(at), second = load_raw64(at + 8);
  std::uint64_t sum =
      (first & 0xffff'ffff) + (first >> 32) + (second & 0xffff'ffff) + (second >> 32) + load_raw32(at + 16);
  sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint32_t>((sum & 0xffff) + (sum >> 16));
}

/// 1 where an IPv4 address with this first byte needs a closer look: this-network 0/8, loopback 127/8,
/// 169/8 for its link-local part, and 224/3 for multicast and reserved ones.
inline std::uint32_t remarkable_v4(std::uint32_t first_byte) {
  return std::uint32_t{first_byte - 1 >= 223u} | std::uint32_t{first_byte == 127} |
         std::uint32_t{first_byte == 169};
}

}  // namespace bulkhead::packet
