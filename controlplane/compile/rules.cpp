#include "controlplane/compile/rules.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace bulkhead::compile {
namespace {

std::vector<const policies::Policy*> in_order(const policies::PolicySet& set,
                                              std::span<const std::uint32_t> relevant) {
  std::vector<const policies::Policy*> order;
  order.reserve(relevant.size());
  for (const std::uint32_t position : relevant) order.push_back(&set.policies[position]);
  const auto before = [](const policies::Policy* a, const policies::Policy* b) {
    return std::tie(a->tier, a->priority, a->kind, a->namespace_name, a->name) <
           std::tie(b->tier, b->priority, b->kind, b->namespace_name, b->name);
  };
  // A loaded set mostly is already.
  if (!std::is_sorted(order.begin(), order.end(), before))
    std::stable_sort(order.begin(), order.end(), before);
  return order;
}

class Governor {
 public:
  Governor(const Census& census, Selectors& selectors, Ports& ports)
      : census_(census), selectors_(selectors), ports_(ports) {}

  Rules run(const Input& input, std::span<const std::uint32_t> relevant) {
    add_quarantines(input.quarantines);
    for (const auto* policy : in_order(input.policies, relevant))
      for (const auto& clause : policy->clauses)
        if (!input.now || clause.in_force(*input.now)) add(*policy, clause);
    for (std::uint32_t direction = 0; direction < 2; ++direction) {
      auto& governed = rules_.directions[direction];
      governed.clause_sets.intern({});
      governed.clause_set_of.assign(census_.identities.size(), 0);
      for (const auto& [identity, clauses] : clauses_of_[direction])
        governed.clause_set_of[identity] = governed.clause_sets.intern(clauses);
    }
    return std::move(rules_);
  }

 private:
  /// They come first, by name. Neither clauses nor peers lead to their rules: rulesets.cpp does.
  void add_quarantines(std::span<const policies::Quarantine> given) {
    rules_.quarantine_of.assign(census_.members.size(), kNone);
    if (given.empty()) return;
    using Name = std::pair<std::string_view, std::string_view>;
    std::map<Name, const policies::Quarantine*> by_name;
    for (const auto& each : given) by_name.emplace(Name(each.namespace_name, each.name), &each);
    for (std::uint32_t member = 0; member < census_.members.size(); ++member) {
      const policies::Endpoint& endpoint = *census_.members[member].endpoint;
      const auto found = by_name.find(Name(endpoint.namespace_name, endpoint.name));
      if (found == by_name.end()) continue;
      if (const auto* last = rules_.made.empty() ? nullptr : rules_.made.back().get();
          last == nullptr || last->name != endpoint.name || last->namespace_name != endpoint.namespace_name)
        add_quarantine(*found->second);
      rules_.quarantine_of[member] = static_cast<std::uint32_t>(rules_.quarantines.size() - 1);
    }
  }

  void add_quarantine(const policies::Quarantine& quarantine) {
    auto policy = std::make_unique<policies::Policy>();
    policy->kind = policies::kQuarantineKind;
    policy->namespace_name = quarantine.namespace_name;
    policy->name = quarantine.name;
    policy->tier = policies::Tier::kQuarantine;
    policies::Rule rule;
    rule.name = policies::describe(quarantine);
    rule.action = policies::Action::kDeny;
    rule.peers = {policies::Everyone{}};
    rule.all_ports = true;
    policy->clauses.push_back({policies::Direction::kIngress, {}, false, {rule}});
    rules_.policies.push_back(policy.get());
    const auto policy_number = static_cast<std::uint32_t>(rules_.policies.size() - 1);
    GoverningQuarantine& made = rules_.quarantines.emplace_back();
    const policies::Rule& kept = policy->clauses[0].rules[0];
    for (std::uint32_t direction = 0; direction < 2; ++direction)
      for (std::uint32_t* number : {&made.denies_all[direction], &made.denies_it[direction]}) {
        *number = static_cast<std::uint32_t>(rules_.rules.size());
        rules_.rules.push_back({&kept, policy_number, direction, peers_of(direction, kept),
                                ports_.intern(kept), policy->tier, policy->priority});
      }
    rules_.made.push_back(std::move(policy));
  }

  /// Whether nobody of the subject's namespace is judged here: of a whole cluster's policies, that is most.
  bool is_of_elsewhere(const policies::EndpointSelector& subject) {
    if (!subject.namespace_name) return false;
    if (home_ == nullptr || home_->name != *subject.namespace_name)
      home_ = census_.find_namespace(*subject.namespace_name);  // policies come by namespace
    return home_ == nullptr || !home_->subjects;
  }

