// From policies and a cluster to an image: the one place where the meaning of policies becomes tables.
//
// Promises: the image says what policies/model/policy.h says, packet by packet; the same input gives the same
// bytes, in whatever order its parts come; a candidate that breaks a bound is refused as a whole, with a
// reason for people. compile() is a pure function: no I/O, no state between calls, any thread.
//
//   census      sort endpoints, identities, nodes; intern labels            who exists
//   selectors   each distinct selector once -> identities                   bitsets over an inverted index
//   rules       clauses that govern a subject here, in one order            everything else is left out
//   blocks      address blocks -> regions of the address space              one tree of prefixes
//   ports       port terms -> port classes, pages
//   profiles    what rules can see of each address's owner                 endpoints alike are one
//   classes     subjects and peers that no rule tells apart                 per direction
//   rulesets    a row for each subject class: peers -> rule sets            hash-consed
//   decisions   what a rule set answers: the tiers                          by port class
//   conflicts   policies of one priority that disagree                      with a packet each
//   emit        equal rows and columns once, provenance, records            image/builder.h
//   binding     addresses, endpoints and identities in shards
//
// pass.h runs them; population.h is what compiler.h keeps of the first and of profiles, to begin a pass there.
//
// Only endpoints of this node are subjects (their rows exist), unless Subjects::kEvery asks for all: the node
// on which the other end lives judges that end. Rules that govern no subject here leave no trace in the
// image, so a policy of other nodes' endpoints changes nothing here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "dataplane/abi/address.h"
#include "dataplane/image/builder.h"
#include "policies/model/cluster.h"
#include "policies/model/policy.h"
#include "policies/model/quarantine.h"

namespace bulkhead::compile {

/// A port of this node's data plane that belongs to an endpoint: one each, the lowest where several are given.
struct LocalPort {
  std::string endpoint_id;  // policies::Endpoint::id; a port of an unknown endpoint is left out
  std::uint32_t port = 0;
  std::uint64_t port_key = 0;
  bool operator==(const LocalPort&) const = default;
};

/// The node that compiles. Where any address of it is known, it becomes the endpoint `host` of the image.
struct LocalNode {
  std::string name = {};  // matches policies::Node::name and Endpoint::node (empty there means this one)
  std::vector<policies::AddressBytes> addresses = {};  // beside those of the cluster's node of that name
  abi::Address gateway_v4 = {}, gateway_v6 = {};       // the data plane's own; zero: none
};

enum class Subjects : std::uint8_t { kLocal, kEvery };

struct Limits {
  std::uint64_t section_bytes_max = std::uint64_t{64} << 20;  // of any section
  std::uint64_t work_bytes_max = std::uint64_t{1} << 30;      // of any one intermediate table
};

/// What is referred to must outlive the call only.
struct Input {
  const policies::Cluster& cluster;
  const policies::PolicySet& policies;
  policies::Posture posture = {};
  LocalNode node = {};
  std::vector<LocalPort> ports = {};
  Subjects subjects = Subjects::kLocal;
  const std::vector<bool>* subjects_too =
      nullptr;  // by endpoint of the cluster: judged here, whatever its node
  Limits limits = {};
  std::optional<policies::Time> now = {};                  // without it nothing has expired
  std::span<const policies::Quarantine> quarantines = {};  // no two of one endpoint name
};

/// How large the image came out. [0] ingress, [1] egress.
struct Stats {
  std::size_t endpoints = 0, identities = 0, profiles = 0;
  std::size_t policies = 0, rules = 0;  // that govern somebody here
  std::size_t subject_classes[2] = {}, peer_classes[2] = {};
  std::size_t port_classes = 0, rule_sets = 0;
};

/// Two policies of one tier and priority answer one packet differently. The APIs leave open whose answer
/// counts; here the stronger does (policies/model/policy.h), and somebody should know.
struct Conflict {
  policies::Direction direction = policies::Direction::kIngress;
  policies::Origin winner, loser;  // of their rules
  policies::AddressBytes source{}, destination{};
  policies::Protocol protocol = policies::Protocol::kTcp;
  std::uint16_t port = 0;
  std::string message;  // names the policies, their rules and this packet
};

struct Output {
  image::ImageBytes image;
  Stats stats;
  std::vector<Conflict> conflicts;  // one for each two policies and direction, a hundred at most
};

/// Why there is no image: an address claimed twice, a bound exceeded, two label sets with one identity.
struct Refusal {
  std::string reason;
};

std::variant<Output, Refusal> compile(const Input& input);

}  // namespace bulkhead::compile
