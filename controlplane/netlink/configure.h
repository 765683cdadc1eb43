// Giving an interface its addresses and routes, in whichever network namespace it is, so that nobody needs
// `ip`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "controlplane/config/config.h"
#include "controlplane/netlink/interface.h"

namespace bulkhead::netlink {

/// The thread is in another network namespace for as long as this lives. -1: it stays where it is. Throws
/// Error.
class InNamespace {
 public:
  explicit InNamespace(int netns_fd);
  ~InNamespace();
  InNamespace(const InNamespace&) = delete;
  InNamespace& operator=(const InNamespace&) = delete;

 private:
  int home_fd_ = -1;
};

struct Configuration {
  std::string interface_name;
  std::vector<config::InterfaceAddress> addresses;
  std::vector<policies::AddressBytes> gateways;  // default routes; one outside the networks is made on-link
};

/// Brings the interface up, adds what is missing and leaves what is already there, so doing it again changes
/// nothing. IPv6 addresses skip duplicate detection: the data plane knows whose they are. A default route
/// through another interface is left alone and reported in the result (for the log); otherwise the result is
/// empty. Throws Error.
std::string configure(int netns_fd, const Configuration& wanted);

/// Only up. Throws Error.
void bring_up(const std::string& interface_name);

/// The interface with this index in a namespace; nothing if there is none. Throws Error.
std::optional<Interface> interface_by_index(int netns_fd, int index);

}  // namespace bulkhead::netlink
