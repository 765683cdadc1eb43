// One of Calico's policies: whom it selects, and its rules as edges.
#include <algorithm>
#include <charconv>
#include <limits>

#include "policies/import/calico.h"
#include "policies/import/cilium.h"
#include "policies/load/fields.h"
#include "policies/model/address.h"

namespace bulkhead::policies::imports {
namespace {

enum class CalicoAction : std::uint8_t { kAllow, kDeny, kPass };

/// The rule gives no edge.
struct Skipped {};

/// An expression without the text that it was read from.
Expression negation(Expression expression) {
  return {Expression::Op::kNot, {std::move(expression)}, {}, {}};
}

/// Of something that is in no namespace: all() means every namespace, and so fails; global() holds.
bool matches_global(Expression expression) {
  const auto turn = [](auto& self, Expression& e) -> void {
    using Op = Expression::Op;
    if (e.op == Op::kGlobal) {
      e.op = Op::kAll;
    } else if (e.op == Op::kAll) {
      e.op = Op::kGlobal;
    }
    for (auto& operand : e.operands) self(self, operand);
  };
  turn(turn, expression);
  return expression.matches({});
}

bool asks_only_names(const Expression& e) {
  if (!e.key.empty() && e.key != "projectcalico.org/name" && e.key != kNamespaceName) return false;
  return std::all_of(e.operands.begin(), e.operands.end(), asks_only_names);
}

std::vector<AddressBlock> blocks_of(const Item& list) {
  std::vector<AddressBlock> blocks;
  for (const auto& item : list.items()) {
    const auto block = block_of_text(item.text());
    if (!block)
      throw Refused{item, "found " + quoted(item.text()) + ", expected an address block or an address"};
    blocks.push_back(*block);
  }
  return blocks;
}

/// Blocks less holes. Without blocks: all addresses less holes.
std::vector<Peer> less(std::vector<AddressBlock> blocks, const std::vector<AddressBlock>& holes) {
  if (blocks.empty()) blocks = {*parse_block("0.0.0.0/0"), *parse_block("::/0")};
  std::vector<Peer> left;
  for (const auto& block : blocks) {
    IpBlock peer{block, {}, false};
    bool covered = false;
    for (const auto& hole : holes) {
      covered = covered || contains(hole, block);
      if (contains(block, hole) && hole != block) peer.except.push_back(hole);
    }
    if (!covered) left.emplace_back(std::move(peer));
  }
  return left;
}

class RuleReader {
 public:
  RuleReader(const Original& source, const CalicoWorld& world, const std::vector<EndpointSelector>& subjects,
             Ledger& ledger)
      : own_namespace_(source.namespace_name), world_(world), subjects_(subjects), ledger_(ledger) {}

  /// Throws Skipped where the rule gives no edge.
  Edge read(const Item& rule, Direction direction, CalicoAction action, std::string name) {
    action_ = action;
    const bool ingress = direction == Direction::kIngress;
    for (const auto& other : rule.besides({"action", "ipVersion", "protocol", "icmp", "notProtocol",
                                           "notICMP", "source", "destination", "http", "metadata"}))
      without(other, "found a field that is not known in a rule");
    if (rule["http"]) without(rule["http"], "found http, which packets do not show");

    Edge edge;
    edge.name = std::move(name);
    edge.direction = direction;
    edge.action = action == CalicoAction::kAllow  ? Action::kAllow
                  : action == CalicoAction::kDeny ? Action::kDeny
                                                  : Action::kPass;
    edge.line = rule.line();
    read_ports(rule, edge);
    const Item peer = rule[ingress ? "source" : "destination"],
               self = rule[ingress ? "destination" : "source"];
    for (const auto& entity : {peer, self})
      for (const auto& other :
           entity.besides({"nets", "notNets", "selector", "notSelector", "namespaceSelector", "ports",
                           "notPorts", "serviceAccounts", "services"}))
        without(other, "found a field that is not known in a rule");
    for (const auto what : {"ports", "notPorts"})
      if (const Item ports = rule["source"][what])
        without(ports, "found ports of the sender, which are not looked at");
    edge.peers = read_peer(peer);
    keep_family(rule, edge);
    read_self(self, edge);
    if (edge.peers.empty() || edge.subjects.empty()) throw Skipped{};
    return edge;
  }

