// The links and addresses of this process's network namespace, kept up to date by the kernel's notices.
//
//   kernel ── RTM_NEWLINK, DELLINK, NEWADDR, DELADDR ──► libnl caches ──► interfaces(), addresses()
//
// When notices were lost (the socket's buffer overran) everything is listed again, so a state here is never
// older than the last handle().
#pragma once

#include <map>
#include <string>
#include <vector>

#include "controlplane/netlink/interface.h"
#include "controlplane/netlink/socket.h"

namespace bulkhead::netlink {

class Monitor {
 public:
  /// Lists everything. Throws Error.
  Monitor();

  /// Readable when notices wait. A new one after handle() had to list again: ask each time.
  int fd() const;

  /// Takes in all notices. True if an interface or an address that is shown below changed. Throws Error where
  /// not even listing again works.
  bool handle();

  const std::map<std::string, Interface>& interfaces() const { return interfaces_; }
  /// nullptr if there is none of this name.
  const Interface* find(const std::string& name) const;

  /// The node's own addresses of global scope, sorted: no loopback, no link-local, no multicast ones.
  const std::vector<policies::AddressBytes>& addresses() const { return addresses_; }

 private:
  void list();
  void read_caches();

  Owned<nl_sock> socket_;  // the manager's notices; outlives it
  Owned<nl_cache_mngr> manager_;
  nl_cache* links_ = nullptr;  // the manager's
  nl_cache* addresses_cache_ = nullptr;
  std::map<std::string, Interface> interfaces_;
  std::vector<policies::AddressBytes> addresses_;
};

}  // namespace bulkhead::netlink
