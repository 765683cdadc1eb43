#include "tests/property/scenario.h"

#include <algorithm>
#include <random>
#include <set>
#include <sstream>

#include "policies/model/address.h"

namespace bulkhead::property {
namespace {

using namespace policies;

constexpr const char* kKeys[] = {"app", "tier", "env"};
constexpr const char* kValues[] = {"a", "b", "c", ""};
constexpr const char* kNamespaces[] = {"blue", "green", "red", "undeclared"};
constexpr const char* kAccounts[] = {"default", "web", "db"};
constexpr std::uint32_t kNow = 1'800'000'000;
constexpr const char* kPortNames[] = {"http", "dns", "ops"};
constexpr const char* kBlocks[] = {
    "0.0.0.0/0",   "10.0.0.0/8",   "10.0.0.0/16",    "10.0.1.0/24",   "10.0.1.0/30",    "10.0.1.2/32",
    "10.0.2.0/23", "192.0.2.0/24", "192.0.2.128/25", "172.16.0.0/12", "::/0",           "fd00::/8",
    "fd00::/64",   "fd00::/126",   "fd00::2/128",    "2001:db8::/32", "2001:db8:1::/48"};
constexpr const char* kWorld[] = {"192.0.2.1",   "192.0.2.127",   "192.0.2.128",   "198.51.100.7",
                                  "10.0.1.99",   "10.9.9.9",      "9.255.255.255", "172.16.0.1",
                                  "2001:db8::1", "2001:db8:1::1", "2001:db9::1",   "fd00::99"};

/// std::mt19937_64 is the same everywhere; the library's distributions are not.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : engine_(seed) {}
  std::uint32_t below(std::uint32_t bound) { return static_cast<std::uint32_t>(engine_() % bound); }
  bool chance(std::uint32_t percent) { return below(100) < percent; }
  template <typename T, std::size_t N>
  const T& pick(const T (&from)[N]) {
    return from[below(N)];
  }
  template <typename T>
  const T& pick(const std::vector<T>& from) {
    return from[below(static_cast<std::uint32_t>(from.size()))];
  }

 private:
  std::mt19937_64 engine_;
};

class Maker {
 public:
  explicit Maker(std::uint64_t seed) : dice_(seed * 2 + 1) { scenario_.seed = seed; }

  Scenario run() {
    scenario_.posture = {dice_.chance(40) ? Action::kAllow : Action::kDeny, dice_.chance(30)};
    make_cluster();
    make_quarantines();
    if (dice_.chance(60)) scenario_.now = Time(std::chrono::seconds(kNow));
    crowded_ = dice_.chance(25);
    audits_ = dice_.chance(40);
    const std::uint32_t policies = dice_.below(10);
    for (std::uint32_t i = 0; i < policies; ++i) scenario_.policies.policies.push_back(policy(i));
    std::sort(scenario_.policies.policies.begin(), scenario_.policies.policies.end(),
              [](const Policy& a, const Policy& b) {
                return std::tie(a.kind, a.namespace_name, a.name) <
                       std::tie(b.kind, b.namespace_name, b.name);
              });
    return std::move(scenario_);
  }

 private:
  Labels labels() {
    Labels labels;
    for (const char* key : kKeys)
      if (dice_.chance(60)) labels[key] = dice_.pick(kValues);
    return labels;
  }

  void make_cluster() {
    for (const char* name : {"blue", "green", "red"})
      if (dice_.chance(80)) scenario_.cluster.namespaces.push_back({name, labels()});
    const std::uint32_t nodes = 1 + dice_.below(3);
    for (std::uint32_t i = 0; i < nodes; ++i) {
      Node node{"node" + std::to_string(i), labels(), {}};
      if (dice_.chance(90)) node.addresses.push_back(*parse_address("10.0.0." + std::to_string(i + 1)));
      if (dice_.chance(50)) node.addresses.push_back(*parse_address("fd00::f" + std::to_string(i)));
      scenario_.cluster.nodes.push_back(node);
    }
    scenario_.local_node = "node0";
    scenario_.subjects = dice_.chance(70) ? compile::Subjects::kEvery : compile::Subjects::kLocal;
    // Now and then so many that selectors are answered from the index of labels.
    const std::uint32_t endpoints = dice_.chance(3) ? 100 + dice_.below(150) : 1 + dice_.below(12);
    for (std::uint32_t i = 0; i < endpoints; ++i) scenario_.cluster.endpoints.push_back(endpoint(i));
  }