 private:
  /// A condition that cannot be said: without it an allow would widen.
  void without(const Item& at, const std::string& what) {
    if (action_ == CalicoAction::kPass) throw Refused{at, what + ": a Pass can neither go nor widen"};
    const bool denies = action_ == CalicoAction::kDeny;
    ledger_.add(
        at, Effect::kStricter,
        what + (denies ? ": the rule denies here whatever this is" : ": the rule allows nothing here"));
    if (!denies) throw Skipped{};
  }

  /// Selectors; what of them cannot be said falls away in an allow, and counts as met in a deny.
  std::vector<EndpointSelector> select(const Expression& expression, Keys keys, const Item& at) {
    const bool denies = action_ == CalicoAction::kDeny;
    Disjunction found = selectors_of(expression, keys, denies, at);
    for (const auto& what : found.unsaid) {
      if (action_ == CalicoAction::kPass)
        throw Refused{at, "found " + what + ": a Pass can neither go nor widen"};
      ledger_.add(at, Effect::kStricter,
                  "found " + what +
                      (denies ? ": it counts as met, so the rule denies more here"
                              : ": it counts as not met, so the rule allows less here"));
    }
    return std::move(found.any);
  }

  /// Within the namespaces that an entity means: those selected, or else the policy's own, or all.
  std::vector<EndpointSelector> scope(const Item& entity) {
    if (const Item at = entity["namespaceSelector"]; !at.text().empty())
      return select(parse_expression(at), Keys::kNamespaces, at);
    if (!own_namespace_.empty()) return {in_namespace(own_namespace_)};
    return {{}};
  }

  static bool has_text(const Item& item) { return !item.text().empty(); }

  std::vector<EndpointSelector> endpoints(const Item& entity) {
    auto found = scope(entity);
    if (has_text(entity["selector"]))
      found = each_with_each(
          found, select(parse_expression(entity["selector"]), Keys::kEndpoints, entity["selector"]),
          entity["selector"]);
    if (has_text(entity["notSelector"]))
      found = each_with_each(
          found,
          select(negation(parse_expression(entity["notSelector"])), Keys::kEndpoints, entity["notSelector"]),
          entity["notSelector"]);
    return found;
  }

  /// Network sets among those that the entity selects.
  void add_sets(const Item& entity, std::vector<Peer>& peers) {
    const Expression selector = parse_expression(entity["selector"]);
    const bool excludes = has_text(entity["notSelector"]);
    const Expression excluded = parse_expression(entity["notSelector"]);
    for (const auto& set : world_.sets) {
      if (!set_in_scope(set, entity)) continue;
      if (excludes && excluded.matches(set.labels)) {
        without(entity["notSelector"], "found a network set among those that are not meant");
        continue;
      }
      if (!selector.matches(set.labels)) continue;
      for (const auto& net : set.nets) peers.emplace_back(IpBlock{net, {}, false});
    }
  }

  bool set_in_scope(const NetworkSet& set, const Item& entity) {
    const Item at = entity["namespaceSelector"];
    if (!has_text(at)) return own_namespace_.empty() || set.namespace_name == own_namespace_;
    const Expression expression = parse_expression(at);
    if (set.namespace_name.empty()) return matches_global(expression);
    Labels labels;
    const auto known = world_.namespaces.find(set.namespace_name);
    if (known != world_.namespaces.end()) {
      labels = known->second;
    } else if (!asks_only_names(expression)) {
      without(at, "found labels of the namespace " + quoted(set.namespace_name) +
                      ", which has a NetworkSet and is in none of the files");
      return true;
    }
    labels["projectcalico.org/name"] = set.namespace_name;
    labels[std::string(kNamespaceName)] = set.namespace_name;
    return expression.matches(labels);
  }

