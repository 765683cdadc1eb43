#include "controlplane/attach/ports.h"

#include <algorithm>
#include <cstring>

#include "controlplane/netlink/configure.h"
#include "controlplane/netlink/socket.h"
#include "controlplane/source/static_file.h"

namespace bulkhead::attach {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kBackoffFirst{500};
constexpr std::chrono::milliseconds kBackoffMax{10'000};
constexpr std::chrono::milliseconds kPathGrace{1'000};
constexpr char kHostId[] = "\x01host";  // no source's id starts with a control character
constexpr char kUplinkId[] = "\x01uplink";

template <std::size_t N>
void copy_text(char (&to)[N], const std::string& from) {
  std::memset(to, 0, N);
  std::memcpy(to, from.data(), std::min(from.size(), N - 1));
}

abi::Address address_of(const std::optional<policies::AddressBytes>& address) {
  return address ? abi::Address{*address} : abi::Address{};
}

}  // namespace

Ports::Ports(Options options) : options_(std::move(options)), assignments_(options_.state_path) {
  if (!assignments_.warning().empty()) notes_.push_back({true, assignments_.warning()});
}

void Ports::connected(publish::Channel& channel) {
  present_.clear();
  for (const abi::PortInfo& info : channel.ports()) present_[info.port] = info;
  for (auto& [id, berth] : berths_) {
    berth.attached = false;
    berth.retry_at = {};
    berth.backoff = {};
  }
}

void Ports::disconnected() {
  present_.clear();
  for (auto& [id, berth] : berths_) berth.attached = berth.configured = false;
}

void Ports::wish(const std::string& id, const std::string& name, abi::PortRole role,
                 const source::Port& port) {
  Berth& berth = berths_[id];
  berth.name = name;
  berth.role = role;
  if (berth.wish != port) berth.configured = false;
  berth.wish = port;
}

void Ports::wish_host_and_uplink() {
  if (host_port() != 0) {
    source::Port port;
    port.interface_name = options_.host.interface_name;
    port.mtu = options_.host.mtu;
    port.mac = source::derived_mac("host/" + options_.node.name);
    port.addresses = options_.host.addresses;
    wish(kHostId, "host", abi::kRoleHost, port);
  }
  if (options_.uplink) {
    source::Port port;
    port.kind = abi::PortKind::kEthdev;
    port.device = options_.uplink->device;
    port.mtu = options_.uplink->mtu;
    wish(kUplinkId, "uplink", abi::kRoleUplink, port);
  }
}

void Ports::wait(Berth& berth, std::string reason, bool back_off) {
  const auto now = Clock::now();
  if (berth.reason.empty()) berth.since = now;
  if (berth.reason != reason) notes_.push_back({true, "port of " + berth.name + " waits: " + reason});
  berth.reason = std::move(reason);
  if (!back_off) return;
  berth.backoff = berth.backoff.count() == 0 ? kBackoffFirst : std::min(berth.backoff * 2, kBackoffMax);
  berth.retry_at = now + berth.backoff;
}

void Ports::place(const std::string& id, Berth& berth, const netlink::Monitor& monitor,
                  publish::Channel* channel) {
  auto resolved = resolve(berth.wish, monitor);
  if (const auto* absent = std::get_if<Absent>(&resolved)) {
    if (berth.wish.kind == abi::PortKind::kTap && !berth.attached) {
      if (const Assignment* assignment = assignments_.find(id)) {
        berth.port = assignment->port;
        berth.key = assignment->key;
        berth.mac = berth.wish.mac.value_or(policies::MacBytes{});
        const auto present = present_.find(berth.port);
        berth.placed = berth.attached = present != present_.end() && matches(present->second, berth);
      }
    }
    // The data plane's open tap keeps a namespace alive, so it is the path's end that ends the port. A path may be
    // replaced in two steps, which is no end.
    const auto now = Clock::now();
    if (berth.absent_since == Clock::time_point{}) berth.absent_since = now;
    if (berth.wish.kind == abi::PortKind::kTap && berth.attached && now < berth.absent_since + kPathGrace)
      return;
    if (channel != nullptr && present_.contains(berth.port)) {
      detach(berth.port, *channel);
      assignments_.renew(id);
    }
    berth.placed = berth.attached = berth.configured = false;
    wait(berth, absent->reason, false);
    return;
  }
  berth.absent_since = {};
  const Place& found = std::get<Place>(resolved);
  berth.mac = found.mac;
  berth.placed = true;
  if (berth.role != abi::kRoleEndpoint) {
    berth.port = berth.role == abi::kRoleHost ? kHostPort : kUplinkPort;
    return;
  }
  std::set<std::uint32_t> taken;
  for (const auto& [number, info] : present_) {
    taken.insert(number);
    if (assignments_.find(id) != nullptr || info.role != abi::kRoleEndpoint) continue;
    Berth candidate = berth;
    candidate.port = number;
    candidate.key = info.port_key;
    if (matches(info, candidate)) assignments_.adopt(id, found.text, number, info.port_key);
  }
  const Assignment* assignment = assignments_.at(id, found.text, taken);
  if (assignment == nullptr) {
    berth.placed = false;
    wait(berth, "all " + std::to_string(abi::kPortsMax - 1) + " port numbers are in use", true);
    return;
  }
  if (assignment->key != berth.key) berth.attached = berth.configured = false;
  berth.port = assignment->port;
  berth.key = assignment->key;
}

bool Ports::matches(const abi::PortInfo& info, const Berth& berth) const {
  if ((info.flags & abi::kPortLostDevice) != 0 || info.port != berth.port || info.role != berth.role ||
      info.kind != berth.wish.kind || info.port_key != berth.key) {
    return false;
  }
  if (berth.role == abi::kRoleUplink) {
    return info.device == berth.wish.device && info.vlan == options_.uplink->vlan;
  }
  if (info.mac.bytes != berth.mac) return false;
  switch (info.kind) {
    case abi::PortKind::kTap:
      return info.interface_name == berth.wish.interface_name && info.netns_path == berth.wish.netns_path;
    case abi::PortKind::kVeth:
      return info.interface_name == berth.wish.interface_name;
    case abi::PortKind::kEthdev:
      return info.device == berth.wish.device;
  }
  return false;
}

abi::Attach Ports::request(const Berth& berth) const {
  abi::Attach attach{};
  attach.port = berth.port;
  attach.kind = berth.wish.kind;
  attach.role = berth.role;
  attach.mtu = berth.wish.mtu;
  attach.port_key = berth.key;
  attach.mac.bytes = berth.mac;
  copy_text(attach.interface_name, berth.wish.interface_name);
  copy_text(attach.device, berth.wish.device);
  if (berth.wish.kind == abi::PortKind::kTap) copy_text(attach.netns_path, berth.wish.netns_path);
  if (berth.role == abi::kRoleUplink) {
    const config::Uplink& uplink = *options_.uplink;
    attach.vlan = uplink.vlan;
    attach.next_hop[0] = address_of(uplink.gateway_v4);
    attach.next_hop[1] = address_of(uplink.gateway_v6);
    attach.own[0] = address_of(uplink.address_v4);
    attach.own[1] = address_of(uplink.address_v6);
  }
  return attach;
}

void Ports::attach(Berth& berth, publish::Channel& channel) {
  const auto present = present_.find(berth.port);
  if (present != present_.end()) {
    if (matches(present->second, berth)) {
      berth.attached = true;
      return;
    }
    detach(berth.port, channel);
  }
  publish::Fd netns;
  if (berth.wish.kind == abi::PortKind::kTap) {
    auto opened = open_namespace(berth.wish.netns_path);
    if (const auto* absent = std::get_if<Absent>(&opened)) return wait(berth, absent->reason, true);
    netns = std::move(std::get<publish::Fd>(opened));
  }
  try {
    if (berth.wish.kind == abi::PortKind::kVeth) netlink::bring_up(berth.wish.interface_name);
    const abi::Attach asked = request(berth);
    const abi::AttachReply reply = channel.attach(asked, netns.get());
    abi::PortInfo info{};
    info.port = berth.port;
    info.kind = berth.wish.kind;
    info.role = berth.role;
    info.mtu = reply.mtu;
    info.port_key = berth.key;
    info.mac.bytes = berth.mac;
    info.vlan = asked.vlan;
    std::memcpy(info.interface_name, asked.interface_name, sizeof info.interface_name);
    std::memcpy(info.device, asked.device, sizeof info.device);
    std::memcpy(info.netns_path, asked.netns_path, sizeof info.netns_path);
    present_[berth.port] = info;
    berth.attached = true;
    notes_.push_back({false, "port " + std::to_string(berth.port) + " of " + berth.name + " is attached"});
  } catch (const publish::RequestRefused& refused) {
    wait(berth, std::string("the data plane refuses: ") + refused.what(), true);
  } catch (const netlink::Error& error) {
    wait(berth, error.what(), true);
  }
}

void Ports::configure(Berth& berth) {
  if (berth.wish.kind != abi::PortKind::kTap || berth.wish.addresses.empty()) {
    berth.configured = true;
  } else {
    netlink::Configuration wanted{berth.wish.interface_name, berth.wish.addresses, {}};
    if (berth.role == abi::kRoleEndpoint) {
      if (options_.node.gateway_v4) wanted.gateways.push_back(*options_.node.gateway_v4);
      if (options_.node.gateway_v6) wanted.gateways.push_back(*options_.node.gateway_v6);
    }
    auto opened = open_namespace(berth.wish.netns_path);
    if (const auto* absent = std::get_if<Absent>(&opened)) return wait(berth, absent->reason, true);
    try {
      const std::string note = netlink::configure(std::get<publish::Fd>(opened).get(), wanted);
      if (!note.empty()) notes_.push_back({true, berth.name + ": " + note});
      berth.configured = true;
    } catch (const netlink::Error& error) {
      return wait(berth, error.what(), true);
    }
  }
  berth.reason.clear();
  berth.backoff = {};
  berth.retry_at = {};
}

bool Ports::update(const source::Snapshot& snapshot, const netlink::Monitor& monitor,
                   publish::Channel* channel) {
  std::set<std::string> wished;
  wish_host_and_uplink();
  for (const source::Described& described : snapshot.endpoints) {
    if (!described.port) continue;
    const policies::Endpoint& endpoint = described.endpoint;
    wished.insert(endpoint.id);
    wish(endpoint.id, endpoint.namespace_name + "/" + endpoint.name, abi::kRoleEndpoint, *described.port);
  }
  std::erase_if(berths_, [&](const auto& item) {
    return item.second.role == abi::kRoleEndpoint && !wished.contains(item.first);
  });

  for (auto& [id, berth] : berths_) place(id, berth, monitor, channel);
  // Before any attach: a restart in between must find the keys that the ports were given.
  if (const auto wrong = assignments_.save()) {
    notes_.push_back({true, "port numbers are not kept across a restart: " + *wrong});
  }
  const auto now = Clock::now();
  for (auto& [id, berth] : berths_) {
    if (!berth.placed) continue;
    if (channel == nullptr) {
      if (berth.reason.empty()) berth.since = now;
      berth.reason = "the data plane is not connected";
      continue;
    }
    if (now < berth.retry_at) continue;
    if (!berth.attached) attach(berth, *channel);
    if (berth.attached && !berth.configured) configure(berth);
  }
  const std::vector<LocalPort> before = std::exchange(last_local_, local());
  return last_local_ != before;
}

void Ports::detach(std::uint32_t port, publish::Channel& channel) {
  try {
    channel.detach(port, true);
    notes_.push_back({false, "port " + std::to_string(port) + " is detached"});
  } catch (const publish::RequestRefused&) {
    // It is gone already: that is what was wanted.
  }
  present_.erase(port);
}

void Ports::remove_unwanted(publish::Channel& channel) {
  std::set<std::uint32_t> wanted;
  for (const auto& [id, berth] : berths_) wanted.insert(berth.port);
  std::vector<std::uint32_t> unwanted;
  for (const auto& [number, info] : present_) {
    if (!wanted.contains(number)) unwanted.push_back(number);
  }
  for (const std::uint32_t number : unwanted) detach(number, channel);

  std::vector<std::string> released;
  for (const auto& [id, assignment] : assignments_.all()) {
    if (!berths_.contains(id)) released.push_back(id);
  }
  for (const std::string& id : released) assignments_.release(id);
  if (const auto wrong = assignments_.save()) {
    notes_.push_back({true, "port numbers are not kept across a restart: " + *wrong});
  }
}

void Ports::lost(std::uint32_t port, const std::string& reason) {
  for (auto& [id, berth] : berths_) {
    if (berth.port != port) continue;
    berth.attached = berth.configured = false;
    if (berth.role == abi::kRoleEndpoint) assignments_.renew(id);
    wait(berth, "the data plane lost it: " + reason, false);
  }
  // It stays in present_, marked: the number is detached before it is used again.
  const auto found = present_.find(port);
  if (found != present_.end()) found->second.flags |= abi::kPortLostDevice;
}

std::vector<LocalPort> Ports::local() const {
  std::vector<LocalPort> result;
  for (const auto& [id, berth] : berths_) {
    if (berth.role == abi::kRoleEndpoint && berth.placed) result.push_back({id, berth.port, berth.key});
  }
  return result;
}

std::vector<Waiting> Ports::waiting() const {
  std::vector<Waiting> result;
  for (const auto& [id, berth] : berths_) {
    if (!berth.reason.empty()) result.push_back({berth.name, berth.port, berth.reason, berth.since});
  }
  return result;
}

std::size_t Ports::attached() const {
  return static_cast<std::size_t>(
      std::count_if(berths_.begin(), berths_.end(), [](const auto& item) { return item.second.attached; }));
}

}  // namespace bulkhead::attach
