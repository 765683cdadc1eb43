// AdminNetworkPolicy and BaselineAdminNetworkPolicy (policy.networking.k8s.io/v1alpha1) and ClusterNetworkPolicy
// (v1alpha2, v1beta1): the API's types and the validation of its CustomResourceDefinitions
// (network-policy-api, apis/ and config/crd/). Null counts as absent, as the API server decodes it.
//
// "If an implementation sees no fields are set" in a peer, "it can infer that the deployed CRD is of an incompatible
// version with an unknown field": then an Accept rule matches nothing, and a Deny or Pass rule is "a 'Deny all'
// rule". So is read here a peer that is empty, or has only fields that no policy API knows. The same holds for
// domainNames, which no enforcer of addresses can know. Everything else that is unknown is refused, as the API
// server would: slips of the pen, other dialects' peers (podSelector, ipBlock), fields beside known ones, and fields
// of selectors, since to drop one would widen it.
#include <algorithm>
#include <array>
#include <set>

#include "policies/load/objects.h"

namespace bulkhead::policies {
namespace {

constexpr std::size_t kNetworksMax = 25, kDomainNamesMax = 25, kNameMax = 100;

/// In what the kinds and versions differ.
struct Dialect {
  bool legacy = false;         // v1alpha1: `ports`, and both selectors of `pods` are required
  std::size_t items_max = 25;  // of each list
  std::string_view accept = "Accept";
  bool passes = true;
  bool masked_networks = false;
  bool domain_names = true;
};

class ClusterPolicyReader {
 public:
  ClusterPolicyReader(const Dialect& dialect, Policy& policy) : dialect_(dialect), policy_(policy) {}

  void read(Fields& spec) {
    const EndpointSelector subject = read_subject(spec.required("subject"));
    read_rules(spec.optional("ingress"), Direction::kIngress, subject);
    read_rules(spec.optional("egress"), Direction::kEgress, subject);
  }

 private:
  /// One of the fields of a mapping of which exactly one must be set; nothing where that is not so.
  Value only_one(const Value& item, Fields& fields, const char* what,
                 std::span<const std::string_view> names) {
    std::vector<Value> set;
    for (const auto name : names)
      if (Value value = fields.optional(name)) set.push_back(std::move(value));
    if (!fields.valid()) return {};
    if (set.size() > 1) {
      const auto last = [](const Value& value) { return value.path().substr(value.path().rfind('.') + 1); };
      set[1].fail("found " + last(set[1]) + " beside " + last(set[0]) + ", expected one of them");
      return {};
    }
    if (set.size() == 1) return set[0];
    // A misspelled field is reported by itself.
    const bool misspelled = std::any_of(
        item.node()->members.begin(), item.node()->members.end(),
        [&](const auto& m) { return std::find(names.begin(), names.end(), m.key.scalar) == names.end(); });
    if (!misspelled) item.fail("found an empty " + std::string(what) + ", expected " + one_of(names));
    return {};
  }

  /// A list that may have `max` items and, where it is written, has one.
  std::vector<Value> bounded_list(const Value& list, std::size_t max, const char* what) {
    auto items = list.list();
    if (list.is_list() && list.node()->items.empty())
      list.fail("found an empty list of " + std::string(what) + ", expected at least one");
    if (items.size() > max) {
      list.fail("found " + std::to_string(items.size()) + " " + what + ", expected at most " +
                std::to_string(max));
      items.resize(max);
    }
    return items;
  }

  static bool is_named(const Value& value, std::string_view name) {
    return value && value.path().ends_with("." + std::string(name));
  }

  EndpointSelector read_subject(const Value& item) {
    Fields fields = item.fields();
    constexpr std::string_view kNames[] = {"namespaces", "pods"};
    const Value one = only_one(item, fields, "subject", kNames);
    return one ? read_pods(one, is_named(one, "namespaces")) : EndpointSelector{};
  }

