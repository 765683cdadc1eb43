// What netlink says of an interface, as a plain value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "policies/model/address.h"

struct rtnl_link;

namespace bulkhead::netlink {

struct Interface {
  int index = 0;
  std::string name;
  policies::MacBytes mac{};
  std::uint32_t mtu = 0;
  bool up = false;
  int peer_index = 0;           // veth: the other end's index, in its own namespace; 0: not a pair
  bool peer_elsewhere = false;  // veth: the other end is in another namespace

  auto operator<=>(const Interface&) const = default;
};

Interface interface_of(rtnl_link* link);

}  // namespace bulkhead::netlink
