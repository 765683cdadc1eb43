#include "policies/import/cilium.h"

#include <algorithm>
#include <array>

#include "policies/load/nearest.h"
#include "policies/model/address.h"

namespace bulkhead::policies::imports {
namespace {

/// An endpoint of Kubernetes' CIDR is what is neither an endpoint nor a node (the API document of fromCIDR).
IpBlock world_block(const AddressBlock& block) {
  return {block, {}, true};
}

}  // namespace

/// One spec of a policy.
class CiliumRules {
 public:
  CiliumRules(CiliumImport& import, const Original& source, const Item& spec, Ledger& ledger,
              Segmentation& made)
      : import_(import), own_namespace_(source.namespace_name), spec_(spec), ledger_(ledger), made_(made) {}

  void read() {
    if (spec_["nodeSelector"])
      throw Refused{spec_["nodeSelector"],
                    "found nodeSelector, expected endpointSelector: nodes have no end here"};
    if (!spec_["endpointSelector"].is_mapping()) throw Refused{spec_, "found no endpointSelector"};
    for (const auto& other :
         spec_.besides({"endpointSelector", "ingress", "egress", "ingressDeny", "egressDeny",
                        "enableDefaultDeny", "labels", "description", "log"}))
      throw Refused{other, "found a field that is not known here"};
    spec_["enableDefaultDeny"].refuse_besides({"ingress", "egress"});
    read_subject();
    read_direction(Direction::kIngress, "ingress", "ingressDeny");
    read_direction(Direction::kEgress, "egress", "egressDeny");
  }

  TowardsNode towards_node;

 private:
  void read_subject() {
    try {
      const CiliumSelector read = read_cilium_selector(spec_["endpointSelector"]);
      if (!read.reserved.empty())
        throw Refused{spec_["endpointSelector"],
                      "found the reserved label " + quoted(read.reserved) + ", expected labels of endpoints"};
      const EndpointSelector own = in_namespace(own_namespace_);
      const bool namespaced = !own_namespace_.empty();
      if (namespaced && read.names_namespace && !read.selector.namespaces.requirements.empty() &&
          read.selector.namespaces != own.namespaces)
        throw Refused{spec_["endpointSelector"], "found another namespace than the policy's own"};
      subject_ = namespaced ? both(read.selector, own) : read.selector;
    } catch (const Unsaid& unsaid) {
      throw Refused{unsaid.at, unsaid.message};
    }
    towards_node.subject = subject_;
    towards_node.at = spec_;
  }

  void read_direction(Direction direction, std::string_view allow, std::string_view deny) {
    const auto allows = spec_[allow].items(), denies = spec_[deny].items();
    const Item said = spec_["enableDefaultDeny"][direction == Direction::kIngress ? "ingress" : "egress"];
    isolates_ = said ? said.boolean() : !allows.empty() || !denies.empty();
    direction_ = direction;
    bool isolated = false;
    for (std::size_t i = 0; i < denies.size(); ++i)
      read_rule(denies[i], Action::kDeny, std::string(direction_word()) + "-deny-" + std::to_string(i));
    for (std::size_t i = 0; i < allows.size(); ++i)
      isolated |=
          read_rule(allows[i], Action::kAllow, std::string(direction_word()) + "-" + std::to_string(i));
    if (direction == Direction::kEgress) towards_node.isolates = isolates_;
    if (!isolates_ || isolated) return;
    Edge edge = edge_of(spec_, std::string(direction_word()) + "-default-deny", Action::kAllow);
    made_.edges.push_back(std::move(edge));
  }

  std::string_view direction_word() const { return direction_ == Direction::kIngress ? "ingress" : "egress"; }

  Edge edge_of(const Item& at, std::string name, Action action) const {
    Edge edge;
    edge.name = std::move(name);
    edge.direction = direction_;
    edge.subjects = {subject_};
    edge.action = action;
    edge.isolates = isolates_;
    edge.line = at.line();
    return edge;
  }

  /// What a rule asks for besides and cannot be said: an allow goes, a deny goes on without it.
  bool goes_on(const Item& at, const std::string& what, Action action) {
    ledger_.add(at, Effect::kStricter,
                what + (action == Action::kDeny ? ": the rule denies here whatever this is"
                                                : ": the rule allows nothing here"));
    return action == Action::kDeny;
  }

