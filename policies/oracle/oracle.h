// What a policy means, by the most obvious evaluation there is: loops over everything, for every question.
//
// This is the definition (its words stand at the top of policies/model/policy.h). The compiled tables are
// held to it by a property test; nothing on a packet's way uses it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "policies/model/policy.h"
#include "policies/model/quarantine.h"

namespace bulkhead::policies {

enum class Reason : std::uint8_t {
  kSelf,         // an endpoint and itself
  kQuarantined,  // this end, or else the other
  kRule,         // a rule of a policy
  kOwnNode,      // an endpoint that follows Kubernetes, with its own node
  kIsolated,     // isolated by a policy, and no rule allows it
  kPosture,      // no policy speaks of it
  kNoEnd,        // world and nodes have no side of their own
};

/// A pass rule that led a packet out of its tier.
struct Passed {
  const Policy* policy = nullptr;  // nullptr: none did
  const Rule* rule = nullptr;
};

/// What one end says. Pointers are into the oracle's PolicySet.
struct Side {
  bool allow = false;
  Reason reason = Reason::kPosture;
  const Policy* policy = nullptr;                  // kRule: whose rule; kIsolated: the first that isolates
  const Rule* rule = nullptr;                      // kRule only
  Passed mesh = {}, platform = {}, baseline = {};  // on the way to the answer
  Established established = Established::kReevaluate;  // of a conversation that this denies
  const Quarantine* quarantine = nullptr;              // kQuarantined only
};

struct Judgement {
  bool allow = false;
  Direction direction =
      Direction::kIngress;  // the end that decided: the first that denied, else the receiver's
  Reason reason = Reason::kPosture;
  const Policy* policy = nullptr;
  const Rule* rule = nullptr;
  Side egress;   // what the sender's end said
  Side ingress;  // what the receiver's end said; also where the sender's denied
  Established established = Established::kReevaluate;  // of a denial: the strictest of the ends that deny
};

/// An end of a conversation. The address decides whose it is; an endpoint without addresses may be judged by
/// itself.
struct End {
  AddressBytes address{};
  const Endpoint* endpoint = nullptr;  // nullptr: a node or world
  const Node* node = nullptr;
};

class Oracle {
 public:
  /// Keeps references: cluster, policies and quarantines outlive it and do not change. `local_node` names the
  /// node of endpoints that name none. Without `now` nothing has expired.
  Oracle(const Cluster& cluster, const PolicySet& policies, const Posture& posture,
         std::string local_node = {}, std::span<const Quarantine> quarantines = {},
         std::optional<Time> now = {});

  /// Whose address that is: an endpoint's (host-network ones own none), else a node's, else nobody's.
  End end(const AddressBytes& address) const;
  /// A host-network endpoint is its node.
  End end(const Endpoint& endpoint, const AddressBytes& address) const;

  /// Whether the demand is about such packets (its words stand above policies::Demand).
  bool means(const Demand& demand, const End& source, const End& destination, Protocol protocol,
             std::uint16_t port) const;

  /// `port`: destination port; the type of kIcmp and kIcmpV6; the protocol number of kOther.
  Judgement judge(const End& source, const End& destination, Protocol protocol, std::uint16_t port) const;
  Judgement judge(const AddressBytes& source, const AddressBytes& destination, Protocol protocol,
                  std::uint16_t port) const;
  /// What judge() would say were every audited policy enforced.
  Judgement judge_audited(const End& source, const End& destination, Protocol protocol,
                          std::uint16_t port) const;

 private:
  /// A packet as one of its ends sees it.
  struct Question {
    Direction direction;
    const End &subject, &peer, &receiver;
    Protocol protocol;
    std::uint16_t port;
    bool audited;  // ask the audited policies, too
  };
  static bool is_asked(const Policy& policy, const Question& question) {
    return policy.mode == Mode::kEnforce || question.audited;
  }
  Judgement judge(const End& source, const End& destination, Protocol protocol, std::uint16_t port,
                  bool audited) const;
  Side judge_side(const Question& question) const;
  const Quarantine* quarantine_of(const End& end) const;
  Side judge_ordered_tier(Tier tier, const Question& question) const;
  Side judge_application(const Question& question) const;
  const Rule* first_match(const Policy& policy, const Question& question) const;
  bool governs(const Clause& clause, const Question& question) const;
  bool selects(const EndpointSelector& selector, const End& end) const;
  bool matches(const Rule& rule, const Question& question) const;
  bool matches(const Peer& peer, const End& subject, const End& other) const;
  bool on_node(const Endpoint& endpoint, const AddressBytes& address) const;

  const Cluster& cluster_;
  const PolicySet& policies_;
  Posture posture_;
  std::string local_node_;
  std::span<const Quarantine> quarantines_;
  std::optional<Time> now_;
};

}  // namespace bulkhead::policies