  std::vector<Peer> read_peer(const Item& entity) {
    const auto nets = blocks_of(entity["nets"]), not_nets = blocks_of(entity["notNets"]);
    const bool by_address = !nets.empty() || !not_nets.empty();
    const bool selects = has_text(entity["selector"]) || has_text(entity["namespaceSelector"]);
    const bool excludes = has_text(entity["notSelector"]);
    for (const auto what : {"serviceAccounts", "services"}) {
      const Item item = entity[what];
      if (!item) continue;
      if (action_ == CalicoAction::kDeny && !selects && !by_address)
        throw Refused{item, "found " + std::string(what) +
                                " alone, which edges do not know: whom to deny cannot be said"};
      without(item, "found " + std::string(what) + ", which edges do not know");
    }
    std::vector<Peer> peers;
    if (selects || (excludes && !own_namespace_.empty())) {
      if (by_address) without(entity[nets.empty() ? "notNets" : "nets"], "found addresses beside a selector");
      for (auto& selector : endpoints(entity)) peers.emplace_back(std::move(selector));
      add_sets(entity, peers);
      return peers;
    }
    if (by_address) {
      if (excludes) without(entity["notSelector"], "found notSelector beside addresses");
      if (nets.size() * not_nets.size() > kCombinationsMax)
        throw Refused{entity["notNets"], "found too many addresses that are not meant beside those that are"};
      return less(nets, not_nets);
    }
    if (!excludes) return {Everyone{}};
    // Whoever is not selected: other endpoints, and whoever is no endpoint.
    const Item at = entity["notSelector"];
    const Expression excluded = parse_expression(at);
    if (std::any_of(world_.sets.begin(), world_.sets.end(),
                    [&](const NetworkSet& set) { return excluded.matches(set.labels); }))
      without(at, "found a network set among those that are not meant");
    for (auto& selector : select(negation(excluded), Keys::kEndpoints, at))
      peers.emplace_back(std::move(selector));
    peers.emplace_back(World{});
    peers.emplace_back(NodeSelector{});
    return peers;
  }

  /// The rule's end that the policy selects, as far as the rule says more about it.
  void read_self(const Item& entity, Edge& edge) {
    for (const auto what : {"nets", "notNets", "serviceAccounts", "services"})
      if (const Item item = entity[what])
        without(item, "found " + std::string(what) + " of the selected end, which edges do not know");
    auto subjects = subjects_;
    if (has_text(entity["selector"]) || has_text(entity["namespaceSelector"]) ||
        has_text(entity["notSelector"]))
      subjects = each_with_each(subjects, endpoints(entity), entity);
    for (auto& subject : subjects) edge.subjects.emplace_back(std::move(subject));
  }

  void keep_family(const Item& rule, Edge& edge) {
    const Item at = rule["ipVersion"];
    const auto version = at.number(6);
    if (!version) return;
    if (*version != 4 && *version != 6) throw Refused{at, "found " + at.text() + ", expected 4 or 6"};
    const bool v4 = *version == 4;
    if (!edge.all_ports && std::all_of(edge.ports.begin(), edge.ports.end(), [&](const PortMatch& match) {
          return match.protocol == (v4 ? Protocol::kIcmp : Protocol::kIcmpV6);
        }))
      return;
    std::vector<Peer> kept;
    for (const auto& peer : edge.peers) {
      if (std::holds_alternative<Everyone>(peer)) {
        kept.emplace_back(IpBlock{*parse_block(v4 ? "0.0.0.0/0" : "::/0"), {}, false});
      } else if (const auto* block = std::get_if<IpBlock>(&peer)) {
        if (block->block.is_v4() == v4) kept.push_back(peer);
      } else {
        without(at, "found ipVersion beside a selector");
        kept.push_back(peer);
      }
    }
    edge.peers = std::move(kept);
  }

  std::optional<std::uint32_t> protocol_of(const Item& item) {
    const std::string word = item.text();
    if (word.empty()) return std::nullopt;
    std::string lower = word;
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](unsigned char c) { return std::tolower(c); });
    constexpr std::pair<std::string_view, std::uint32_t> kNames[] = {
        {"icmp", 1}, {"tcp", 6}, {"udp", 17}, {"icmpv6", 58}, {"sctp", 132}, {"udplite", 136}};
    for (const auto& [name, number] : kNames)
      if (name == lower) return number;
    return item.number(255);
  }

  static PortMatch whole(std::uint32_t number) {
    switch (number) {
      case 1:
        return {Protocol::kIcmp, 0, 0xffff, {}};
      case 6:
        return {Protocol::kTcp, 0, 0xffff, {}};
      case 17:
        return {Protocol::kUdp, 0, 0xffff, {}};
      case 58:
        return {Protocol::kIcmpV6, 0, 0xffff, {}};
      case 132:
        return {Protocol::kSctp, 0, 0xffff, {}};
      default:
        return {Protocol::kOther, static_cast<std::uint16_t>(number), static_cast<std::uint16_t>(number), {}};
    }
  }

