// Owners of libnl's objects.
#pragma once

#include <netlink/addr.h>
#include <netlink/cache.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>

#include <memory>
#include <stdexcept>
#include <string>

namespace bulkhead::netlink {

struct Release {
  void operator()(nl_sock* socket) const { nl_socket_free(socket); }
  void operator()(nl_cache* cache) const { nl_cache_free(cache); }
  void operator()(nl_cache_mngr* manager) const { nl_cache_mngr_free(manager); }
  void operator()(nl_addr* address) const { nl_addr_put(address); }
  void operator()(rtnl_addr* address) const { rtnl_addr_put(address); }
  void operator()(rtnl_link* link) const { rtnl_link_put(link); }
  void operator()(rtnl_route* route) const { rtnl_route_put(route); }
};

template <class T>
using Owned = std::unique_ptr<T, Release>;

/// The kernel or libnl said no. `what()` says to what.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline void check(int result, const std::string& doing) {
  if (result < 0) throw Error(doing + ": " + nl_geterror(result));
}

/// A connected NETLINK_ROUTE socket of the thread's present network namespace; it stays there.
inline Owned<nl_sock> route_socket() {
  Owned<nl_sock> socket(nl_socket_alloc());
  if (!socket) throw Error("netlink: no memory for a socket");
  check(nl_connect(socket.get(), NETLINK_ROUTE), "netlink");
  return socket;
}

}  // namespace bulkhead::netlink