  /// True where it gave an allow edge.
  bool read_rule(const Item& rule, Action action, std::string name) {
    const bool ingress = direction_ == Direction::kIngress;
    const auto field = [&](std::string_view what) {
      return rule[std::string(ingress ? "from" : "to") + std::string(what)];
    };
    for (const auto& other :
         rule.besides({ingress ? "fromEndpoints" : "toEndpoints", ingress ? "fromCIDR" : "toCIDR",
                       ingress ? "fromCIDRSet" : "toCIDRSet", ingress ? "fromEntities" : "toEntities",
                       ingress ? "fromNodes" : "toNodes", ingress ? "fromGroups" : "toGroups",
                       ingress ? "fromRequires" : "toRequires", "toPorts", "icmps", "authentication",
                       ingress ? "toPorts" : "toFQDNs", ingress ? "toPorts" : "toServices"}))
      if (!goes_on(other, "found a field that is not known in a rule", action)) return false;
    if (field("Requires").items().size() > 0)
      throw Refused{field("Requires"), "found requirements, which limit the rules of other policies, too"};
    const Item authentication = rule["authentication"];
    if (authentication && authentication["mode"].text() != "disabled" &&
        !goes_on(authentication, "found authentication, which packets do not show", action))
      return false;

    Edge edge = edge_of(rule, std::move(name), action);
    if (!read_peers(rule, field, action, edge)) return false;
    if (!read_ports(rule, action, edge)) return false;
    if (edge.peers.empty()) return false;
    if (direction_ == Direction::kEgress && action == Action::kAllow) note_node(edge, rule);
    made_.edges.push_back(std::move(edge));
    return action == Action::kAllow;
  }

  /// False where the rule gives no edge.
  template <typename FieldOf>
  bool read_peers(const Item& rule, const FieldOf& field, Action action, Edge& edge) {
    std::vector<Item> members;
    constexpr std::array<std::string_view, 8> kMembers = {"Endpoints", "CIDR",   "CIDRSet", "Entities",
                                                          "Nodes",     "Groups", "FQDNs",   "Services"};
    const std::size_t count = direction_ == Direction::kIngress ? 6 : 8;
    for (std::size_t i = 0; i < count; ++i) {
      const std::string_view what = kMembers[i];
      const Item member = field(what);
      if (!member) continue;
      if (what != "Services" && member.items().empty()) {
        if (action == Action::kDeny)
          throw Refused{member, "found an empty list, which Cilium's versions read differently"};
        ledger_.add(
            member, Effect::kStricter,
            "found an empty list, which Cilium's versions read differently: the rule allows nothing here");
        return false;
      }
      members.push_back(member);
    }
    if (members.size() > 1)
      throw Refused{members[1], "found several kinds of peers in one rule, which Cilium refuses"};
    if (members.empty()) {
      edge.peers = {Everyone{}};
      return !rule["toPorts"].items().empty() ||
             !rule["icmps"].items().empty();  // {} allows and denies nothing
    }
    const std::string& path = members[0].path();
    const std::string what = path.substr(path.rfind('.') + 1);
    host_allowed_ = what.ends_with("Entities") && allows_host(members[0]);
    for (const auto& item : members[0].is_list() ? members[0].items() : std::vector<Item>{members[0]}) {
      try {
        if (what.ends_with("Endpoints"))
          add_endpoints(item, action, edge.peers);
        else if (what.ends_with("CIDR"))
          edge.peers.emplace_back(world_block(block_at(item)));
        else if (what.ends_with("CIDRSet"))
          add_block_set(item, edge.peers);
        else if (what.ends_with("Entities"))
          add_entity(item, item.text(), action, edge.peers);
        else
          throw Unsaid{item, "found " + what + ", whose addresses are not known here"};
      } catch (const Unsaid& unsaid) {
        if (action == Action::kDeny)
          throw Refused{unsaid.at, unsaid.message + ": whom to deny cannot be said"};
        ledger_.add(unsaid.at, Effect::kStricter, unsaid.message + ": this peer is not allowed here");
      }
    }
    return true;
  }