  void add(const policies::Policy& policy, const policies::Clause& clause) {
    if (is_of_elsewhere(clause.subject)) return;
    const auto direction = static_cast<std::uint32_t>(clause.direction);
    auto& governed = rules_.directions[direction];
    const auto number = static_cast<std::uint32_t>(governed.clauses.size());
    bool governs = false;
    for (const std::uint32_t identity : selectors_.identities(selectors_.intern(clause.subject))) {
      if (!census_.identities[identity].subject) continue;
      governs = true;
      clauses_of_[direction][identity].push_back(number);
    }
    if (!governs) return;
    if (rules_.policies.empty() || rules_.policies.back() != &policy) rules_.policies.push_back(&policy);
    const auto policy_number = static_cast<std::uint32_t>(rules_.policies.size() - 1);
    const bool audited = policy.mode == policies::Mode::kAudit;
    const bool isolates = clause.isolates && policy.tier == policies::Tier::kApplication;
    governed.clauses.push_back({isolates, policy.tier, policy_number,
                                static_cast<std::uint32_t>(rules_.rules.size()),
                                static_cast<std::uint32_t>(clause.rules.size()), audited});
    rules_.audits |= audited;
    for (const auto& rule : clause.rules) {
      rules_.rules.push_back({&rule, policy_number, direction, peers_of(direction, rule), ports_.intern(rule),
                              policy.tier, policy.priority, audited});
      rules_.passes |= rule.action == policies::Action::kPass && !audited;
    }
  }

  std::uint32_t peers_of(std::uint32_t direction, const policies::Rule& rule) {
    PeerList list;
    for (const auto& peer : rule.peers) {
      if (std::holds_alternative<policies::Everyone>(peer)) list.everyone = true;
      if (std::holds_alternative<policies::World>(peer)) list.world = true;
      if (std::holds_alternative<policies::LocalNode>(peer)) list.local_node = true;
      if (const auto* selector = std::get_if<policies::EndpointSelector>(&peer))
        list.selectors.push_back(selectors_.intern(*selector));
      if (const auto* block = std::get_if<policies::IpBlock>(&peer))
        list.blocks.push_back(block_number(direction, *block));
      if (const auto* nodes = std::get_if<policies::NodeSelector>(&peer))
        list.nodes.push_back(nodes_number(direction, nodes->nodes));
      if (const auto* source = std::get_if<policies::Source>(&peer)) add_source(direction, *source, list);
    }
    sort_unique(list.sources);
    sort_unique(list.selectors);
    sort_unique(list.blocks);
    sort_unique(list.nodes);
    std::vector<std::uint32_t> key = {list.everyone,
                                      list.world,
                                      list.local_node,
                                      static_cast<std::uint32_t>(list.selectors.size()),
                                      static_cast<std::uint32_t>(list.blocks.size()),
                                      static_cast<std::uint32_t>(list.nodes.size())};
    for (const auto* numbers : {&list.selectors, &list.blocks, &list.nodes, &list.sources})
      key.insert(key.end(), numbers->begin(), numbers->end());
    const std::uint32_t number = peer_lists_[direction].intern(key);
    auto& peers = rules_.directions[direction].peers;
    if (number == peers.size()) peers.push_back(std::move(list));
    return number;
  }

  /// As peers of the other kinds, where only one of who and where matters.
  void add_source(std::uint32_t direction, const policies::Source& source, PeerList& list) {
    static const policies::Selector kEveryNode;
    const bool anyone = source.terms.empty(), strangers = source.matches_identity({}, {});
    if (source.any_address && anyone) {
      list.everyone = true;
    } else if (source.any_address) {
      list.selectors.push_back(selectors_.intern(source));
      if (!strangers) return;
      list.world = true;
      list.nodes.push_back(nodes_number(direction, kEveryNode));
    } else if (anyone) {
      for (const auto& block : source.blocks) list.blocks.push_back(block_number(direction, block));
    } else {
      auto& sources = rules_.directions[direction].sources;
      const auto [known, is_new] =
          sources_[direction].try_emplace(&source, static_cast<std::uint32_t>(sources.size()));
      list.sources.push_back(known->second);
      if (!is_new) return;
      GoverningSource made{selectors_.intern(source), strangers, {}};
      for (const auto& block : source.blocks) made.blocks.push_back(block_number(direction, block));
      sort_unique(made.blocks);
      sources.push_back(std::move(made));
    }
  }

  std::uint32_t block_number(std::uint32_t direction, const policies::IpBlock& block) {
    auto& blocks = rules_.directions[direction].blocks;
    const auto [known, is_new] =
        blocks_[direction].try_emplace(&block, static_cast<std::uint32_t>(blocks.size()));
    if (is_new) blocks.push_back(&block);
    return known->second;
  }

  std::uint32_t nodes_number(std::uint32_t direction, const policies::Selector& selector) {
    auto& nodes = rules_.directions[direction].nodes;
    const auto [known, is_new] =
        nodes_[direction].try_emplace(&selector, static_cast<std::uint32_t>(nodes.size()));
    if (is_new) nodes.push_back(&selector);
    return known->second;
  }

  struct Less {
    template <typename T>
    bool operator()(const T* a, const T* b) const {
      return *a < *b;
    }
  };

  const Census& census_;
  Selectors& selectors_;
  Ports& ports_;
  Rules rules_;
  const NamespaceEntry* home_ = nullptr;                               // the last one looked for
  std::map<std::uint32_t, std::vector<std::uint32_t>> clauses_of_[2];  // by identity, of subjects
  ListTable peer_lists_[2];
  std::map<const policies::IpBlock*, std::uint32_t, Less> blocks_[2];
  std::map<const policies::Selector*, std::uint32_t, Less> nodes_[2];
  std::map<const policies::Source*, std::uint32_t, Less> sources_[2];
};

}  // namespace

Rules govern(const Input& input, std::span<const std::uint32_t> relevant, const Census& census,
             Selectors& selectors, Ports& ports) {
  return Governor(census, selectors, ports).run(input, relevant);
}

}  // namespace bulkhead::compile