  /// Of few scenarios, of few endpoints each; now and then of one that is not there.
  void make_quarantines() {
    if (!dice_.chance(30)) return;
    std::set<std::pair<std::string, std::string>> names;
    for (std::uint32_t i = 1 + dice_.below(3); i > 0; --i) {
      const Endpoint& endpoint = dice_.pick(scenario_.cluster.endpoints);
      names.emplace(endpoint.namespace_name, dice_.chance(10) ? "nobody" : endpoint.name);
    }
    for (const auto& [home, name] : names)
      scenario_.quarantines.push_back({home, name, "reason " + name, "author"});
  }

  Endpoint endpoint(std::uint32_t number) {
    Endpoint endpoint;
    endpoint.id = "id-" + std::to_string(number);
    endpoint.namespace_name = dice_.pick(kNamespaces);
    endpoint.name = "pod" + std::to_string(number);
    endpoint.labels = labels();
    const Node& node = dice_.pick(scenario_.cluster.nodes);
    endpoint.node = node.name == scenario_.local_node && dice_.chance(50) ? "" : node.name;
    endpoint.kubernetes = dice_.chance(60);
    if (dice_.chance(75)) endpoint.service_account = dice_.pick(kAccounts);
    endpoint.host_network = dice_.chance(10);
    if (endpoint.host_network) {
      endpoint.addresses = node.addresses;
    } else {
      const std::string last = std::to_string(number + 1);
      const std::uint32_t families = dice_.below(8);
      if (families != 0)
        endpoint.addresses.push_back(
            *parse_address("10.0." + std::string(families < 5 ? "1." : "2.") + last));
      if (families < 3) endpoint.addresses.push_back(*parse_address("fd00::" + last));
      if (families == 4) endpoint.addresses.push_back(*parse_address("10.0.3." + last));
    }
    const std::uint32_t ports = dice_.below(4);
    for (std::uint32_t i = 0; i < ports; ++i)
      endpoint.ports.push_back({dice_.pick(kPortNames), protocol_with_ports(), port()});
    return endpoint;
  }

  Protocol protocol_with_ports() { return static_cast<Protocol>(dice_.below(3)); }

  std::uint16_t port() {
    static constexpr std::uint16_t kPorts[] = {0, 1, 53, 80, 81, 255, 256, 443, 8080, 8081, 65535};
    return dice_.pick(kPorts);
  }

  Selector selector() {
    Selector selector;
    const std::uint32_t count = dice_.chance(30) ? 0 : 1 + dice_.below(2);
    for (std::uint32_t i = 0; i < count; ++i) {
      Requirement requirement{dice_.pick(kKeys), static_cast<Operator>(dice_.below(4)), {}};
      if (requirement.op == Operator::kIn || requirement.op == Operator::kNotIn) {
        std::set<std::string> values;
        for (std::uint32_t v = 0; v <= dice_.below(2); ++v) values.insert(dice_.pick(kValues));
        requirement.values.assign(values.begin(), values.end());
      }
      selector.requirements.push_back(requirement);
    }
    std::sort(selector.requirements.begin(), selector.requirements.end());
    return selector;
  }

  EndpointSelector endpoint_selector(const std::string& home) {
    EndpointSelector result;
    if (dice_.chance(50))
      result.namespace_name = dice_.chance(80) ? home : dice_.pick(kNamespaces);
    else
      result.namespaces = selector();
    result.endpoints = selector();
    return result;
  }

  IpBlock block() {
    IpBlock result{*parse_block(dice_.pick(kBlocks)), {}};
    for (int tries = 0; tries < 3; ++tries) {
      const AddressBlock hole = *parse_block(dice_.pick(kBlocks));
      if (hole != result.block && contains(result.block, hole)) result.except.push_back(hole);
    }
    if (dice_.chance(20)) result.group = dice_.chance(50) ? "corp" : "home";
    std::sort(result.except.begin(), result.except.end());
    result.except.erase(std::unique(result.except.begin(), result.except.end()), result.except.end());
    return result;
  }

  Pattern pattern(SourceTerm::Field field) {
    using Form = Pattern::Form;
    const std::string home = dice_.pick(kNamespaces), account = dice_.pick(kAccounts);
    const auto form = static_cast<Form>(dice_.below(4));
    const bool whole = field == SourceTerm::Field::kPrincipal;
    switch (form) {
      case Form::kExact:
        return {form, whole ? principal("cluster.local", home, account) : home};
      case Form::kPrefix:
        return {form, whole ? "cluster.local/ns/" + home.substr(0, 2) : home.substr(0, 1)};
      case Form::kSuffix:
        return {form, whole ? "/sa/" + account : home.substr(1)};
      case Form::kAny:
        break;
    }
    return {Form::kAny, ""};
  }

