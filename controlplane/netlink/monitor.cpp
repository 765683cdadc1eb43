#include "controlplane/netlink/monitor.h"

#include <linux/if.h>
#include <linux/rtnetlink.h>
#include <netlink/route/link/veth.h>
#include <poll.h>

#include <algorithm>
#include <cstring>

namespace bulkhead::netlink {
namespace {

constexpr int kReceiveBufferBytes = 1 << 20;

/// Loopback interfaces' own and multicast addresses mean nothing to others.
bool is_own_address(rtnl_addr* address) {
  return rtnl_addr_get_scope(address) == RT_SCOPE_UNIVERSE || rtnl_addr_get_scope(address) == RT_SCOPE_SITE;
}

bool read_address(rtnl_addr* address, policies::AddressBytes& bytes) {
  const nl_addr* local = rtnl_addr_get_local(address);
  if (local == nullptr) return false;
  const auto* raw = static_cast<const std::uint8_t*>(nl_addr_get_binary_addr(local));
  bytes = {};
  if (nl_addr_get_len(local) == 4) {
    bytes[10] = bytes[11] = 0xff;
    std::memcpy(bytes.data() + 12, raw, 4);
    return raw[0] != 127;
  }
  if (nl_addr_get_len(local) != bytes.size()) return false;
  std::memcpy(bytes.data(), raw, bytes.size());
  return true;
}

}  // namespace

Interface interface_of(rtnl_link* link) {
  Interface result;
  result.index = rtnl_link_get_ifindex(link);
  result.name = rtnl_link_get_name(link);
  result.mtu = rtnl_link_get_mtu(link);
  result.up = (rtnl_link_get_flags(link) & IFF_UP) != 0;
  if (const nl_addr* mac = rtnl_link_get_addr(link);
      mac != nullptr && nl_addr_get_len(mac) == result.mac.size()) {
    std::memcpy(result.mac.data(), nl_addr_get_binary_addr(mac), result.mac.size());
  }
  if (rtnl_link_is_veth(link) != 0) {
    result.peer_index = rtnl_link_get_link(link);
    std::int32_t id = -1;
    result.peer_elsewhere = rtnl_link_get_link_netnsid(link, &id) == 0;
  }
  return result;
}

Monitor::Monitor() {
  list();
}

void Monitor::list() {
  manager_.reset();
  links_ = addresses_cache_ = nullptr;
  socket_.reset(nl_socket_alloc());
  if (!socket_) throw Error("netlink: no memory for a socket");
  nl_cache_mngr* manager = nullptr;
  check(nl_cache_mngr_alloc(socket_.get(), NETLINK_ROUTE, NL_AUTO_PROVIDE, &manager), "netlink monitor");
  manager_.reset(manager);
  check(nl_socket_set_buffer_size(socket_.get(), kReceiveBufferBytes, 0), "netlink monitor's buffer");
  check(nl_cache_mngr_add(manager, "route/link", nullptr, nullptr, &links_), "listing links");
  check(nl_cache_mngr_add(manager, "route/addr", nullptr, nullptr, &addresses_cache_), "listing addresses");
  read_caches();
}

int Monitor::fd() const {
  return nl_cache_mngr_get_fd(manager_.get());
}

void Monitor::read_caches() {
  interfaces_.clear();
  for (nl_object* object = nl_cache_get_first(links_); object != nullptr;
       object = nl_cache_get_next(object)) {
    auto* link = reinterpret_cast<rtnl_link*>(object);
    // IPv6 tells of a link under its own family, and takes it back under none.
    if (rtnl_link_get_family(link) != AF_UNSPEC) continue;
    Interface interface = interface_of(link);
    interfaces_[interface.name] = std::move(interface);
  }
  addresses_.clear();
  for (nl_object* object = nl_cache_get_first(addresses_cache_); object != nullptr;
       object = nl_cache_get_next(object)) {
    auto* address = reinterpret_cast<rtnl_addr*>(object);
    policies::AddressBytes bytes;
    if (is_own_address(address) && read_address(address, bytes)) addresses_.push_back(bytes);
  }
  std::sort(addresses_.begin(), addresses_.end());
  addresses_.erase(std::unique(addresses_.begin(), addresses_.end()), addresses_.end());
}

bool Monitor::handle() {
  const auto interfaces_before = interfaces_;
  const auto addresses_before = addresses_;
  for (;;) {
    pollfd item{fd(), POLLIN, 0};
    if (::poll(&item, 1, 0) <= 0) break;
    if (nl_cache_mngr_data_ready(manager_.get()) < 0) {
      list();  // ENOBUFS: notices were lost
      break;
    }
  }
  read_caches();
  return interfaces_ != interfaces_before || addresses_ != addresses_before;
}

const Interface* Monitor::find(const std::string& name) const {
  const auto found = interfaces_.find(name);
  return found == interfaces_.end() ? nullptr : &found->second;
}

}  // namespace bulkhead::netlink