  EndpointSelector read_pods(const Value& value, bool whole_namespaces) {
    EndpointSelector selector;
    if (whole_namespaces) {
      selector.namespaces = read_selector(value);
      return selector;
    }
    Fields fields = value.fields();
    selector.namespaces = read_selector(dialect_.legacy ? fields.required("namespaceSelector")
                                                        : fields.optional("namespaceSelector"));
    selector.endpoints = read_selector(fields.required("podSelector"));
    return selector;
  }

  void read_rules(const Value& list, Direction direction, const EndpointSelector& subject) {
    const std::string name = direction == Direction::kIngress ? "ingress" : "egress";
    const auto items = list.list();
    if (items.size() > dialect_.items_max)
      return list.fail("found " + std::to_string(items.size()) + " rules, expected at most " +
                       std::to_string(dialect_.items_max));
    Clause clause{direction, subject, false, {}};
    for (const auto& item : items)
      clause.rules.push_back(
          read_rule(item, name + "[" + std::to_string(clause.rules.size()) + "]", direction));
    if (!clause.rules.empty()) policy_.clauses.push_back(std::move(clause));
  }

  Rule read_rule(const Value& item, std::string name, Direction direction) {
    Fields fields = item.fields();
    Rule rule;
    rule.name = std::move(name);
    rule.origin = item.origin();
    const Value name_value = fields.optional("name");
    if (const auto text = name_value.text(); text && !text->empty()) {
      rule.name = *text;
      const auto characters =
          std::count_if(text->begin(), text->end(), [](char c) { return (c & 0xc0) != 0x80; });
      if (static_cast<std::size_t>(characters) > kNameMax)
        name_value.fail("found a name of " + std::to_string(characters) + " characters, expected at most " +
                        std::to_string(kNameMax));
    }
    read_action(fields.required("action"), rule);

    const bool ingress = direction == Direction::kIngress;
    const Value peers = fields.required(ingress ? "from" : "to");
    PeersRead read;
    for (const auto& peer : bounded_list(peers, dialect_.items_max, "peers"))
      if (is_unknown_peer(peer))
        read.unknown = peer;
      else
        read_peer(peer, ingress, rule, read);
    if (read.domain_names) {
      if (rule.action != Action::kAllow)
        read.domain_names.fail("found domainNames in a " + std::string(name_of(rule.action)) +
                               " rule, expected " + std::string(dialect_.accept) +
                               ": no other rule may have them");
      rule.peers.clear();
      read.domain_names.warn(
          "found domainNames, which are not resolved here: as the API demands, the whole rule " +
          quoted(rule.name) + " matches nothing");
    }

    const Value ports = fields.optional(dialect_.legacy ? "ports" : "protocols");
    Value named;
    for (const auto& port : bounded_list(ports, dialect_.items_max, dialect_.legacy ? "ports" : "protocols"))
      dialect_.legacy ? read_port(port, rule, named) : read_protocol(port, rule, named);
    rule.all_ports = !ports;
    if (named && read.without_names)
      named.fail(
          "found a port name beside nodes, networks or domainNames, expected a number: their ports have no "
          "names");
    if (read.unknown) fail_closed(read.unknown, rule);
    return rule;
  }

  /// Known nowhere, and no slip of the pen for what is.
  static bool is_unknown_peer(const Value& item) {
    constexpr std::array<std::string_view, 15> kPeers = {
        "namespaces",        "pods",    "nodes",        "networks",   "domainNames",   "podSelector",
        "namespaceSelector", "ipBlock", "nodeSelector", "sameLabels", "notSameLabels", "matchLabels",
        "matchExpressions",  "cidr",    "except"};
    return item.is_mapping() &&
           std::none_of(item.node()->members.begin(), item.node()->members.end(), [&](const Member& member) {
             return std::find(kPeers.begin(), kPeers.end(), member.key.scalar) != kPeers.end() ||
                    nearest(member.key.scalar, kPeers);
           });
  }