  Source source() {
    Source made;
    for (std::uint32_t i = dice_.below(3); i > 0; --i) {
      SourceTerm term{static_cast<SourceTerm::Field>(dice_.below(2)), dice_.chance(40), {}};
      for (std::uint32_t p = 1 + dice_.below(2); p > 0; --p) term.patterns.push_back(pattern(term.field));
      made.terms.push_back(term);
    }
    made.any_address = dice_.chance(40);
    if (!made.any_address)
      for (std::uint32_t i = dice_.below(3); i > 0; --i) made.blocks.push_back(block());
    return made;
  }

  Peer peer(const std::string& home) {
    switch (dice_.below(13)) {
      case 11:
      case 12:
        return source();
      case 0:
        return Everyone{};
      case 1:
        return LocalNode{};
      case 2:
        return World{};
      case 3:
        return NodeSelector{selector()};
      case 4:
      case 5:
      case 6: {
        IpBlock made = block();
        made.world_only = dice_.chance(20);
        return made;
      }
      default:
        return endpoint_selector(home);
    }
  }

  PortMatch port_match() {
    PortMatch match;
    if (dice_.chance(30)) {
      match.protocol = protocol_with_ports();
      match.name = dice_.pick(kPortNames);
      return match;
    }
    match.protocol = static_cast<Protocol>(dice_.below(kProtocolCount));
    if (dice_.chance(25)) return match;
    match.first = port();
    match.last = dice_.chance(50) ? match.first : std::max(match.first, port());
    return match;
  }

  Rule rule(Tier tier, const std::string& home, std::uint32_t number) {
    Rule rule;
    rule.name = "rule[" + std::to_string(number) + "]";
    rule.action = dice_.chance(tier == Tier::kApplication ? 20 : 35) ? Action::kDeny : Action::kAllow;
    if (tier != Tier::kApplication && dice_.chance(25)) rule.action = Action::kPass;
    if (tier == Tier::kMesh && rule.action == Action::kAllow) rule.action = Action::kPass;
    for (std::uint32_t i = dice_.below(4); i > 0; --i) rule.peers.push_back(peer(home));
    rule.all_ports = dice_.chance(crowded_ ? 60 : 30);
    if (!rule.all_ports)
      for (std::uint32_t i = dice_.below(4); i > 0; --i) rule.ports.push_back(port_match());
    rule.origin = {"policies.yaml", ++line_, 7};
    return rule;
  }

  Policy policy(std::uint32_t number) {
    Policy policy;
    policy.tier = dice_.chance(50)   ? Tier::kApplication
                  : dice_.chance(65) ? Tier::kPlatform
                                     : Tier::kBaseline;
    if (dice_.chance(12)) policy.tier = Tier::kMesh;
    policy.kind = policy.tier != Tier::kApplication && dice_.chance(70) ? "ClusterNetworkPolicy"
                  : dice_.chance(70)                                    ? "NetworkPolicy"
                                                                        : "SegmentationPolicy";
    if (crowded_ && dice_.chance(60)) policy.tier = Tier::kPlatform;
    // Few numbers, so that policies meet at one.
    if (policy.tier != Tier::kApplication) policy.priority = crowded_ ? 0 : dice_.below(3);
    policy.namespace_name = dice_.pick(kNamespaces);
    policy.name = "policy" + std::to_string(number);
    policy.origin = {"policies.yaml", ++line_, 1};
    if (audits_ && dice_.chance(40)) policy.mode = Mode::kAudit;
    if (dice_.chance(40)) policy.established = static_cast<Established>(dice_.below(3));
    for (std::uint32_t i = 1 + dice_.below(3); i > 0; --i) {
      Clause clause;
      clause.direction = static_cast<Direction>(dice_.below(2));
      if (!crowded_ || dice_.chance(30)) clause.subject = endpoint_selector(policy.namespace_name);
      clause.isolates = dice_.chance(60);
      if (dice_.chance(20)) clause.expires = Time(std::chrono::seconds(kNow - 1 + dice_.below(3)));
      const std::uint32_t rules = dice_.below(4);
      for (std::uint32_t r = 0; r < rules; ++r)
        clause.rules.push_back(rule(policy.tier, policy.namespace_name, r));
      policy.clauses.push_back(clause);
    }
    return policy;
  }

