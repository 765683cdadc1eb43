// Keeping the data plane's ports as the sources wish them.
//
//   wish (source::Port) ── place ──► assignment (number, key) ──► attached ──► configured (addresses, routes)
//        └── absent: waiting, tried again each update()
//
// The order around a publication: update() attaches what is new (a port starts on hold and opens when the image
// names its key), then the caller publishes, then remove_unwanted() takes away what the enforced image no longer
// names. A port that is already there with the right key is left untouched, whichever process was restarted.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "controlplane/attach/assignments.h"
#include "controlplane/attach/place.h"
#include "controlplane/publish/channel.h"

namespace bulkhead::attach {

struct Options {
  std::string state_path;  // of the assignments
  config::Node node;
  config::Host host;  // without addresses: no host port
  std::optional<config::Uplink> uplink;
};

struct LocalPort {
  std::string endpoint_id;
  std::uint32_t port = 0;
  std::uint64_t key = 0;
  auto operator<=>(const LocalPort&) const = default;
};

struct Waiting {
  std::string name;  // "shop/web", "host", "uplink"
  std::uint32_t port = 0;
  std::string reason;
  std::chrono::steady_clock::time_point since;
};

/// Something that a person should read once.
struct Note {
  bool warning = false;
  std::string text;
};

class Ports {
 public:
  explicit Ports(Options options);

  /// A new connection: asks which ports there are. Throws ChannelError, RequestRefused.
  void connected(publish::Channel& channel);
  void disconnected();

  /// Brings the ports as near to the wishes as is possible now. Without a channel only numbers and keys are
  /// settled. True if what local() says changed. Throws ChannelError; a refusal makes the port wait instead.
  bool update(const source::Snapshot& snapshot, const netlink::Monitor& monitor, publish::Channel* channel);

  /// Detaches every port that no wish stands for. Call when the enforced image names none of them.
  void remove_unwanted(publish::Channel& channel);

  /// The data plane says that a port's device is gone: a new one gets a new key.
  void lost(std::uint32_t port, const std::string& reason);

  /// Of every endpoint that has a place, attached already or not. Sorted by id.
  std::vector<LocalPort> local() const;
  std::vector<Waiting> waiting() const;
  std::size_t attached() const;
  /// 0 where there is none.
  std::uint32_t host_port() const { return options_.host.addresses.empty() ? 0 : kHostPort; }

  /// What happened since the last call.
  std::vector<Note> take_notes() { return std::exchange(notes_, {}); }

 private:
  struct Berth {
    std::string name;
    abi::PortRole role = abi::kRoleEndpoint;
    source::Port wish;
    std::uint32_t port = 0;  // 0: no place yet
    std::uint64_t key = 0;
    policies::MacBytes mac{};
    bool placed = false;
    bool attached = false;
    bool configured = false;
    std::string reason;  // why not attached or configured
    std::chrono::steady_clock::time_point since{}, retry_at{};
    std::chrono::milliseconds backoff{0};
    std::chrono::steady_clock::time_point absent_since{};  // its place; zero: it is there
  };

  void wish(const std::string& id, const std::string& name, abi::PortRole role, const source::Port& port);
  void wish_host_and_uplink();
  void place(const std::string& id, Berth& berth, const netlink::Monitor& monitor, publish::Channel* channel);
  void attach(Berth& berth, publish::Channel& channel);
  void configure(Berth& berth);
  void wait(Berth& berth, std::string reason, bool back_off);
  void detach(std::uint32_t port, publish::Channel& channel);
  bool matches(const abi::PortInfo& info, const Berth& berth) const;
  abi::Attach request(const Berth& berth) const;

  Options options_;
  Assignments assignments_;
  std::map<std::string, Berth> berths_;             // by endpoint id
  std::map<std::uint32_t, abi::PortInfo> present_;  // of the data plane, as far as known
  std::vector<LocalPort> last_local_;
  std::vector<Note> notes_;
};

}  // namespace bulkhead::attach
