// One address type for both families, so that every table, message and record has one key shape.
//
// An IPv4 address is held in its IPv4-mapped form ::ffff:a.b.c.d (RFC 4291, section 2.5.5.2). The bytes are
// in network order. A mapped address that arrives *inside an IPv6 packet* is malformed and never reaches a
// table (packet/ drops it).
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace bulkhead::abi {

/// 16 bytes, network order; trivially copyable, usable as a map key and inside shared memory.
struct Address {
  std::array<std::uint8_t, 16> bytes{};

  auto operator<=>(const Address&) const = default;

  /// In two words: what std::array has is a call of memcmp, and this is on every packet's way.
  constexpr bool operator==(const Address& other) const {
    if (std::is_constant_evaluated()) return bytes == other.bytes;
    std::uint64_t mine[2], others[2];
    std::memcpy(mine, bytes.data(), sizeof mine);
    std::memcpy(others, other.bytes.data(), sizeof others);
    return ((mine[0] ^ others[0]) | (mine[1] ^ others[1])) == 0;
  }

  bool is_v4() const {
    static constexpr std::uint8_t kPrefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return std::memcmp(bytes.data(), kPrefix, sizeof kPrefix) == 0;
  }
};
static_assert(sizeof(Address) == 16);

/// From an IPv4 address in host byte order: 0x0a000001 is 10.0.0.1.
inline Address address_v4(std::uint32_t host_order) {
  Address address;
  address.bytes[10] = address.bytes[11] = 0xff;
  for (int i = 0; i < 4; ++i) address.bytes[12 + i] = static_cast<std::uint8_t>(host_order >> (24 - 8 * i));
  return address;
}

/// The IPv4 address in host byte order; only meaningful where is_v4().
inline std::uint32_t host_order_v4(const Address& address) {
  const auto& b = address.bytes;
  return std::uint32_t{b[12]} << 24 | std::uint32_t{b[13]} << 16 | std::uint32_t{b[14]} << 8 | b[15];
}

/// An Ethernet address, network order.
struct Mac {
  std::array<std::uint8_t, 6> bytes{};
  auto operator<=>(const Mac&) const = default;
};
static_assert(sizeof(Mac) == 6);

}  // namespace bulkhead::abi