  void add_endpoints(const Item& item, Action action, std::vector<Peer>& peers) {
    const CiliumSelector read = read_cilium_selector(item);
    if (!read.reserved.empty()) return add_entity(item, read.reserved, action, peers);
    const bool own = !own_namespace_.empty() && !read.names_namespace;
    peers.emplace_back(own ? both(read.selector, in_namespace(own_namespace_)) : read.selector);
  }

  static AddressBlock block_at(const Item& item) {
    const auto block = block_of_text(item.text());
    if (!block)
      throw Refused{item, "found " + quoted(item.text()) + ", expected an address block such as 10.0.0.0/8"};
    return *block;
  }

  void add_block_set(const Item& item, std::vector<Peer>& peers) {
    for (const auto& other : item.besides({"cidr", "except", "cidrGroupRef"}))
      throw Unsaid{other, "found a field that is not known at a CIDR"};
    std::vector<AddressBlock> blocks, holes;
    if (const Item group = item["cidrGroupRef"]) {
      const auto known = import_.groups_.find(group.text());
      if (known == import_.groups_.end())
        throw Unsaid{group,
                     "found the CiliumCIDRGroup " + quoted(group.text()) + ", which is in none of the files"};
      blocks = known->second;
    } else {
      blocks.push_back(block_at(item["cidr"]));
    }
    for (const auto& hole : item["except"].items()) holes.push_back(block_at(hole));
    combinations_ += blocks.size() * (holes.size() + 1);
    if (combinations_ > kCombinationsMax)
      throw Refused{item, "found more than " + std::to_string(kCombinationsMax) +
                              " blocks, with their exceptions, in the rules of one policy"};
    for (const auto& block : blocks) {
      IpBlock peer = world_block(block);
      bool covered = false;
      for (const auto& hole : holes) {
        covered = covered || contains(hole, block);
        if (contains(block, hole) && hole != block) peer.except.push_back(hole);
      }
      if (!covered) peers.emplace_back(std::move(peer));
    }
  }

  void add_entity(const Item& item, const std::string& entity, Action action, std::vector<Peer>& peers) {
    const auto block = [&](const char* text) { peers.emplace_back(world_block(*parse_block(text))); };
    if (entity == "all") {
      peers.emplace_back(Everyone{});
    } else if (entity == "world") {
      peers.emplace_back(World{});
    } else if (entity == "world-ipv4") {
      block("0.0.0.0/0");
    } else if (entity == "world-ipv6") {
      block("::/0");
    } else if (entity == "cluster") {
      peers.emplace_back(EndpointSelector{});
      peers.emplace_back(NodeSelector{});
    } else if (entity == "host") {
      peers.emplace_back(LocalNode{});
    } else if (entity == "remote-node") {
      // The own node among them: at ingress Cilium lets it pass by itself.
      if (direction_ == Direction::kEgress && action == Action::kAllow && !host_allowed_)
        throw Unsaid{item, "found remote-node without host, and nodes here are the own one, too"};
      if (action == Action::kDeny)
        ledger_.add(item, Effect::kStricter,
                    "found remote-node: every node is denied here, the own one, too");
      peers.emplace_back(NodeSelector{});
    } else if (entity != "none") {
      throw Unsaid{item, "found the entity " + quoted(entity) + ", whose addresses are not known here"};
    }
  }

  /// Whether a list of entities allows the own node.
  static bool allows_host(const Item& list) {
    const auto words = list.items();
    return std::any_of(words.begin(), words.end(), [](const Item& word) {
      const std::string text = word.text();
      return text == "host" || text == "cluster" || text == "all";
    });
  }

