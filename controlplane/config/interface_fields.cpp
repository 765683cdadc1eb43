#include "controlplane/config/interface_fields.h"

#include <net/if.h>

#include <charconv>

#include "policies/load/nearest.h"

namespace bulkhead::config {

std::optional<MaybePrefixed> interface_address(const policies::Value& value) {
  const auto text = value.text();
  if (!text) return std::nullopt;
  const auto slash = text->find('/');
  const auto address = policies::parse_address(std::string_view(*text).substr(0, slash));
  if (!address) {
    value.fail("found " + policies::quoted(*text) +
               ", expected an address such as 10.88.0.10/16 or \"fd88::10/64\"");
    return std::nullopt;
  }
  MaybePrefixed result{*address, std::nullopt};
  if (slash == std::string::npos) return result;
  const int bits_max = policies::is_v4(*address) ? 32 : 128;
  int bits = 0;
  const char* first = text->data() + slash + 1;
  const char* last = text->data() + text->size();
  const auto [end, error] = std::from_chars(first, last, bits);
  if (first == last || error != std::errc{} || end != last || bits < 1 || bits > bits_max) {
    value.fail("found " + policies::quoted(*text) + ", expected a prefix length of 1 to " +
               std::to_string(bits_max));
    return std::nullopt;
  }
  result.prefix_bits = static_cast<std::uint8_t>(bits);
  return result;
}

std::optional<std::string> interface_name(const policies::Value& value) {
  auto text = value.nonempty_text();
  if (!text) return std::nullopt;
  const bool odd = text->find_first_of("/: \t\n\r\f\v") != std::string::npos;
  if (text->size() >= IFNAMSIZ || odd || *text == "." || *text == "..") {
    value.fail("found " + policies::quoted(*text) +
               ", expected an interface name: 1 to 15 bytes without '/', ':' or spaces");
    return std::nullopt;
  }
  return text;
}

std::uint32_t mtu(const policies::Value& value) {
  return static_cast<std::uint32_t>(value.integer(kMtuMin, kMtuMax).value_or(0));
}

}  // namespace bulkhead::config
