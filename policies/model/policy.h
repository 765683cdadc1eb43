// What may be said: every policy dialect, brought to one shape that the compiler and the oracle both read.
//
//   NetworkPolicy, SegmentationPolicy, ... ── load/ ──► PolicySet ──► Policy ──► Clause ──► Rule
//                                                                    │          │          └ action, peers, ports
//                                                                    │          └ subject, direction, isolates
//                                                                    └ one object of one file; tier, priority
//
// A Clause says, for one direction, whom it governs (the *subject*) and whether being governed isolates. A Rule
// allows, denies or passes on traffic between the subject and its peers on its ports.
//
// Meaning, per direction and per subject endpoint (the sender's egress and the receiver's ingress must both
// allow). The first step that answers ends the matter:
//   first, quarantine (quarantine.h): where the subject is quarantined, or else its peer, deny.
//   0. mesh tier (Istio's AuthorizationPolicy): asked like the platform tier, but it only denies, or passes to
//      step 1: another layer, beside whatever the others say. Of policies of one priority, pass beats deny: one
//      of them that admits a packet is enough.
//   1. platform tier: of the policies that govern the subject, the lowest priority number first; within a
//      policy its rules as written; the first rule that matches counts. allow and deny answer; pass leaves the
//      tier for step 2. Nothing in this tier isolates.
//   2. application tier: a matching deny rule denies; else a matching allow rule allows (the order of policies
//      and rules is no matter). Without either, where some clause of this tier isolates the subject: an
//      endpoint that follows Kubernetes and an address of its own node may talk; everything else is denied.
//   3. baseline tier, asked only where nothing of step 2 isolates: as step 1; pass leaves for step 4.
//   4. an endpoint that follows Kubernetes and its own node may talk;
//   5. the posture: allow for endpoints that follow Kubernetes (unless strict), otherwise the node's.
//
// Several policies of one tier and one priority: the APIs leave open whose answer counts. Here each answers by
// its own first matching rule, and of these answers deny beats pass beats allow; among equals, the first in the
// set's order is named. A name thus never opens what a namesake's priority closes, and compile/ reports every
// two policies whose answers to one packet differ. (Not so in the mesh tier, see there.)
//
// A worked example, for the ingress of a pod `web` that the NetworkPolicy "shop" isolates, admitting app=api:
//
//   platform  10  "guard"   deny from team=red            a red peer:  denied by guard
//   platform  20  "scrape"  allow from app=prometheus     prometheus:  allowed by scrape, whatever "shop" says
//   platform  20  "shared"  pass from app=prometheus      ... unless "shared" is of the same priority: pass beats
//                                                         allow, "shop" admits only app=api: isolated, denied
//   application   "shop"    allow from app=api            api:         allowed by shop
//   baseline      "closed"  deny from everyone            others:      isolated by shop, denied; closed is not
//                                                         asked. Without "shop": denied by closed
//
// A conversation that was allowed is judged again when policies change. Where it is denied now, the policies that
// deny it say what becomes of it (Established): at each end that denies, the policy of the deciding rule; where
// none decides, the policies that isolate the end, the strictest of them; the posture reevaluates. Where both ends
// deny, the stricter counts. Of several rules that deny alike (in the application tier, or of policies of one
// priority), one of the strictest policy is the deciding one.
//
// Audited policies (Mode::kAudit) are asked for the record only. Everything above is said of the enforced ones; a
// second verdict, by the same words, is that of enforced and audited policies together, isolation included. Where
// the two differ, the first is applied, and the difference recorded.
//
// An endpoint may always reach its own addresses. Addresses that no endpoint and no node owns are *world*: only
// blocks, World and Everyone match them. World and nodes have no side of their own to judge; a host-network
// endpoint is its node.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "policies/model/cluster.h"
#include "policies/model/moment.h"

