// Claims as people write them: "from shop/app=web to world ports tcp/443, udp/53: deny".
//
//   claim   from END to END [ports PORTS]: allow | deny
//   END     any | world | host | ADDRESS | ADDRESS/BITS | [NAMESPACE/]NAME | NAMESPACE/* | [NAMESPACE/]SELECTOR
//   SELECTOR  KEY=VALUE | KEY!=VALUE | KEY | !KEY, joined by commas; all must hold. KEY alone is a name unless it is
//             joined to another.
//   PORTS   any | PROTOCOL | PROTOCOL/PORT | PROTOCOL/PORT-PORT, joined by commas; a protocol alone is all of it
#pragma once

#include <string>

#include "controlplane/analysis/party.h"
#include "controlplane/analysis/prove.h"

namespace bulkhead::ctl {

/// Failure(kExitUsage) says what was found, what was expected and the nearest spelling; (kExitRefused) where an end is
/// nobody: a claim about nobody would stand, and mislead.
analysis::Claim parse_claim(const analysis::Space& space, const std::string& text);

analysis::End parse_end(const analysis::Space& space, const std::string& text);
std::vector<analysis::PortRange> parse_ports(const std::string& text);

}  // namespace bulkhead::ctl
