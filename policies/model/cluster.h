// Who exists: the namespaces, nodes and endpoints that policies speak about, as a source saw them at one
// moment.
//
// Plain values, no behaviour. Sources fill them, the compiler and the oracle read them. An endpoint is
// anything with an identity of its own: a Kubernetes pod, a Docker container, an ECS task, an entry of
// endpoints.yaml.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace bulkhead::policies {

/// Sorted, so that equal sets have equal encodings.
using Labels = std::map<std::string, std::string>;

/// 16 bytes in network order; IPv4 in its mapped form ::ffff:a.b.c.d. The same bytes as the data plane's
/// addresses.
using AddressBytes = std::array<std::uint8_t, 16>;

enum class Protocol : std::uint8_t { kTcp, kUdp, kSctp, kIcmp, kIcmpV6, kOther };
inline constexpr int kProtocolCount = 6;

struct NamedPort {
  std::string name;
  Protocol protocol = Protocol::kTcp;
  std::uint16_t port = 0;
  auto operator<=>(const NamedPort&) const = default;
};

struct Namespace {
  std::string name;
  Labels labels;  // Kubernetes adds kubernetes.io/metadata.name: sources that are not Kubernetes add it too
};

struct Node {
  std::string name;
  Labels labels;
  std::vector<AddressBytes> addresses;
};

struct Endpoint {
  std::string id;  // the source's stable id (container id, pod UID); unique, never reused
  std::string namespace_name;
  std::string name;  // unique within its namespace
  Labels labels;
  std::string node;                     // empty: the node that compiles
  std::vector<AddressBytes> addresses;  // no two endpoints share one, host-network pods excepted
  std::vector<NamedPort> ports;
  bool kubernetes = false;           // follows Kubernetes: open until a policy isolates it
  bool host_network = false;         // shares its node's addresses: neither subject nor peer of pod selectors
  std::string service_account = {};  // within its namespace; empty: it has none, and no principal either
};

struct Cluster {
  std::vector<Namespace> namespaces;
  std::vector<Node> nodes;
  std::vector<Endpoint> endpoints;
};

}  // namespace bulkhead::policies