namespace bulkhead::policies {

enum class Direction : std::uint8_t { kIngress, kEgress };
enum class Action : std::uint8_t { kAllow, kDeny, kPass };

/// In the order in which they are asked. No policy is of the tier kQuarantine: its rules are made of Quarantines.
enum class Tier : std::uint8_t { kQuarantine, kMesh, kPlatform, kApplication, kBaseline };

/// Where a thing was written. Lines and columns count from 1; 0 means unknown.
struct Origin {
  std::string file;
  std::uint32_t line = 0;
  std::uint32_t column = 0;
  auto operator<=>(const Origin&) const = default;
};

enum class Operator : std::uint8_t { kIn, kNotIn, kExists, kDoesNotExist };

struct Requirement {
  std::string key;
  Operator op = Operator::kIn;
  std::vector<std::string> values;  // sorted, unique; empty for kExists and kDoesNotExist
  bool matches(const Labels& labels) const;
  auto operator<=>(const Requirement&) const = default;
};

/// All requirements must hold; none at all matches everything. matchLabels entries become kIn with one value.
/// kNotIn and kDoesNotExist hold for objects without the key.
struct Selector {
  std::vector<Requirement> requirements;  // sorted, unique
  auto operator<=>(const Selector&) const = default;
  bool matches(const Labels& labels) const;
};

/// Endpoints by namespace and label. A fixed namespace name and a namespace selector exclude each other.
struct EndpointSelector {
  std::optional<std::string> namespace_name;  // exactly this namespace
  Selector namespaces;                        // else: namespaces by label (empty: all)
  Selector endpoints;
  auto operator<=>(const EndpointSelector&) const = default;
  /// Never true for a host-network endpoint. `namespace_labels` are those of the endpoint's namespace.
  bool matches(const Endpoint& endpoint, const Labels& namespace_labels) const;
};

struct AddressBlock {
  AddressBytes base{};           // host bits are zero
  std::uint8_t prefix_bits = 0;  // of 128: an IPv4 /24 is 120
  auto operator<=>(const AddressBlock&) const = default;
  bool contains(const AddressBytes& address) const;  // of its own family only: ::/0 contains no IPv4
  bool is_v4() const;                                // lies within ::ffff:0:0/96
};

/// An address block less its exceptions. Matches endpoint addresses too (the Kubernetes API says so), unless
/// it is of the world only.
struct IpBlock {
  AddressBlock block;
  std::vector<AddressBlock> except;  // each a strict subset of block
  bool world_only = false;           // no address that an endpoint or a node owns
  std::string group = {};            // of which CidrGroup it was taken; for people, and empty for most
  auto operator<=>(const IpBlock&) const = default;
  bool contains(const AddressBytes& address) const;  // whoever owns it
};

struct Everyone {  // any address of any family
  auto operator<=>(const Everyone&) const = default;
};
struct LocalNode {  // `host`: the node on which the subject runs, by any of its addresses
  auto operator<=>(const LocalNode&) const = default;
};
struct World {  // addresses that neither an endpoint nor a node owns
  auto operator<=>(const World&) const = default;
};
struct NodeSelector {  // addresses of nodes, by the nodes' labels; a host-network endpoint's are its node's
  Selector nodes;
  auto operator<=>(const NodeSelector&) const = default;
};

/// A text as Istio matches one: as a whole, by its beginning or its end, or any at all. No text, as of who has
/// no identity, never matches.
struct Pattern {
  enum class Form : std::uint8_t { kExact, kPrefix, kSuffix, kAny };
  Form form = Form::kExact;
  std::string text;  // empty for kAny
  auto operator<=>(const Pattern&) const = default;
  bool matches(std::string_view candidate) const;
};

/// Holds where some pattern matches; negated, where none does.
struct SourceTerm {
  enum class Field : std::uint8_t { kPrincipal, kNamespace };
  Field field = Field::kPrincipal;
  bool negated = false;
  std::vector<Pattern> patterns;
  auto operator<=>(const SourceTerm&) const = default;
};

/// What the mesh was installed with, as its AuthorizationPolicies take it for granted.
struct Mesh {
  std::string trust_domain = "cluster.local";   // of every endpoint
  std::string root_namespace = "istio-system";  // a policy here governs the whole mesh
  bool operator==(const Mesh&) const = default;
};

/// Who sends, by service account and namespace, and from where: everything said must hold. Nodes and world have
/// neither account nor namespace, so negated terms alone match them.
struct Source {
  std::vector<SourceTerm> terms;  // all must hold
  bool any_address = true;
  std::vector<IpBlock> blocks;                 // unless any_address: one must contain the address
  std::string trust_domain = "cluster.local";  // of every endpoint; one for all of a set
  auto operator<=>(const Source&) const = default;
  /// Whether the terms hold. Empty texts: who has none.
  bool matches_identity(std::string_view namespace_name, std::string_view service_account) const;
  /// `endpoint`: nullptr for nodes and world.
  bool matches(const Endpoint* endpoint, const AddressBytes& address) const;
};

/// "TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT"; empty without an account.
std::string principal(std::string_view trust_domain, std::string_view namespace_name,
                      std::string_view service_account);

using Peer = std::variant<Everyone, EndpointSelector, IpBlock, LocalNode, World, NodeSelector, Source>;

/// A name is resolved on the receiving endpoint, with `protocol`, in either direction; each that it has counts.
struct PortMatch {
  Protocol protocol = Protocol::kTcp;
  std::uint16_t first =
      0;  // kTcp, kUdp, kSctp: port range; kIcmp, kIcmpV6: type range; kOther: protocol numbers
  std::uint16_t last = 0xffff;  // inclusive
  std::string name;             // not empty: the range is ignored
  auto operator<=>(const PortMatch&) const = default;
};

struct Rule {
  std::string name;                // an edge's name, or "ingress[2]" for rules that bear none
  Action action = Action::kAllow;  // kPass not in the application tier, kAllow not in the mesh tier
  std::vector<Peer>
      peers;  // any may match; empty matches nobody (load/ writes Everyone where the API means all)
  bool all_ports = false;        // every protocol and port; `ports` is then empty
  std::vector<PortMatch> ports;  // any may match; empty and not all_ports matches nothing
  Origin origin;
};

struct Clause {
  Direction direction = Direction::kIngress;
  EndpointSelector subject;
  bool isolates = false;  // in the application tier only
  std::vector<Rule> rules;
  std::optional<Time> expires =
      {};  // from then on it is as if it were not written: it isolates nobody either
  bool in_force(Time now) const { return !expires || now < *expires; }
};

inline constexpr std::uint32_t kPriorityMax = 1000;

/// What becomes of a conversation that a policy denies, though it was allowed when it began. The later, the
/// stricter.
enum class Established : std::uint8_t {
  kKeep,        // it goes on until it ends; new ones are denied
  kReevaluate,  // it is cut, silently
  kReset,       // it is cut, and its ends are told: TCP by RST to both, others by ICMP to the sender
};

/// An audited policy decides nothing: what it would have changed is recorded.
enum class Mode : std::uint8_t { kEnforce, kAudit };

struct Policy {
  std::string kind;            // "NetworkPolicy", "SegmentationPolicy", ...
  std::string namespace_name;  // empty for kinds of the whole cluster
  std::string name;
  std::vector<Clause> clauses;
  Origin origin;
  Tier tier = Tier::kApplication;
  /// 0 to kPriorityMax, lower first, and above it what has none; 0 in the application tier, where it is no matter.
  std::uint32_t priority = 0;
  Established established = Established::kReevaluate;
  Mode mode = Mode::kEnforce;
};

/// A claim about packets that must be true of every set that is enforced. It speaks of the packets from `from`
/// to `to` on its ports of which at least one end is an endpoint, and which are not an endpoint's with itself: of
/// what nobody judges and what always passes, nothing can be demanded. LocalNode is the node on which the
/// endpoint at the other end runs. Of ICMP, `kAlways` means the messages that a family has.
struct Demand {
  enum class Claim : std::uint8_t { kNever, kAlways };  // none of the packets may pass; all of them must
  Claim claim = Claim::kNever;
  std::string name;
  std::vector<Peer> from, to;  // any may match
  bool all_ports = false;      // as of a Rule
  std::vector<PortMatch> ports;
  Origin origin;
  bool operator==(const Demand&) const = default;
};

/// Decides about no packet: whoever compiles proves the demands, and enforces nothing that breaks one.
struct Invariant {
  std::string name;
  std::vector<Demand> demands;  // names are unique
  Origin origin;
  bool operator==(const Invariant&) const = default;
};

/// Blocks under a name, for policies to speak of. Decides nothing: load/ puts its blocks where it is named.
struct CidrGroup {
  std::string name;
  std::vector<IpBlock> blocks;  // sorted, unique, those of the groups in it too; their `group` is empty
  Origin origin;
};

/// In one order on every machine: by kind, namespace, name. Two objects with one (kind, namespace, name) are
/// an error of load/.
struct PolicySet {
  std::vector<Policy> policies;
  std::vector<Invariant> invariants = {};  // by name
  std::vector<CidrGroup> groups = {};      // by name
};

/// When clauses expire, each moment once, ascending.
std::vector<Time> expiries(const PolicySet& set);

/// What expires, for people: each rule once, though its clauses are many.
struct Expiry {
  const Policy* policy = nullptr;
  const Rule* rule = nullptr;
  Time at{};
  bool isolates = false;  // in some direction, until then
};
/// Those that expire no later than `until`, in the set's order.
std::vector<Expiry> expiring(const PolicySet& set, Time until);
/// "SegmentationPolicy shop/shop, rule 'probe' expires at 2026-12-01T08:00:00Z, in 3 days; ..."
std::string describe(const Expiry& expiry, Time now);
/// What is left at `now`: without expired clauses, and without policies that had no others.
PolicySet without_expired(PolicySet set, Time now);

/// The node's answer where no policy speaks.
struct Posture {
  Action action = Action::kDeny;
  bool strict = false;  // Kubernetes endpoints follow `action` too
};

/// "NetworkPolicy shop/allow-web", "AdminNetworkPolicy guard" — how messages, counters and explanations name a
/// policy.
std::string describe(const Policy& policy);
/// "Invariant walls, never 'world-to-db'".
std::string describe(const Invariant& invariant, const Demand& demand);
/// "allow", "deny", "pass"; "quarantine", "mesh", "platform", "application", "baseline".
std::string_view name(Action action);
std::string_view name(Tier tier);
std::string_view name(Established established);  // "keep", "reevaluate", "reset"
std::string describe(const Selector& selector);  // "app=web,tier in (a,b),!old"; "everything" when empty
std::string describe(
    const Peer& peer);  // "pods app=web in namespace shop", "10.0.0.0/8 except 10.1.0.0/16", ...
std::string describe(const PortMatch& port);  // "tcp/80", "udp/1000-2000", "tcp/http", "every sctp port"
std::string describe_peers(const Rule& rule);
std::string describe_ports(const Rule& rule);

}  // namespace bulkhead::policies
