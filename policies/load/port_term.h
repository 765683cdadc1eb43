// The port terms of a SegmentationPolicy.
//
//   any                          every protocol and port
//   tcp/80  udp/53  sctp/38412   one port; a range is tcp/9000-9100, every port is tcp/any
//   tcp/http                     the receiver's port of that name
//   icmp                         ICMP and ICMPv6, every type: people mean ping
//   icmpv4  icmpv6               one of them
//   icmp/8  icmpv4/8  icmpv6/128 one type; icmp with a type is IPv4's, since the families number them differently
//   protocol/47                  any other IP protocol by its number
#pragma once

#include <vector>

#include "policies/load/fields.h"

namespace bulkhead::policies {

struct PortTerm {
  bool any = false;
  std::vector<PortMatch> matches;
};

/// Reports what is wrong and returns an empty term then.
PortTerm read_port_term(const Value& item);

}  // namespace bulkhead::policies
