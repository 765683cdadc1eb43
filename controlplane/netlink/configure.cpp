#include "controlplane/netlink/configure.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "controlplane/netlink/socket.h"

namespace bulkhead::netlink {
namespace {

Owned<nl_addr> address_of(const policies::AddressBytes& address, int prefix_bits) {
  const bool v4 = policies::is_v4(address);
  Owned<nl_addr> result(
      nl_addr_build(v4 ? AF_INET : AF_INET6, address.data() + (v4 ? 12 : 0), v4 ? 4 : address.size()));
  if (!result) throw Error("netlink: no memory for an address");
  nl_addr_set_prefixlen(result.get(), prefix_bits);
  return result;
}

Owned<rtnl_link> link_by_name(nl_sock* socket, const std::string& name) {
  rtnl_link* link = nullptr;
  check(rtnl_link_get_kernel(socket, 0, name.c_str(), &link), "interface " + name);
  return Owned<rtnl_link>(link);
}

void set_up(nl_sock* socket, rtnl_link* link) {
  if ((rtnl_link_get_flags(link) & IFF_UP) != 0) return;
  Owned<rtnl_link> change(rtnl_link_alloc());
  if (!change) throw Error("netlink: no memory for a link");
  rtnl_link_set_flags(change.get(), IFF_UP);
  check(rtnl_link_change(socket, link, change.get(), 0),
        std::string("bringing up ") + rtnl_link_get_name(link));
}

/// Containers often come with IPv6 off by sysctl; an address cannot be added then. Best effort: the address
/// says what is wrong where this does not help.
void enable_ipv6(const std::string& interface_name) {
  const std::string path = "/proc/sys/net/ipv6/conf/" + interface_name + "/disable_ipv6";
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  (void)!::write(fd, "0", 1);
  ::close(fd);
}

void add_address(nl_sock* socket, int index, const config::InterfaceAddress& wanted) {
  Owned<nl_addr> local = address_of(wanted.address, wanted.prefix_bits);
  Owned<rtnl_addr> address(rtnl_addr_alloc());
  if (!address) throw Error("netlink: no memory for an address");
  rtnl_addr_set_ifindex(address.get(), index);
  const std::string text = policies::format(wanted.address) + "/" + std::to_string(wanted.prefix_bits);
  check(rtnl_addr_set_local(address.get(), local.get()), "address " + text);
  if (!policies::is_v4(wanted.address)) rtnl_addr_set_flags(address.get(), IFA_F_NODAD);
  const int result = rtnl_addr_add(socket, address.get(), NLM_F_CREATE | NLM_F_REPLACE);
  if (result != -NLE_EXIST) check(result, "adding " + text);
}

bool within(const policies::AddressBytes& address, const config::InterfaceAddress& network) {
  const bool v4 = policies::is_v4(address);
  if (v4 != policies::is_v4(network.address)) return false;
  const int bits = network.prefix_bits + (v4 ? 96 : 0);
  for (int bit = 0; bit < bits; ++bit) {
    const auto byte = static_cast<std::size_t>(bit / 8);
    if (((address[byte] ^ network.address[byte]) & (0x80 >> (bit % 8))) != 0) return false;
  }
  return true;
}

struct OtherDefault {
  int family;
  int own_index;
  bool found = false;
};

/// Which interface the main table's default route of a family uses, if it is not ours.
bool has_other_default(nl_sock* socket, int family, int own_index) {
  nl_cache* raw = nullptr;
  check(rtnl_route_alloc_cache(socket, family, 0, &raw), "listing routes");
  const Owned<nl_cache> routes(raw);
  OtherDefault search{family, own_index};
  nl_cache_foreach(
      routes.get(),
      [](nl_object* object, void* argument) {
        auto& state = *static_cast<OtherDefault*>(argument);
        auto* route = reinterpret_cast<rtnl_route*>(object);
        const nl_addr* destination = rtnl_route_get_dst(route);
        if (rtnl_route_get_table(route) != RT_TABLE_MAIN || rtnl_route_get_type(route) != RTN_UNICAST ||
            nl_addr_get_prefixlen(destination) != 0 || rtnl_route_get_family(route) != state.family) {
          return;
        }
        if (rtnl_route_get_nnexthops(route) < 1) return;
        const int index = rtnl_route_nh_get_ifindex(rtnl_route_nexthop_n(route, 0));
        if (index != state.own_index) state.found = true;
      },
      &search);
  return search.found;
}

void add_default_route(nl_sock* socket, int index, const policies::AddressBytes& gateway, bool on_link) {
  const bool v4 = policies::is_v4(gateway);
  const int family = v4 ? AF_INET : AF_INET6;
  Owned<rtnl_route> route(rtnl_route_alloc());
  rtnl_nexthop* hop = rtnl_route_nh_alloc();
  if (!route || hop == nullptr) throw Error("netlink: no memory for a route");
  rtnl_route_add_nexthop(route.get(), hop);  // the route's from here on
  const Owned<nl_addr> via = address_of(gateway, v4 ? 32 : 128);
  const policies::AddressBytes any{};
  const Owned<nl_addr> everywhere(nl_addr_build(family, any.data(), v4 ? 4 : 16));
  if (!everywhere) throw Error("netlink: no memory for a route");
  nl_addr_set_prefixlen(everywhere.get(), 0);
  rtnl_route_set_family(route.get(), static_cast<std::uint8_t>(family));
  rtnl_route_set_table(route.get(), RT_TABLE_MAIN);
  rtnl_route_set_scope(route.get(), RT_SCOPE_UNIVERSE);
  rtnl_route_set_protocol(route.get(), RTPROT_STATIC);
  check(rtnl_route_set_dst(route.get(), everywhere.get()), "default route");
  rtnl_route_nh_set_ifindex(hop, index);
  rtnl_route_nh_set_gateway(hop, via.get());
  if (on_link) rtnl_route_nh_set_flags(hop, RTNH_F_ONLINK);
  const int result = rtnl_route_add(socket, route.get(), NLM_F_CREATE | NLM_F_REPLACE);
  if (result != -NLE_EXIST) check(result, "default route via " + policies::format(gateway));
}

}  // namespace

InNamespace::InNamespace(int netns_fd) {
  if (netns_fd < 0) return;
  home_fd_ = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  if (home_fd_ < 0) throw Error(std::string("own network namespace: ") + std::strerror(errno));
  if (::setns(netns_fd, CLONE_NEWNET) != 0) {
    const int reason = errno;
    ::close(home_fd_);
    throw Error(std::string("entering a network namespace: ") + std::strerror(reason));
  }
}

InNamespace::~InNamespace() {
  if (home_fd_ < 0) return;
  // Going on in a container's namespace would hand it the whole node: nothing is worth that.
  if (::setns(home_fd_, CLONE_NEWNET) != 0) std::abort();
  ::close(home_fd_);
}

std::string configure(int netns_fd, const Configuration& wanted) {
  const InNamespace inside(netns_fd);
  const Owned<nl_sock> socket = route_socket();
  const Owned<rtnl_link> link = link_by_name(socket.get(), wanted.interface_name);
  const int index = rtnl_link_get_ifindex(link.get());
  set_up(socket.get(), link.get());
  for (const auto& address : wanted.addresses) {
    if (!policies::is_v4(address.address)) enable_ipv6(wanted.interface_name);
    add_address(socket.get(), index, address);
  }
  std::string notes;
  for (const auto& gateway : wanted.gateways) {
    bool family = false, reached = false;
    for (const auto& address : wanted.addresses) {
      family |= policies::is_v4(address.address) == policies::is_v4(gateway);
      reached |= within(gateway, address);
    }
    if (!family) continue;  // no address of that family: nothing to route
    if (has_other_default(socket.get(), policies::is_v4(gateway) ? AF_INET : AF_INET6, index)) {
      notes += std::string(notes.empty() ? "" : "; ") +
               "a default route through another interface is kept (" +
               (policies::is_v4(gateway) ? "IPv4" : "IPv6") + ")";
      continue;
    }
    add_default_route(socket.get(), index, gateway, !reached);
  }
  return notes;
}

void bring_up(const std::string& interface_name) {
  const Owned<nl_sock> socket = route_socket();
  const Owned<rtnl_link> link = link_by_name(socket.get(), interface_name);
  set_up(socket.get(), link.get());
}

std::optional<Interface> interface_by_index(int netns_fd, int index) {
  const InNamespace inside(netns_fd);
  const Owned<nl_sock> socket = route_socket();
  rtnl_link* link = nullptr;
  if (rtnl_link_get_kernel(socket.get(), index, nullptr, &link) < 0) return std::nullopt;
  const Owned<rtnl_link> owned(link);
  return interface_of(link);
}

}  // namespace bulkhead::netlink
