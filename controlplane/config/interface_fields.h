// Fields about network interfaces, read alike in the configuration and in endpoints.yaml.
#pragma once

#include <optional>
#include <string>

#include "controlplane/config/config.h"
#include "policies/load/fields.h"

namespace bulkhead::config {

inline constexpr std::uint32_t kMtuMin = 576;  // RFC 791; an interface with IPv6 needs 1280 (RFC 8200)
inline constexpr std::uint32_t kMtuMax = 9000;

/// "10.88.0.10/16" or "10.88.0.10"; without a length `prefix_bits` is empty. Nothing, reported, if neither.
struct MaybePrefixed {
  policies::AddressBytes address{};
  std::optional<std::uint8_t> prefix_bits;
};
std::optional<MaybePrefixed> interface_address(const policies::Value& value);

/// A name that the kernel takes for an interface: 1 to 15 bytes without '/', ':' and white space.
std::optional<std::string> interface_name(const policies::Value& value);

/// 0 where absent: the device's own.
std::uint32_t mtu(const policies::Value& value);

}  // namespace bulkhead::config
