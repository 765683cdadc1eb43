#include "policies/model/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>

namespace bulkhead::policies {
namespace {

constexpr std::array<std::uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr int kMappedBits = 96;

/// inet_pton takes neither leading zeros nor short forms for IPv4, and no zones for IPv6.
std::optional<AddressBytes> parse_family(int family, std::string_view text) {
  char buffer[INET6_ADDRSTRLEN];
  if (text.empty() || text.size() >= sizeof buffer || text.find('\0') != std::string_view::npos)
    return std::nullopt;
  std::memcpy(buffer, text.data(), text.size());
  buffer[text.size()] = '\0';
  AddressBytes address{};
  std::uint8_t* target = address.data();
  if (family == AF_INET) target = std::copy(kMappedPrefix.begin(), kMappedPrefix.end(), target);
  if (inet_pton(family, buffer, target) != 1) return std::nullopt;
  return address;
}

bool equal_prefix(const AddressBytes& a, const AddressBytes& b, int bits) {
  const int whole = bits / 8;
  if (std::memcmp(a.data(), b.data(), static_cast<std::size_t>(whole)) != 0) return false;
  const int rest = bits % 8;
  return rest == 0 ||
         ((a[static_cast<std::size_t>(whole)] ^ b[static_cast<std::size_t>(whole)]) >> (8 - rest)) == 0;
}

}  // namespace

bool is_v4(const AddressBytes& address) {
  return std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), address.begin());
}

std::optional<AddressBytes> parse_address(std::string_view text) {
  if (text.find(':') == std::string_view::npos) return parse_family(AF_INET, text);
  const auto address = parse_family(AF_INET6, text);
  if (!address || is_v4(*address)) return std::nullopt;
  return address;
}

std::string format(const AddressBytes& address) {
  char buffer[INET6_ADDRSTRLEN];
  const bool v4 = is_v4(address);
  inet_ntop(v4 ? AF_INET : AF_INET6, address.data() + (v4 ? kMappedPrefix.size() : 0), buffer, sizeof buffer);
  return buffer;
}

std::optional<AddressBlock> parse_block(std::string_view text, bool* host_bits) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto address = parse_address(text.substr(0, slash));
  if (!address) return std::nullopt;
  const std::string_view digits = text.substr(slash + 1);
  if (digits.empty() || digits.size() > 3 || (digits.size() > 1 && digits[0] == '0')) return std::nullopt;
  int prefix = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), prefix);
  if (error != std::errc{} || end != digits.data() + digits.size() || digits[0] == '-') return std::nullopt;
  const bool v4 = is_v4(*address);
  if (prefix > (v4 ? 32 : 128)) return std::nullopt;

  AddressBlock block{*address, static_cast<std::uint8_t>(prefix + (v4 ? kMappedBits : 0))};
  for (std::size_t i = 0; i < block.base.size(); ++i) {
    const int kept = std::clamp(block.prefix_bits - static_cast<int>(i) * 8, 0, 8);
    block.base[i] &= static_cast<std::uint8_t>(0xff00 >> kept);
  }
  if (host_bits != nullptr) *host_bits = block.base != *address;
  // An IPv6 block must not be able to name the mapped range: that range is how IPv4 is held.
  if (!v4 && is_v4(block.base)) return std::nullopt;
  return block;
}

std::string format(const AddressBlock& block) {
  return format(block.base) + "/" + std::to_string(block.prefix_bits - (block.is_v4() ? kMappedBits : 0));
}

AddressBlock block_of(const AddressBytes& address) {
  return {address, 128};
}

bool contains(const AddressBlock& outer, const AddressBlock& inner) {
  return outer.prefix_bits <= inner.prefix_bits && outer.is_v4() == inner.is_v4() &&
         equal_prefix(outer.base, inner.base, outer.prefix_bits);
}

bool AddressBlock::is_v4() const {
  return prefix_bits >= kMappedBits && bulkhead::policies::is_v4(base);
}

bool AddressBlock::contains(const AddressBytes& address) const {
  return bulkhead::policies::is_v4(address) == is_v4() && equal_prefix(base, address, prefix_bits);
}

bool IpBlock::contains(const AddressBytes& address) const {
  return block.contains(address) &&
         std::none_of(except.begin(), except.end(), [&](const auto& hole) { return hole.contains(address); });
}

std::optional<MacBytes> parse_mac(std::string_view text) {
  MacBytes mac{};
  if (text.size() != 17) return std::nullopt;
  for (std::size_t i = 0; i < mac.size(); ++i) {
    const char* first = text.data() + i * 3;
    if (i > 0 && first[-1] != ':') return std::nullopt;
    const auto [end, error] = std::from_chars(first, first + 2, mac[i], 16);
    if (error != std::errc{} || end != first + 2) return std::nullopt;
  }
  return mac;
}

std::string format(const MacBytes& mac) {
  char buffer[18];
  std::snprintf(buffer, sizeof buffer, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
                mac[4], mac[5]);
  return buffer;
}

std::string_view name(Protocol protocol) {
  constexpr std::string_view kNames[kProtocolCount] = {"tcp", "udp", "sctp", "icmp", "icmpv6", "other"};
  return kNames[static_cast<std::size_t>(protocol)];
}

}  // namespace bulkhead::policies
