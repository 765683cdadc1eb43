#include "controlplane/attach/place.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cerrno>
#include <cstring>

#include "controlplane/netlink/configure.h"

namespace bulkhead::attach {
namespace {

std::variant<std::string, Absent> namespace_identity(const std::string& path) {
  if (path.empty()) return std::string("node");
  struct stat status {};
  struct statfs system {};
  if (::stat(path.c_str(), &status) != 0 || ::statfs(path.c_str(), &system) != 0) {
    return Absent{"network namespace " + path + ": " + std::strerror(errno)};
  }
  // `ip netns add` makes an empty file first and mounts the namespace on it a moment later.
  if (system.f_type != NSFS_MAGIC) return Absent{path + " is no network namespace"};
  return std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino);
}

std::variant<Place, Absent> resolve_veth(const source::Port& port, const netlink::Monitor& monitor) {
  const netlink::Interface* interface = monitor.find(port.interface_name);
  if (interface == nullptr) return Absent{"interface " + port.interface_name + " does not exist"};
  Place place{"veth:" + port.interface_name + "#" + std::to_string(interface->index), {}};
  if (port.mac) {
    place.mac = *port.mac;
    return place;
  }
  if (interface->peer_index == 0) {
    return Absent{"interface " + port.interface_name + " is no veth pair: write the endpoint's `mac:`"};
  }
  publish::Fd netns;
  if (interface->peer_elsewhere) {
    if (port.netns_path.empty()) {
      return Absent{"the other end of " + port.interface_name +
                    " is in another namespace: write its `netns:`, or the endpoint's `mac:`"};
    }
    auto opened = open_namespace(port.netns_path);
    if (auto* absent = std::get_if<Absent>(&opened)) return *absent;
    netns = std::move(std::get<publish::Fd>(opened));
  }
  const auto peer = netlink::interface_by_index(netns.get(), interface->peer_index);
  if (!peer) {
    return Absent{"the other end of " + port.interface_name + " is not in " +
                  (port.netns_path.empty() ? "the node's namespace" : port.netns_path)};
  }
  place.mac = peer->mac;
  place.text += "/" + policies::format(peer->mac);
  return place;
}

}  // namespace

std::variant<publish::Fd, Absent> open_namespace(const std::string& path) {
  if (path.empty()) return publish::Fd{};
  publish::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return Absent{"network namespace " + path + ": " + std::strerror(errno)};
  if (::ioctl(fd.get(), NS_GET_NSTYPE) != CLONE_NEWNET) return Absent{path + " is no network namespace"};
  return fd;
}

std::variant<Place, Absent> resolve(const source::Port& port, const netlink::Monitor& monitor) {
  if (port.kind == abi::PortKind::kEthdev) {
    return Place{"ethdev:" + port.device, port.mac.value_or(policies::MacBytes{})};
  }
  try {
    if (port.kind == abi::PortKind::kVeth) return resolve_veth(port, monitor);
  } catch (const netlink::Error& error) {
    return Absent{error.what()};
  }
  auto identity = namespace_identity(port.netns_path);
  if (auto* absent = std::get_if<Absent>(&identity)) return *absent;
  const policies::MacBytes mac = port.mac.value_or(policies::MacBytes{});
  return Place{"tap:" + port.interface_name + "@" + std::get<std::string>(identity) + "/" +
                   policies::format(mac) + "/" + std::to_string(port.mtu),
               mac};
}

}  // namespace bulkhead::attach
