// What the control plane is told at its start: one YAML file, read once, strictly.
//
//   run_directory: /run/bulkhead            sockets
//   state_directory: /var/lib/bulkhead      what must survive a restart
//   sources:
//     static: {path: endpoints.yaml}        who exists; watched
//   policies: {directory: policies}         *.yaml, *.yml, *.json in it; watched
//   mesh:                                   what AuthorizationPolicies take for granted
//     trust_domain: cluster.local
//     root_namespace: istio-system
//   node:
//     name: node1                           the host name by default
//     posture: deny                         or allow: the answer where no policy speaks
//     strict: false                         true: Kubernetes endpoints follow the posture too
//     gateways: [10.88.0.1, "fd88::1"]      what containers use as their gateway; answered by the data plane
//   host:                                   the port to the node and, through its kernel, to the outside
//     interface: bulkhead0
//     addresses: [10.88.0.1/16, "fd88::1/64"]
//     mtu: 1500
//   uplink:                                 optional: a DPDK device to the outside
//     device: "0000:01:00.0"
//     vlan: 100
//     gateways: [192.0.2.1]
//     addresses: [192.0.2.10]
//   image_bytes_max: 64MiB                  of each section of the image
//   debounce_ms: 20                         how long the world must be quiet before a compile
//   limits: {endpoints_max: 10000, file_bytes_max: 16MiB}
//
// Every field has a default but `node.gateways` and `host.addresses`, which may be left out only together:
// then containers reach each other and nothing else. Relative paths start at the file's own directory.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "policies/load/error.h"
#include "policies/model/address.h"

namespace bulkhead::config {

/// An address with the length of its network, counted in its own family's bits.
struct InterfaceAddress {
  policies::AddressBytes address{};
  std::uint8_t prefix_bits = 0;  // IPv4: of 32, IPv6: of 128
  auto operator<=>(const InterfaceAddress&) const = default;
};

struct Node {
  std::string name;
  policies::Posture posture;
  std::optional<policies::AddressBytes> gateway_v4;
  std::optional<policies::AddressBytes> gateway_v6;
};

struct Host {
  std::string interface_name = "bulkhead0";
  std::vector<InterfaceAddress> addresses;
  std::uint32_t mtu = 0;  // 0: the device's own
};

struct Uplink {
  std::string device;
  std::uint16_t vlan = 0;
  std::uint32_t mtu = 0;
  std::optional<policies::AddressBytes> gateway_v4, gateway_v6;
  std::optional<policies::AddressBytes> address_v4, address_v6;
};

struct Config {
  std::string run_directory = "/run/bulkhead";
  std::string state_directory = "/var/lib/bulkhead";
  std::string endpoints_path;
  std::string policies_directory;
  policies::Mesh mesh;
  Node node;
  Host host;
  std::optional<Uplink> uplink;
  std::uint64_t image_bytes_max = std::uint64_t{64} << 20;
  std::uint32_t debounce_ms = 20;
  std::uint32_t endpoints_max = 10'000;
  std::uint64_t file_bytes_max = std::uint64_t{16} << 20;
};

/// The whole configuration, or everything that is wrong with it.
std::variant<Config, std::vector<policies::Error>> load(const std::string& path);

/// As load(), of a text that is called `path` in messages.
std::variant<Config, std::vector<policies::Error>> parse(const std::string& path, std::string_view text);

}  // namespace bulkhead::config