  static void fail_closed(const Value& peer, Rule& rule) {
    const auto& members = peer.node()->members;
    const bool accepts = rule.action == Action::kAllow;
    peer.warn(
        "found " +
        (members.empty() ? "an empty peer" : "a peer of an unknown kind, " + quoted(members[0].key.scalar)) +
        ": as the API demands, the whole rule " + quoted(rule.name) +
        (accepts ? " matches nothing" : " denies everything"));
    rule.peers.clear();
    if (accepts) return;
    rule.action = Action::kDeny;
    rule.peers.emplace_back(Everyone{});
    rule.ports.clear();
    rule.all_ports = true;
  }

  std::string_view name_of(Action action) const {
    return action == Action::kAllow ? dialect_.accept : action == Action::kDeny ? "Deny" : "Pass";
  }

  void read_action(const Value& value, Rule& rule) {
    std::optional<Action> action;
    if (dialect_.passes)
      action = value.choice<Action>(
          {{dialect_.accept, Action::kAllow}, {"Deny", Action::kDeny}, {"Pass", Action::kPass}});
    else
      action = value.choice<Action>({{dialect_.accept, Action::kAllow}, {"Deny", Action::kDeny}});
    rule.action = action.value_or(Action::kDeny);
  }

  struct PeersRead {
    Value domain_names, unknown;
    bool without_names = false;  // some peer's ports have no names
  };

  void read_peer(const Value& item, bool ingress, Rule& rule, PeersRead& read) {
    Fields fields = item.fields();
    std::vector<std::string_view> names = {"namespaces", "pods"};
    if (!ingress) names.insert(names.end(), {"nodes", "networks"});
    if (!ingress && dialect_.domain_names) names.push_back("domainNames");
    const Value one = only_one(item, fields, "peer", names);
    if (!one) return;
    if (is_named(one, "namespaces") || is_named(one, "pods")) {
      rule.peers.emplace_back(read_pods(one, is_named(one, "namespaces")));
      return;
    }
    read.without_names = true;
    if (is_named(one, "nodes")) rule.peers.emplace_back(NodeSelector{read_selector(one)});
    if (is_named(one, "networks")) read_networks(one, rule);
    if (is_named(one, "domainNames")) {
      read_domain_names(one);
      read.domain_names = one;
    }
  }

  void read_networks(const Value& list, Rule& rule) {
    std::set<std::string> seen;
    for (const auto& item : bounded_list(list, kNetworksMax, "networks")) {
      const auto block = dialect_.masked_networks ? item.block() : read_block(item);
      if (!block) continue;
      if (!seen.insert(item.node()->scalar).second)
        item.fail("found " + quoted(item.node()->scalar) + " a second time, expected it once");
      rule.peers.emplace_back(IpBlock{*block, {}});
    }
  }

  void read_domain_names(const Value& list) {
    std::set<std::string> seen;
    for (const auto& item : bounded_list(list, kDomainNamesMax, "domain names")) {
      const auto text = item.text();
      if (!text) continue;
      if (!is_domain_name(*text))
        item.fail_expected("a domain name such as kubernetes.io or *.kubernetes.io");
      if (!seen.insert(*text).second)
        item.fail("found " + quoted(*text) + " a second time, expected it once");
    }
  }

  /// Two labels or more, an asterisk only as the first.
  static bool is_domain_name(std::string_view text) {
    if (text.starts_with("*.")) text.remove_prefix(2);
    if (text.ends_with('.')) text.remove_suffix(1);
    const auto letter_or_digit = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    };
    for (std::size_t labels = 1;; ++labels) {
      const std::string_view label = text.substr(0, text.find('.'));
      if (label.empty() || !letter_or_digit(label.front()) || !letter_or_digit(label.back()) ||
          !std::all_of(label.begin(), label.end(),
                       [&](char c) { return letter_or_digit(c) || c == '-' || c == '_'; }))
        return false;
      if (label.size() == text.size()) return labels > 1;
      text.remove_prefix(label.size() + 1);
    }
  }

  /// Whatever protocol the receiver's port of that name has.
  void add_name(const Value& value, Rule& rule, Value& named) {
    const auto text = value.text();
    if (!text) return;
    named = value;
    if (const auto wrong = wrong_port_name(*text)) value.fail_expected(*wrong);
    for (const auto protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kSctp})
      rule.ports.push_back({protocol, 0, 0xffff, *text});
  }

