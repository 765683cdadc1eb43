// The ends of a question, as people write them: who, and on which port.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/image/query.h"
#include "tools/ctl/print.h"

namespace bulkhead::ctl {

std::string address_text(const abi::Address& address);
/// IPv4 or IPv6 as inet_pton(3) reads them; a mapped IPv6 address is the IPv4 address it maps.
std::optional<abi::Address> parse_address(const std::string& text);

/// "shop/web", "host" for the node, "web" where there is no namespace; "" for endpoint 0.
std::string endpoint_name(const image::View& view, std::uint32_t endpoint);

/// Every endpoint of the image, by namespace and name, the node last.
std::vector<std::uint32_t> endpoints_by_name(const image::View& view);

/// The endpoint that owns `address` by name, else the address itself, "host" for the node's.
std::string name_of(const image::View& view, const abi::Address& address);

/// {"id", "namespace", "labels"}; null for identity 0.
Value identity_value(const image::View& view, std::uint32_t number);

/// Somebody who sends or receives, by every address a packet of theirs can bear.
struct End {
  std::string name;                     // for people: "shop/web", "192.0.2.1", "host", "world"
  std::vector<abi::Address> addresses;  // at least one
};

/// `namespace/name`, a `name` that only one endpoint has, an address, `host` (the node), or `world` (an
/// outside address as most of them are judged). Failure(kExitUsage) names the nearest endpoint.
End resolve_end(const image::View& view, const std::string& text);

struct Port {
  image::ProtocolSlot slot = image::kTcp;
  std::uint16_t number = 0;
};

/// `tcp/443`, `443/TCP`, `icmp/8`, `icmp` and `icmpv6` (echo request), `proto/47` or a number alone after
/// `proto`. Failure(kExitUsage) says what was expected.
Port parse_port(const std::string& text);

std::string_view protocol_name(image::ProtocolSlot slot);
/// By IANA number: "tcp", "icmpv6", "proto 47".
std::string protocol_name(std::uint8_t protocol);
std::string port_text(const Port& port);

}  // namespace bulkhead::ctl
