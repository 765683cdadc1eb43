// Addresses and address blocks as text, strictly: what one reader could take for another address is refused.
//
// An IPv4 address is four decimal numbers without leading zeros (some readers take 010 for 8). IPv6 follows
// RFC 4291, section 2.2, without zones; the IPv4-mapped form ::ffff:a.b.c.d is refused, because it would name
// an IPv4 address by an IPv6 text. Output is canonical (RFC 5952).
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "policies/model/policy.h"

namespace bulkhead::policies {

using MacBytes = std::array<std::uint8_t, 6>;

std::optional<AddressBytes> parse_address(std::string_view text);
std::string format(const AddressBytes& address);
bool is_v4(const AddressBytes& address);

/// "10.0.0.0/8", "2001:db8::/32". The prefix length is required. Host bits are cleared; where `host_bits` is
/// given it is set to whether any were.
std::optional<AddressBlock> parse_block(std::string_view text, bool* host_bits = nullptr);
std::string format(const AddressBlock& block);

/// Of one address: a /32 or /128.
AddressBlock block_of(const AddressBytes& address);

/// True where every address of `inner` lies in `outer`; equal blocks contain each other.
bool contains(const AddressBlock& outer, const AddressBlock& inner);

/// Six pairs of hexadecimal digits, separated by colons.
std::optional<MacBytes> parse_mac(std::string_view text);
std::string format(const MacBytes& mac);

/// "tcp", "udp", "sctp", "icmp", "icmpv6", "other".
std::string_view name(Protocol protocol);

}  // namespace bulkhead::policies