  std::vector<PortMatch> port_list(const Item& list, Protocol protocol) {
    std::vector<PortMatch> ports;
    for (const auto& item : list.items()) {
      const std::string text = item.text();
      const std::size_t colon = text.find(':');
      const auto number = [&](std::string_view part) -> std::optional<std::uint16_t> {
        std::uint16_t value = 0;
        const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
        const bool octal = part.size() > 1 && part[0] == '0';
        if (error != std::errc{} || end != part.data() + part.size() || octal) return std::nullopt;
        return value;
      };
      const auto first = number(std::string_view(text).substr(0, colon));
      const auto last = colon == text.npos ? first : number(std::string_view(text).substr(colon + 1));
      if (first && last && *first <= *last) {
        ports.push_back({protocol, *first, *last, {}});
      } else if (!item.is_odd_number() && !wrong_port_name(text)) {
        ports.push_back({protocol, 0, 0xffff, text});
      } else {
        throw Refused{item,
                      "found " + quoted(text) + ", expected a port, a range such as 8000:8080, or a name"};
      }
    }
    return ports;
  }

  void read_ports(const Item& rule, Edge& edge) {
    const Item list = rule["destination"]["ports"], not_list = rule["destination"]["notPorts"];
    const auto protocol = protocol_of(rule["protocol"]), not_protocol = protocol_of(rule["notProtocol"]);
    const bool limited = !list.items().empty() || !not_list.items().empty();
    if (!protocol) {
      if (limited) throw Refused{rule, "found ports without a protocol, which Calico refuses"};
      for (const auto what : {"icmp", "notICMP"})
        if (rule[what])
          throw Refused{rule[what],
                        "found " + std::string(what) + " without a protocol, which Calico refuses"};
      edge.all_ports = !not_protocol;
      if (not_protocol) edge.ports = all_but({whole(*not_protocol)});
      return;
    }
    if (not_protocol == protocol) throw Skipped{};  // matches nothing
    edge.all_ports = false;
    edge.ports = {whole(*protocol)};
    const Protocol kind = edge.ports[0].protocol;
    if (kind == Protocol::kIcmp || kind == Protocol::kIcmpV6) {
      read_icmp(rule, kind, edge);
    } else {
      for (const auto what : {"icmp", "notICMP"})
        if (rule[what])
          throw Refused{rule[what],
                        "found " + std::string(what) + " of another protocol, which Calico refuses"};
    }
    if (!limited) return;
    if (kind != Protocol::kTcp && kind != Protocol::kUdp && kind != Protocol::kSctp)
      return without(list ? list : not_list, "found ports of a protocol whose ports are not looked at");
    if (!list.items().empty()) edge.ports = port_list(list, kind);
    if (not_list.items().empty()) return;
    const auto excluded = port_list(not_list, kind);
    const auto named = [](const PortMatch& match) { return !match.name.empty(); };
    if (std::any_of(excluded.begin(), excluded.end(), named) ||
        (!list.items().empty() && std::any_of(edge.ports.begin(), edge.ports.end(), named)))
      return without(not_list, "found notPorts with names");
    // What lies in neither the gaps of the one nor the other.
    auto outside = all_but(edge.ports);
    outside.insert(outside.end(), excluded.begin(), excluded.end());
    edge.ports = all_but(outside);
    std::erase_if(edge.ports, [&](const PortMatch& match) { return match.protocol != kind; });
    if (edge.ports.empty()) throw Skipped{};
  }

  void read_icmp(const Item& rule, Protocol kind, Edge& edge) {
    for (const auto what : {"icmp", "notICMP"})
      for (const auto& other : rule[what].besides({"type", "code"}))
        without(other, "found a field that is not known at an ICMP type");
    if (const Item icmp = rule["icmp"]) {
      if (const auto type = icmp["type"].number(255))
        edge.ports = {{kind, static_cast<std::uint16_t>(*type), static_cast<std::uint16_t>(*type), {}}};
      if (icmp["code"]) without(icmp["code"], "found an ICMP code, which is not looked at");
    }
    if (const Item icmp = rule["notICMP"]) {
      if (icmp["code"]) return without(icmp["code"], "found an ICMP code, which is not looked at");
      const auto type = icmp["type"].number(255);
      if (!type) return;
      const auto number = static_cast<std::uint16_t>(*type);
      auto outside = all_but(edge.ports);
      outside.push_back({kind, number, number, {}});
      edge.ports = all_but(outside);
      if (edge.ports.empty()) throw Skipped{};
    }
  }

  const std::string& own_namespace_;
  const CalicoWorld& world_;
  const std::vector<EndpointSelector>& subjects_;
  Ledger& ledger_;
  CalicoAction action_ = CalicoAction::kDeny;
};