  Dice dice_;
  Scenario scenario_;
  bool crowded_ = false;  // policies meet about everything at one priority
  bool audits_ = false;
  std::uint32_t line_ = 0;
};

}  // namespace

Scenario make_scenario(std::uint64_t seed) {
  return Maker(seed).run();
}

std::vector<Packet> make_packets(const Scenario& scenario, std::size_t count) {
  std::vector<AddressBytes> ends;
  for (const auto& endpoint : scenario.cluster.endpoints)
    ends.insert(ends.end(), endpoint.addresses.begin(), endpoint.addresses.end());
  for (const auto& node : scenario.cluster.nodes)
    ends.insert(ends.end(), node.addresses.begin(), node.addresses.end());
  for (const char* address : kWorld) ends.push_back(*parse_address(address));

  std::vector<std::uint16_t> ports = {0, 1, 52, 53, 54, 79, 80, 81, 82, 255, 256, 443, 8080, 8081, 65535};
  Dice dice(scenario.seed * 2);
  std::vector<Packet> packets;
  for (std::size_t i = 0; i < count; ++i) {
    Packet packet{dice.pick(ends), dice.pick(ends), static_cast<Protocol>(dice.below(kProtocolCount)),
                  dice.pick(ports)};
    for (const auto& endpoint : scenario.cluster.endpoints) {
      const auto& owned = endpoint.addresses;
      if (endpoint.ports.empty() || dice.chance(50)) continue;
      if (std::find(owned.begin(), owned.end(), packet.destination) == owned.end()) continue;
      const NamedPort& named = dice.pick(endpoint.ports);
      packet.protocol = named.protocol;
      packet.port = named.port;
    }
    packets.push_back(packet);
  }
  return packets;
}

std::string describe(const Packet& packet) {
  return format(packet.source) + " -> " + format(packet.destination) + " " +
         std::string(name(packet.protocol)) + "/" + std::to_string(packet.port);
}

std::string describe(const Scenario& scenario) {
  std::ostringstream out;
  const auto text = [](const Labels& labels) {
    std::string joined;
    for (const auto& [key, value] : labels) joined += " " + key + "=" + value;
    return joined;
  };
  out << "seed " << scenario.seed << ", posture "
      << (scenario.posture.action == Action::kAllow ? "allow" : "deny")
      << (scenario.posture.strict ? " strict" : "") << ", local node " << scenario.local_node << ", subjects "
      << (scenario.subjects == compile::Subjects::kEvery ? "every" : "local") << '\n';
  for (const auto& each : scenario.quarantines)
    out << "quarantine " << each.namespace_name << '/' << each.name << '\n';
  for (const auto& entry : scenario.cluster.namespaces)
    out << "namespace " << entry.name << text(entry.labels) << '\n';
  for (const auto& node : scenario.cluster.nodes) {
    out << "node " << node.name << text(node.labels);
    for (const auto& address : node.addresses) out << ' ' << format(address);
    out << '\n';
  }
  for (const auto& endpoint : scenario.cluster.endpoints) {
    out << "endpoint " << endpoint.namespace_name << '/' << endpoint.name << text(endpoint.labels) << " on '"
        << endpoint.node << "'" << (endpoint.kubernetes ? " kubernetes" : "")
        << (endpoint.host_network ? " host-network" : "")
        << (endpoint.service_account.empty() ? "" : " account " + endpoint.service_account);
    for (const auto& address : endpoint.addresses) out << ' ' << format(address);
    for (const auto& port : endpoint.ports)
      out << ' ' << port.name << '=' << name(port.protocol) << '/' << port.port;
    out << '\n';
  }
  for (const auto& policy : scenario.policies.policies) {
    out << policies::describe(policy) << ", " << name(policy.tier) << ' ' << policy.priority
        << ", established " << name(policy.established) << (policy.mode == Mode::kAudit ? ", audited" : "")
        << '\n';
    for (const auto& clause : policy.clauses) {
      out << "  " << (clause.direction == Direction::kIngress ? "ingress" : "egress") << " of "
          << policies::describe(Peer{clause.subject}) << (clause.isolates ? ", isolates" : "") << '\n';
      for (const auto& rule : clause.rules)
        out << "    line " << rule.origin.line << ' ' << name(rule.action) << ' ' << describe_peers(rule)
            << " on " << describe_ports(rule) << '\n';
    }
  }
  return out.str();
}

}  // namespace bulkhead::property
