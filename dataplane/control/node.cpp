#include "dataplane/control/node.h"

#include <fcntl.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "dataplane/worker/precedence.h"

namespace bulkhead::control {
namespace {

template <typename T>
T taken(std::variant<T, std::string> made) {
  if (const auto* reason = std::get_if<std::string>(&made)) throw std::runtime_error(*reason);
  return std::move(std::get<T>(made));
}

flow::Memory flow_memory(const Options& options) {
  flow::MemoryOptions wanted;
  wanted.run_directory = options.run_dir;
  wanted.hugepage_directory = find_huge_dir(options);
  wanted.flows_max = options.flows_max;
  auto opened = flow::open_memory(wanted);
  if (const auto* error = std::get_if<flow::MemoryError>(&opened)) throw std::runtime_error(error->reason);
  return std::move(std::get<flow::Memory>(opened));
}

bool terminated(const char* text, std::size_t bytes) {
  return std::memchr(text, '\0', bytes) != nullptr;
}

const char* device_of(const abi::Attach& request) {
  return request.kind == abi::PortKind::kEthdev ? request.device : request.interface_name;
}

/// "net_null0" of "net_null0,size=64".
std::string_view device_name(const abi::Attach& request) {
  const std::string_view device = device_of(request);
  return request.kind == abi::PortKind::kEthdev ? device.substr(0, device.find(',')) : device;
}

/// Whether two requests ask for the same port. Neither's strings need an end.
bool same_attach(const abi::Attach& one, const abi::Attach& other) {
  const auto same = [](const auto& a, const auto& b) { return strncmp(a, b, sizeof a) == 0; };
  return one.port == other.port && one.kind == other.kind && one.role == other.role && one.mtu == other.mtu &&
         one.port_key == other.port_key && one.mac == other.mac && one.vlan == other.vlan &&
         same(one.interface_name, other.interface_name) && same(one.device, other.device) &&
         std::equal(one.next_hop, one.next_hop + 2, other.next_hop) &&
         std::equal(one.own, one.own + 2, other.own);
}

}  // namespace

Node::Node(const Options& options, const Eal& eal)
    : options_(options),
      eal_(eal),
      state_(options.run_dir),
      trouble_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      telemetry_(taken(telemetry::Region::create(options.workers))),
      flow_memory_(flow_memory(options)),
      flows_(flow_memory_.bytes(), flow::table_options(options.flows_max, options.workers), take_up_),
      publisher_(options.workers) {
  if (!flow_memory_.notice().empty()) spdlog::warn("flow table: {}", flow_memory_.notice());
  if (take_up_.adopted)
    spdlog::info("flow table {}: {} flows taken up again", flow_memory_.path(), take_up_.restored);
  else
    spdlog::info("flow table {}: new, for {} flows ({})", flow_memory_.path(), flows_.flows_max(),
                 take_up_.reason);
  const worker::Environment environment{publisher_,        ports_,        flows_, telemetry_, eal_.pools,
                                        options_.timeouts, trouble_.get()};
  for (std::uint32_t index = 0; index < options_.workers; ++index)
    workers_.push_back(std::make_unique<worker::Worker>(environment, index));
  restore();
}

Node::~Node() {
  for (auto& worker : workers_) worker->stop();
  rte_eal_mp_wait_lcore();
}

void Node::start() {
  std::uint32_t index = 0;
  unsigned lcore;
  RTE_LCORE_FOREACH_WORKER(lcore) {
    rte_eal_remote_launch(
        [](void* worker) {
          if (const std::string refused = worker::take_precedence(); !refused.empty())
            spdlog::warn("a worker has no more weight than containers on its processor: {}", refused);
          static_cast<worker::Worker*>(worker)->run();
          return 0;
        },
        workers_[index++].get(), lcore);
  }
}

/// What the process before this one had. A port that cannot be opened again is left to the control plane.
void Node::restore() {
  std::string reason;
  if (auto enforced = state_.load_image(reason)) {
    spdlog::info("image of generation {} taken up again, digest {}", enforced->generation,
                 image::hex(enforced->digest));
    publisher_.publish(std::move(enforced));
  } else if (!reason.empty()) {
    spdlog::error("last image not taken up: {}; nothing is forwarded until the next one", reason);
  }
  for (const SavedPort& saved : state_.load_ports()) {
    if (const std::string wrong = check(saved.request, saved.netns); !wrong.empty()) {
      spdlog::warn("a saved port is not taken up again: {}", wrong);
      continue;
    }
    const Fd netns(
        saved.request.netns_path[0] == '\0' ? -1 : open(saved.request.netns_path, O_RDONLY | O_CLOEXEC));
    std::string failed;
    if (netns_id(netns.get()) != saved.netns)
      failed = std::string("namespace ") + saved.request.netns_path + " is gone or another one";
    else
      failed = open_port(saved.request, netns.get(), saved.netns);
    if (!failed.empty())
      spdlog::warn("port {} ({}) not taken up again: {}", saved.request.port, device_of(saved.request),
                   failed);
  }
  save_ports();
}

Reply Node::handle(Request& request) {
  switch (request.type) {
    case abi::MessageType::kHello:
      return hello();
    case abi::MessageType::kOffer:
      return offer(request);
    case abi::MessageType::kSwap:
      return swap(request);
    case abi::MessageType::kAmend:
      return amend(request);
    case abi::MessageType::kAttach:
      return attach(request);
    case abi::MessageType::kDetach:
      return detach(*static_cast<const abi::Detach*>(request.message));
    case abi::MessageType::kPorts:
      return list_ports(*static_cast<const abi::PortsRequest*>(request.message));
    case abi::MessageType::kImage:
      return image(*static_cast<const abi::ImageRequest*>(request.message));
    case abi::MessageType::kRegions:
      return regions();
    default:
      return Reply::error("unknown request");
  }
}

Reply Node::hello() {
  abi::HelloReply reply{};
  reply.pid = static_cast<std::uint64_t>(getpid());
  reply.started_ms = telemetry_.started_ms();
  if (const swap::Enforced* enforced = publisher_.enforced()) {
    reply.generation = enforced->generation;
    std::memcpy(reply.digest, enforced->digest.bytes, sizeof reply.digest);
  }
  reply.workers = options_.workers;
  reply.ports = static_cast<std::uint32_t>(attached_.size());
  reply.flows_max = flows_.flows_max();
  reply.hugepages = eal_.hugepages && flow_memory_.hugepages() ? 1 : 0;
  reply.flows_restored = static_cast<std::uint32_t>(take_up_.restored);
  return Reply::of(reply);
}

/// Empty if `request` may be opened; nothing in it is trusted before.
std::string Node::check(const abi::Attach& request, NetnsId netns) const {
  if (request.port == 0 || request.port >= abi::kPortsMax)
    return "port number " + std::to_string(request.port) + ": expected 1 to " +
           std::to_string(abi::kPortsMax - 1);
  if (!terminated(request.interface_name, sizeof request.interface_name) ||
      !terminated(request.device, sizeof request.device) ||
      !terminated(request.netns_path, sizeof request.netns_path))
    return "a name without an end";
  if (request.role != abi::kRoleEndpoint && request.role != abi::kRoleHost &&
      request.role != abi::kRoleUplink)
    return "unknown role of a port";
  if (device_of(request)[0] == '\0') return "port " + std::to_string(request.port) + " has no device";
  if (request.mtu != 0 && (request.mtu < 68 || request.mtu > 65'535))
    return "MTU " + std::to_string(request.mtu) + ": expected 68 to 65535";
  if (request.vlan > 4094) return "VLAN " + std::to_string(request.vlan) + ": expected 0 to 4094";
  if (request.kind == abi::PortKind::kVeth && request.vlan != 0)
    return "VLAN " + std::to_string(request.vlan) +
           " on a veth: the kernel takes tags off before we see them";
  if (request.role == abi::kRoleEndpoint && request.kind != abi::PortKind::kTap && request.mac == abi::Mac{})
    return "port " + std::to_string(request.port) + " has no MAC: expected the endpoint's";
  for (const SavedPort& other : attached_) {
    if (other.request.port == request.port)
      return "port " + std::to_string(request.port) + " is attached already";
    if (other.request.kind == request.kind && other.netns == netns &&
        device_name(other.request) == device_name(request))
      return std::string(device_name(request)) + " is attached already, as port " +
             std::to_string(other.request.port);
    if (other.request.role == request.role && request.role != abi::kRoleEndpoint)
      return "there is already a port of this role: " + std::to_string(other.request.port);
  }
  return {};
}

Reply Node::attach(Request& request) {
  const auto& wanted = *static_cast<const abi::Attach*>(request.message);
  const int netns = request.fds.empty() ? -1 : request.fds[0].get();
  const NetnsId id = netns_id(netns);
  const auto known = std::find_if(attached_.begin(), attached_.end(),
                                  [&](const SavedPort& saved) { return saved.request.port == wanted.port; });
  abi::AttachReply reply{};
  if (known != attached_.end()) {
    if (known->netns != id || !same_attach(known->request, wanted))
      return Reply::error("port " + std::to_string(wanted.port) + " is attached to " +
                          device_of(known->request) + ": detach it first");
    reply.already = 1;
  } else {
    std::string failed = check(wanted, id);
    if (failed.empty()) failed = open_port(wanted, netns, id);
    if (!failed.empty()) return Reply::error(failed);
    save_ports();
    spdlog::info("port {} attached: {}", wanted.port, device_of(wanted));
  }
  const port::Port& port = *ports_.at(wanted.port);
  reply.port = port.number();
  reply.mtu = port.mtu();
  reply.mac = port.mac();
  return Reply::of(reply);
}

std::string Node::open_port(const abi::Attach& request, int netns, NetnsId id) {
  if (request.kind == abi::PortKind::kTap) closer_.wait_for({id, request.interface_name});
  auto opened = port::Port::open(request, netns, options_.workers, eal_.pools);
  if (const auto* reason = std::get_if<std::string>(&opened)) return *reason;
  auto port = std::move(std::get<std::unique_ptr<port::Port>>(opened));
  port->worker = port->number() % options_.workers;
  port::Port& published = *port;
  ports_.put(std::move(port));
  if (swap::Enforced* enforced = publisher_.enforced()) open_named_ports(*enforced);
  if (published.queues() > 1) {
    for (auto& worker : workers_) worker->add(published);
  } else {
    workers_[published.worker]->add(published);
  }
  attached_.push_back({request, id, id != NetnsId{} && netns_id(request.netns_path) == id});
  return {};
}

void Node::close_port(std::uint32_t number, bool remove_device) {
  if (swap::Enforced* enforced = publisher_.enforced())
    enforced->endpoint_of_port[number].store(0, std::memory_order_relaxed);
  std::unique_ptr<port::Port> port = ports_.take(number);
  for (auto& worker : workers_)
    if (port->queues() > 1 || port->worker == static_cast<std::uint32_t>(&worker - workers_.data()))
      worker->remove(*port);
  publisher_.synchronize();
  if (remove_device) port->remove_device_on_close();
  port->lower_fence_on_close();
  const auto saved = std::find_if(attached_.begin(), attached_.end(),
                                  [number](const SavedPort& one) { return one.request.port == number; });
  if (Fd tap(port->release_tap()); tap.get() >= 0)
    closer_.close(std::move(tap), {saved->netns, saved->request.interface_name});
  attached_.erase(saved);
}

Reply Node::detach(const abi::Detach& request) {
  if (request.port >= abi::kPortsMax || ports_.at(request.port) == nullptr)
    return Reply::error("port " + std::to_string(request.port) + " is not attached");
  close_port(request.port, request.remove_device != 0);
  save_ports();
  spdlog::info("port {} detached", request.port);
  return Reply::of(abi::Empty{});
}

/// A tap's fd keeps the namespace alive that it was opened in, and the device with it: that the container has left shows
/// only at the namespace's path, where there was one.
std::string Node::what_is_gone(const SavedPort& saved) const {
  if (!ports_.at(saved.request.port)->exists()) return device_of(saved.request);
  if (saved.path_leads && netns_id(saved.request.netns_path) != saved.netns)
    return std::string("namespace ") + saved.request.netns_path;
  return {};
}

std::vector<abi::PortLost> Node::look_after_ports() {
  std::uint64_t drained;
  [[maybe_unused]] const ssize_t bytes = read(trouble_.get(), &drained, sizeof drained);
  std::vector<abi::PortLost> lost;
  std::vector<SavedPort> suspects = attached_;
  for (const SavedPort& saved : suspects) {
    port::Port& port = *ports_.at(saved.request.port);
    const std::string gone = what_is_gone(saved);
    if (gone.empty()) {
      if (port.trouble() == port::Trouble::kNone) continue;
      // It was only down: its worker, which has turned away from it, looks at it again.
      port.report(port::Trouble::kNone);
      workers_[port.worker]->remove(port);
      workers_[port.worker]->add(port);
      continue;
    }
    abi::PortLost event{};
    event.header = {abi::kMessageMagic, abi::kVersion, abi::MessageType::kPortLost, 0, 0, sizeof event, 0};
    event.port = port.number();
    std::snprintf(event.reason, sizeof event.reason, "%s is gone", gone.c_str());
    spdlog::warn("port {} lost: {}", event.port, event.reason);
    close_port(event.port, false);
    lost.push_back(event);
  }
  if (!lost.empty()) save_ports();
  return lost;
}

Reply Node::list_ports(const abi::PortsRequest& request) {
  abi::PortsReply reply{};
  for (std::uint32_t number = request.from; number < abi::kPortsMax; ++number) {
    const port::Port* port = ports_.at(number);
    if (port == nullptr) continue;
    if (reply.count == abi::kPortsPerReply) {
      reply.next = number;
      break;
    }
    abi::PortInfo& info = reply.ports[reply.count++];
    const abi::Attach& attach = port->request();
    const swap::Enforced* enforced = publisher_.enforced();
    const bool open = enforced != nullptr &&
                      (port->role() != abi::kRoleEndpoint || enforced->endpoint_of_port[number] != 0);
    info.port = number;
    info.kind = port->kind();
    info.role = port->role();
    info.flags = (open ? abi::kPortOpen : 0u) | (port->offload() ? abi::kPortOffload : 0u);
    info.mtu = port->mtu();
    info.worker = port->worker;
    info.port_key = attach.port_key;
    info.mac = port->mac();
    info.vlan = attach.vlan;
    std::memcpy(info.interface_name, attach.interface_name, sizeof info.interface_name);
    std::memcpy(info.device, attach.device, sizeof info.device);
    std::memcpy(info.netns_path, attach.netns_path, sizeof info.netns_path);
  }
  return Reply::of(reply);
}

Reply Node::regions() {
  abi::RegionsReply reply{};
  reply.telemetry_bytes = telemetry_.bytes();
  reply.flow_table_bytes = flow_memory_.bytes().size();
  return Reply::of(reply, {telemetry_.fd(), flow_memory_.read_only_fd()});
}

void Node::save_ports() {
  if (const std::string reason = state_.save_ports(attached_); !reason.empty())
    spdlog::error("ports are attached but not saved for a restart: {}", reason);
}

}  // namespace bulkhead::control