std::vector<EndpointSelector> read_subjects(const Original& source, const Item& spec) {
  const auto exact = [](const Item& at, Keys keys) {
    Disjunction found = selectors_of(parse_expression(at), keys, false, at);
    if (!found.unsaid.empty())
      throw Refused{at, "found " + found.unsaid[0] + ": whom the policy selects cannot be said"};
    return std::move(found.any);
  };
  std::vector<EndpointSelector> subjects = exact(spec["selector"], Keys::kEndpoints);
  if (!source.namespace_name.empty())
    return each_with_each(subjects, {in_namespace(source.namespace_name)}, spec["selector"]);
  return each_with_each(subjects, exact(spec["namespaceSelector"], Keys::kNamespaces),
                        spec["namespaceSelector"]);
}

}  // namespace

CalicoPolicy read_calico_policy(const Original& source, const CalicoWorld& world) {
  const Item& spec = source.spec;
  CalicoPolicy made;
  made.source = source;
  Ledger ledger(source.file, source.words(), made.losses);
  for (const auto& other :
       spec.besides({"tier", "order", "ingress", "egress", "selector", "types", "doNotTrack", "preDNAT",
                     "applyOnForward", "serviceAccountSelector", "namespaceSelector", "performanceHints"}))
    throw Refused{other, "found a field that is not known here"};
  for (const auto what : {"doNotTrack", "preDNAT"})
    if (spec[what].boolean())
      throw Refused{spec[what],
                    "found " + std::string(what) + ", which is about host endpoints: nodes have no end here"};
  if (spec["applyOnForward"].boolean())
    ledger.add(spec["applyOnForward"], Effect::kNone,
               "found applyOnForward, which is about what host endpoints forward: nodes have no end here");
  if (const std::string text = spec["serviceAccountSelector"].text(); !text.empty() && text != "all()")
    throw Refused{spec["serviceAccountSelector"],
                  "found a selector of service accounts, which edges do not know"};
  if (!source.namespace_name.empty() && !spec["namespaceSelector"].text().empty())
    throw Refused{spec["namespaceSelector"], "found a namespaceSelector in a NetworkPolicy, which has none"};

  if (const std::string text = spec["tier"].text(); !text.empty()) made.tier = text;
  made.order = std::numeric_limits<double>::infinity();
  if (const std::string text = spec["order"].text(); !text.empty()) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), made.order);
    if (error != std::errc{} || end != text.data() + text.size() || made.order != made.order)
      throw Refused{spec["order"], "found " + quoted(text) + ", expected a number"};
  }
  const auto ingress = spec["ingress"].items(), egress = spec["egress"].items();
  made.egress = !egress.empty();
  made.ingress = egress.empty() || !ingress.empty();
  if (const auto types = spec["types"].items(); !types.empty()) {
    made.ingress = made.egress = false;
    for (const auto& type : types) {
      if (type.text() != "Ingress" && type.text() != "Egress")
        throw Refused{type, "found " + quoted(type.text()) + ", expected Ingress or Egress"};
      (type.text() == "Ingress" ? made.ingress : made.egress) = true;
    }
  }

  const auto subjects = read_subjects(source, spec);
  for (const auto& subject : subjects) made.subjects.emplace_back(subject);
  RuleReader reader(source, world, subjects, ledger);
  const auto read = [&](const std::vector<Item>& rules, Direction direction, const char* word) {
    for (std::size_t i = 0; i < rules.size(); ++i) {
      const Item at = rules[i]["action"];
      const std::string action = at.text();
      if (action == "Log") {
        ledger.add(at, Effect::kNone, "found Log: packets are not logged here");
        continue;
      }
      if (action != "Allow" && action != "Deny" && action != "Pass")
        throw Refused{at, "found " + quoted(action) + ", expected Allow, Deny, Log or Pass"};
      try {
        made.edges.push_back(reader.read(rules[i], direction,
                                         action == "Allow"  ? CalicoAction::kAllow
                                         : action == "Deny" ? CalicoAction::kDeny
                                                            : CalicoAction::kPass,
                                         word + std::to_string(i)));
        if (action == "Pass") made.passes.push_back(at);
      } catch (const Skipped&) {
      }
    }
  };
  if (made.ingress) read(ingress, Direction::kIngress, "ingress-");
  if (made.egress) read(egress, Direction::kEgress, "egress-");
  return made;
}

}  // namespace bulkhead::policies::imports
