// Sources say who exists; they never say what may be done.
//
// A source hands out whole snapshots: everything it knows at one moment, already checked. Until its first
// good one it is not *synced*, and nothing is published before every configured source is. When it cannot
// read its world, or what it reads is wrong, the snapshot before stays and the source reports why and since
// when.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/config/config.h"
#include "dataplane/abi/messages.h"
#include "policies/load/error.h"
#include "policies/model/address.h"
#include "policies/model/cluster.h"

namespace bulkhead::source {

/// How an endpoint shall be connected to the data plane.
struct Port {
  abi::PortKind kind = abi::PortKind::kTap;
  std::string interface_name;  // tap: the name it gets in its namespace; veth: the node's end of the pair
  std::string device;          // ethdev
  std::string
      netns_path;  // tap: where it goes, empty: the node's own; veth: where the other end is, if known
  std::optional<policies::MacBytes> mac;
  std::uint32_t mtu = 0;                            // 0: the device's own
  std::vector<config::InterfaceAddress> addresses;  // tap: assigned in the namespace

  bool operator==(const Port&) const = default;
};

struct Described {
  policies::Endpoint endpoint;
  std::optional<Port> port;  // none: known to policy, but not connected here
};

struct Snapshot {
  std::vector<policies::Namespace> namespaces;
  std::vector<Described> endpoints;
};

/// How a source stands; for status.
struct Health {
  bool synced = false;
  std::chrono::steady_clock::time_point read_at{};  // of the last good reading
  std::vector<policies::Error> errors;              // of the newest reading
  std::vector<policies::Error> warnings;            // of the last good reading: they refuse nothing
};

}  // namespace bulkhead::source
