// Unaligned reads and writes of network byte order, and the small arithmetic that headers need.
//
// No bounds are checked here: callers have compared lengths before.
#pragma once

#include <array>
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

/// Whether a 20-byte IPv4 header's checksum is right: whether the one's complement sum of its 16-bit words is
/// 0xffff (RFC 1071). That is to say, whether the header as a number is a multiple of 65535, since 2^16, 2^32
/// and 2^64 all leave 1; and an odd divisor is tested by one multiplication with its inverse. The version is
/// for the caller: 20 zeros pass.
inline bool header_sums_up(const std::uint8_t* at) {
  constexpr std::uint64_t kDivisor = 0xffff, kInverse = [] {
    std::uint64_t inverse = kDivisor;  // right in the low 3 bits; each step doubles them
    for (int step = 0; step < 5; ++step) inverse *= 2 - kDivisor * inverse;
    return inverse;
  }();
  static_assert(kDivisor * kInverse == 1);
  const std::uint64_t first = load_raw64(at), second = load_raw64(at + 8), last = load_raw32(at + 16);
  std::uint64_t sum = first + second;
  const std::uint64_t rest = last + std::uint64_t{sum < second};
  sum += rest;
  sum += std::uint64_t{sum < rest};
  return sum * kInverse <= ~std::uint64_t{0} / kDivisor;
}

/// 1 where an IPv4 address with this first byte needs a closer look: this-network 0/8, loopback 127/8,
/// 169/8 for its link-local part, and 224/3 for multicast and reserved ones.
inline constexpr std::array<std::uint8_t, 256> kRemarkableV4 = [] {
  std::array<std::uint8_t, 256> remarkable{};
  for (std::size_t byte = 0; byte < 256; ++byte)
    remarkable[byte] = byte == 0 || byte == 127 || byte == 169 || byte >= 224;
  return remarkable;
}();

}  // namespace bulkhead::packet
