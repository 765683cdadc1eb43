// Claims as people write them: "from shop/app=web to world ports tcp/443, udp/53: deny".
//
//   claim   from END to END [ports PORTS]: allow | deny
//   END     any | world | host | ADDRESS | ADDRESS/BITS | [NAMESPACE/]NAME | NAMESPACE/* | [NAMESPACE/]SELECTOR
//   SELECTOR  KEY=VALUE | KEY!=VALUE | KEY | !KEY, joined by commas; all must hold. KEY alone is a name unless it is
//             joined to another.
//   PORTS   any | PROTOCOL | PROTOCOL/PORT | PROTOCOL/PORT-PORT, joined by commas; a protocol alone is all of it
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "controlplane/analysis/party.h"
#include "controlplane/analysis/prove.h"

namespace bulkhead::ctl {

/// A claim as it was written; its ends are not looked up yet.
struct Spoken {
  std::string text, from, to;
  std::vector<analysis::PortRange> ports;  // joined
  bool allow = false;
};

/// Failure(kExitUsage) says what was found, what was expected and the nearest spelling. Asks no image.
Spoken parse_claim(const std::string& text);

/// Failure(kExitRefused) where an end is nobody: a claim about nobody would stand, and mislead.
analysis::Claim resolve(const analysis::Space& space, const Spoken& claim);

/// An image keeps labels as text, "app=web,tier=front". A part without = belongs to the value before it.
std::map<std::string, std::string> labels_of(std::string_view text);

}  // namespace bulkhead::ctl