  void add_range(const Value& start, const Value& end, Protocol protocol, Rule& rule) {
    const auto first = start.port(), last = end.port();
    if (first && last && *last <= *first)
      end.fail_expected("a port above the start, " + std::to_string(*first));
    rule.ports.push_back({protocol, first.value_or(0), last.value_or(0), {}});
  }

  void read_port(const Value& item, Rule& rule, Value& named) {
    Fields fields = item.fields();
    constexpr std::string_view kNames[] = {"portNumber", "portRange", "namedPort"};
    const Value one = only_one(item, fields, "port", kNames);
    if (!one) return;
    if (is_named(one, "namedPort")) return add_name(one, rule, named);
    Fields port = one.fields();
    const auto protocol =
        port.optional("protocol")
            .choice<Protocol>({{"TCP", Protocol::kTcp}, {"UDP", Protocol::kUdp}, {"SCTP", Protocol::kSctp}})
            .value_or(Protocol::kTcp);
    if (is_named(one, "portRange")) {
      const Value start = port.required("start");
      return add_range(start, port.required("end"), protocol, rule);
    }
    const std::uint16_t number = port.required("port").port().value_or(0);
    rule.ports.push_back({protocol, number, number, {}});
  }

  void read_protocol(const Value& item, Rule& rule, Value& named) {
    Fields fields = item.fields();
    constexpr std::string_view kNames[] = {"tcp", "udp", "sctp", "destinationNamedPort"};
    const Value one = only_one(item, fields, "protocol", kNames);
    if (!one) return;
    if (is_named(one, "destinationNamedPort")) return add_name(one, rule, named);
    const Protocol protocol = is_named(one, "tcp")   ? Protocol::kTcp
                              : is_named(one, "udp") ? Protocol::kUdp
                                                     : Protocol::kSctp;
    Fields matches = one.fields();
    const Value port = matches.required("destinationPort");
    Fields port_fields = port.fields();
    constexpr std::string_view kPortNames[] = {"number", "range"};
    if (!port) return;
    const Value number = only_one(port, port_fields, "port", kPortNames);
    if (!number) return;
    if (is_named(number, "number")) {
      const std::uint16_t value = number.port().value_or(0);
      rule.ports.push_back({protocol, value, value, {}});
      return;
    }
    Fields range = number.fields();
    const Value start = range.required("start");
    add_range(start, range.required("end"), protocol, rule);
  }

  const Dialect& dialect_;
  Policy& policy_;
};

std::uint32_t read_priority(Fields& spec) {
  return static_cast<std::uint32_t>(spec.required("priority").integer(0, kPriorityMax).value_or(0));
}

}  // namespace

void read_admin_network_policy(const Value& spec, Policy& policy) {
  Fields fields = spec.fields();
  policy.tier = Tier::kPlatform;
  policy.priority = read_priority(fields);
  const Dialect dialect{.legacy = true, .items_max = 100, .accept = "Allow"};
  ClusterPolicyReader(dialect, policy).read(fields);
}

void read_baseline_admin_network_policy(const Value& spec, Policy& policy) {
  Fields fields = spec.fields();
  policy.tier = Tier::kBaseline;
  policy.priority = kPriorityMax + 1;  // it has none: it is asked after all that have one
  const Dialect dialect{
      .legacy = true, .items_max = 100, .accept = "Allow", .passes = false, .domain_names = false};
  ClusterPolicyReader(dialect, policy).read(fields);
}

void read_cluster_network_policy(const Value& spec, bool masked_networks, Policy& policy) {
  Fields fields = spec.fields();
  policy.tier = fields.required("tier")
                    .choice<Tier>({{"Admin", Tier::kPlatform}, {"Baseline", Tier::kBaseline}})
                    .value_or(Tier::kPlatform);
  policy.priority = read_priority(fields);
  const Dialect dialect{.masked_networks = masked_networks};
  ClusterPolicyReader(dialect, policy).read(fields);
}

}  // namespace bulkhead::policies
