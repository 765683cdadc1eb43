// The static source: `endpoints.yaml`, written by people.
//
//   namespaces:                              optional; only needed to give one labels
//     - {name: shop, labels: {team: retail}}
//   endpoints:
//     - name: web
//       namespace: shop                      `default` if left out
//       labels: {app: web}
//       addresses: [10.88.0.10/16, "fd88::10/64"]
//       ports:                               names that policies may use
//         - {name: http, port: 80, protocol: TCP}
//       kubernetes: false                    true: open until a policy isolates it
//       serviceAccount: web                  optional: its account within its namespace
//       port:                                left out: kind none
//         kind: tap                          tap, veth, ethdev or none
//         netns: /run/netns/web              or  pid: 1234
//         interface: eth0                    tap: made there; veth: the node's end, which exists
//         mac: 02:00:00:00:00:10             left out: derived (tap), looked up (veth)
//         mtu: 1500
//         prefix: 16                         for addresses written without a length
//         device: net_null0                  ethdev only
//
// An address without a length and without `prefix` takes the length of the host port's network that it lies
// in, else it stands alone (/32 or /128).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "controlplane/source/source.h"

namespace bulkhead::source {

struct StaticOptions {
  std::vector<config::InterfaceAddress> host_addresses;  // of the host port
  std::size_t endpoints_max = 10'000;
  std::size_t file_bytes_max = std::size_t{16} << 20;
};

/// A whole snapshot or all that is wrong. `file` is how messages call the text.
std::variant<Snapshot, std::vector<policies::Error>> parse_static(const std::string& file,
                                                                  std::string_view text,
                                                                  const StaticOptions& options = {});

/// A watched endpoints.yaml: its last good snapshot and how it stands.
class StaticFile {
 public:
  StaticFile(std::string path, StaticOptions options)
      : path_(std::move(path)), options_(std::move(options)) {}

  /// Reads the file again. True if there is a new good snapshot (different bytes from the last good ones).
  bool reload();

  const std::string& path() const { return path_; }
  const Snapshot& snapshot() const { return snapshot_; }
  const Health& health() const { return health_; }

 private:
  std::string path_;
  StaticOptions options_;
  std::string text_;  // of the last good reading
  Snapshot snapshot_;
  Health health_;
};

/// A locally administered unicast address (IEEE 802, section 8.2.2) that depends on the id alone: a container
/// keeps its address when either process restarts.
policies::MacBytes derived_mac(std::string_view endpoint_id);

}  // namespace bulkhead::source