  /// False where no port is left.
  bool read_ports(const Item& rule, Action action, Edge& edge) {
    const auto port_rules = rule["toPorts"].items(), icmp = rule["icmps"].items();
    if (port_rules.empty() && icmp.empty()) return true;
    edge.all_ports = false;
    const auto unsaid = [&](const Unsaid& caught) {
      if (action == Action::kDeny) throw Refused{caught.at, caught.message + ": what to deny cannot be said"};
      ledger_.add(caught.at, Effect::kStricter, caught.message + ": these ports are not allowed here");
    };
    for (const auto& item : port_rules) {
      bool skipped = false;
      for (const auto& other : item.besides({"ports"})) {
        if (other.is_mapping() && other.members().empty()) continue;
        const std::string what = other.path().substr(other.path().rfind('.') + 1);
        skipped = !goes_on(other, "found " + what + ", which packets do not show", action) || skipped;
      }
      if (skipped) continue;
      try {
        edge.all_ports = read_cilium_ports(item["ports"], edge.ports) || edge.all_ports;
      } catch (const Unsaid& caught) {
        unsaid(caught);
      }
    }
    for (const auto& item : icmp) {
      try {
        for (const auto& other : item.besides({"fields"}))
          throw Unsaid{other, "found a field that is not known among ICMP types"};
        read_cilium_icmp(item["fields"], edge.ports);
      } catch (const Unsaid& caught) {
        unsaid(caught);
      }
    }
    if (edge.all_ports) edge.ports.clear();
    return edge.all_ports || !edge.ports.empty();
  }

  void note_node(const Edge& edge, const Item& rule) {
    const bool meets = std::any_of(edge.peers.begin(), edge.peers.end(), [](const Peer& peer) {
      return std::holds_alternative<Everyone>(peer) || std::holds_alternative<LocalNode>(peer) ||
             std::holds_alternative<NodeSelector>(peer);
    });
    if (!meets) return;
    towards_node.at = rule;
    towards_node.all_ports = towards_node.all_ports || edge.all_ports;
    towards_node.ports.insert(towards_node.ports.end(), edge.ports.begin(), edge.ports.end());
  }

  const CiliumImport& import_;
  const std::string& own_namespace_;
  const Item& spec_;
  Ledger& ledger_;
  Segmentation& made_;
  EndpointSelector subject_;
  Direction direction_ = Direction::kIngress;
  bool isolates_ = false;
  bool host_allowed_ = false;  // by an entity of the rule that is being read
  std::size_t combinations_ = 0;
};

void CiliumImport::add_group(const Original& source) {
  source.spec.refuse_besides({"externalCIDRs"});
  std::vector<AddressBlock> blocks;
  for (const auto& item : source.spec["externalCIDRs"].items()) {
    const auto block = block_of_text(item.text());
    if (!block) throw Refused{item, "found " + quoted(item.text()) + ", expected an address block"};
    blocks.push_back(*block);
  }
  groups_[source.name] = std::move(blocks);
}

void CiliumImport::add(const Original& source, std::vector<Loss>& losses) {
  std::vector<Item> specs = source.root["specs"].items();
  if (source.spec) specs.insert(specs.begin(), source.spec);
  if (specs.empty()) throw Refused{source.root, "found neither spec nor specs"};
  // All or nothing of an object: losses of what was read before a refusal are no matter then.
  std::vector<Loss> found;
  std::vector<Segmentation> made;
  std::vector<TowardsNode> towards;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    Ledger ledger(source.file, source.words(), found);
    Segmentation policy;
    policy.namespace_name = source.namespace_name.empty() ? home_ : source.namespace_name;
    policy.name = source.name + (specs.size() == 1 ? "" : "-" + std::to_string(i + 1));
    policy.source = source.words();
    policy.origin = source.origin();
    CiliumRules rules(*this, source, specs[i], ledger, policy);
    rules.read();
    rules.towards_node.policy = policies_.size() + made.size();
    made.push_back(std::move(policy));
    towards.push_back(std::move(rules.towards_node));
  }
  losses.insert(losses.end(), found.begin(), found.end());
  for (std::size_t i = 0; i < made.size(); ++i) {
    policies_.push_back(std::move(made[i]));
    ledgers_.emplace_back(source.file, source.words(), losses);
    towards_node_.push_back(std::move(towards[i]));
  }
}

std::vector<Segmentation> CiliumImport::finish() {
  deny_own_node(towards_node_, policies_, ledgers_);
  std::erase_if(policies_, [](const Segmentation& policy) { return policy.edges.empty(); });
  return std::move(policies_);
}

}  // namespace bulkhead::policies::imports
