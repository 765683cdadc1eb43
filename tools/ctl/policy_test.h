// `bulkheadctl policy test`: what policies would do, asked before anybody enforces them.
//
// A cluster and its policies are compiled into the real image with every endpoint judged at home, and the
// questions are looked up there: an answer comes from the tables that would be enforced, never from a second
// model.
//
// Questions are CSV, `src,dst,proto,port`: an end is `namespace/pod` or an address; proto is tcp, udp, sctp,
// icmp, icmpv6, an IANA number, or other; port is the destination port, the ICMP type (none given: echo
// request), or the IANA number of other.
// A first line that names these columns may order them freely and name more. Blank lines and lines that start
// with # are passed over. Answers are the same columns plus `verdict,reason,rule`, with a header if there was
// one:
//   verdict  allow or deny
//   reason   a denial's fate (dataplane/abi/fate.h), no_route where the ends share no address family;
//            else self, own_node or allowed
//   rule     "NetworkPolicy shop/web ingress[0] shop.yaml:12", empty where no rule decided
#pragma once

#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "policies/model/policy.h"

namespace bulkhead::ctl {

struct PolicyTestOptions {
  std::vector<std::string> cluster;   // files or directories of Kubernetes manifests
  std::vector<std::string> policies;  // files or directories; none: the policies among the manifests
  std::string queries;                // a file; "-": standard input
  policies::Posture posture;
  policies::Mesh mesh = {};
  std::optional<policies::Time> now = {};  // without it nothing has expired
};

/// 0: every question was answered, on `out`. 1: nothing was answered, and `err` says why, line by line.
int policy_test(const PolicyTestOptions& options, std::ostream& out, std::ostream& err);

}  // namespace bulkhead::ctl
