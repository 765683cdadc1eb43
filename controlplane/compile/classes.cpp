#include "controlplane/compile/classes.h"

#include <algorithm>

namespace bulkhead::compile {
namespace {

/// What a set of clauses brings, whoever it governs.
struct ClauseSetTraits {
  bool isolates = false, isolates_audited = false;
  bool names_local_node = false;
  std::vector<std::uint32_t> port_names;
};

class DirectionClassifier {
 public:
  DirectionClassifier(std::uint32_t direction, const Input& input, const Census& census,
                      const Selectors& selectors, const Rules& rules, const Blocks& blocks,
                      const std::vector<Seen>& seen, Ports& ports)
      : direction_(direction),
        input_(input),
        census_(census),
        selectors_(selectors),
        rules_(rules),
        governed_(rules.directions[direction]),
        blocks_(blocks),
        seen_(seen),
        ports_(ports),
        node_matters_(census.nodes.size()) {}

  ClassesDirection run(std::vector<std::uint32_t>& subject_of, std::vector<std::uint32_t>& peer_of,
                       std::vector<std::uint32_t>& world_peer_of) {
    classify_subjects(subject_of);
    index_peer_lists();
    for (const Seen& owner : seen_) peer_of.push_back(classify_peer(owner));
    world_peer_of.reserve(blocks_.regions().size());
    for (const auto& region : blocks_.regions())
      world_peer_of.push_back(number_peer({PeerKind::kWorld, kNone, 0, region.sets[direction_], 0}));
    result_.matched.resize(governed_.peers.size());
    for (std::uint32_t peer = 0; peer < result_.peers.size(); ++peer)
      for (const std::uint32_t list : lists_matching(result_.peers[peer]))
        result_.matched[list].push_back(peer);
    return std::move(result_);
  }

 private:
  void classify_subjects(std::vector<std::uint32_t>& subject_of) {
    std::vector<ClauseSetTraits> traits(governed_.clause_sets.size());
    for (std::uint32_t set = 0; set < traits.size(); ++set) traits[set] = traits_of(set);
    ListTable known;
    for (const Seen& owner : seen_) {
      if (!owner.subject) {
        subject_of.push_back(kNone);
        continue;
      }
      Subject subject;
      subject.clauses = governed_.clause_set_of[owner.identity];
      const ClauseSetTraits& set = traits[subject.clauses];
      subject.isolated = set.isolates;
      subject.isolated_audited = set.isolates_audited;
      subject.posture_allows =
          (owner.kubernetes && !input_.posture.strict) || input_.posture.action == policies::Action::kAllow;
      subject.reaches_own_node = owner.kubernetes && (set.isolates_audited || !subject.posture_allows);
      subject.quarantine = owner.quarantine;
      if (subject.quarantine != kNone) {
        subject.reaches_own_node = false;
      } else if (set.names_local_node || subject.reaches_own_node) {
        subject.node = owner.node;
        node_matters_[owner.node] = true;
      }
      if (direction_ == 0 && subject.quarantine == kNone)
        subject.resolved = ports_.resolve(*owner.ports, set.port_names);
      const std::uint32_t number =
          known.intern({subject.clauses, subject.node, subject.resolved, subject.reaches_own_node,
                        subject.posture_allows, subject.quarantine});
      if (number == result_.subjects.size()) result_.subjects.push_back(subject);
      subject_of.push_back(number);
    }
  }

  ClauseSetTraits traits_of(std::uint32_t set) const {
    ClauseSetTraits traits;
    for (const std::uint32_t number : governed_.clause_sets[set]) {
      const GoverningClause& clause = governed_.clauses[number];
      traits.isolates |= clause.isolates && !clause.audited;
      traits.isolates_audited |= clause.isolates;
      for (std::uint32_t i = 0; i < clause.rules_count; ++i) {
        const GoverningRule& rule = rules_.rules[clause.rules_first + i];
        traits.names_local_node |= governed_.peers[rule.peers].local_node;
        const auto names = ports_.names(rule.ports);
        traits.port_names.insert(traits.port_names.end(), names.begin(), names.end());
      }
    }
    sort_unique(traits.port_names);
    return traits;
  }

  void index_peer_lists() {
    lists_of_selector_.resize(selectors_.size());
    lists_of_block_.resize(governed_.blocks.size());
    lists_of_nodes_.resize(governed_.nodes.size());
    lists_of_source_.resize(governed_.sources.size());
    sources_at_.resize(governed_.blocks.size());
    std::vector<bool> selector_matters(selectors_.size());
    for (std::uint32_t source = 0; source < governed_.sources.size(); ++source) {
      selector_matters[governed_.sources[source].selector] = true;
      for (const std::uint32_t block : governed_.sources[source].blocks) sources_at_[block].push_back(source);
    }
    names_of_list_.resize(governed_.peers.size());
    for (std::uint32_t list = 0; list < governed_.peers.size(); ++list) {
      const PeerList& peers = governed_.peers[list];
      if (peers.everyone) continue;
      if (peers.world) world_lists_.push_back(list);
      for (const std::uint32_t selector : peers.selectors) lists_of_selector_[selector].push_back(list);
      for (const std::uint32_t block : peers.blocks) lists_of_block_[block].push_back(list);
      for (const std::uint32_t nodes : peers.nodes) lists_of_nodes_[nodes].push_back(list);
      for (const std::uint32_t source : peers.sources) lists_of_source_[source].push_back(list);
    }
    result_.node_sets.intern({});
    std::vector<std::uint32_t> matching;
    for (const NodeEntry& node : census_.nodes) {
      matching.clear();
      for (std::uint32_t number = 0; number < governed_.nodes.size(); ++number)
        if (governed_.nodes[number]->matches(*node.labels)) matching.push_back(number);
      node_set_of_.push_back(result_.node_sets.intern(matching));
    }

    std::vector<std::vector<std::uint32_t>> selectors_of(census_.identities.size());
    for (std::uint32_t selector = 0; selector < lists_of_selector_.size(); ++selector)
      if (selector_matters[selector] || !lists_of_selector_[selector].empty())
        for (const std::uint32_t identity : selectors_.identities(selector))
          selectors_of[identity].push_back(selector);
    result_.selector_sets.intern({});
    for (const auto& set : selectors_of) selector_set_of_.push_back(result_.selector_sets.intern(set));

    if (direction_ == 0) return;  // names are looked up on the receiver, here the subject
    for (const GoverningRule& rule : rules_.rules) {
      if (rule.direction != direction_) continue;
      const auto names = ports_.names(rule.ports);
      auto& all = governed_.peers[rule.peers].everyone ? names_for_everyone_ : names_of_list_[rule.peers];
      all.insert(all.end(), names.begin(), names.end());
    }
    sort_unique(names_for_everyone_);
    for (auto& names : names_of_list_) sort_unique(names);
  }

  std::uint32_t classify_peer(const Seen& owner) {
    Peer peer;
    peer.blocks = blocks_.regions()[owner.region].sets[direction_];
    if (owner.ports == nullptr) {
      peer.kind = PeerKind::kNode;
      peer.node = node_matters_[owner.node] ? owner.node : kNone;
      peer.selectors = node_set_of_[owner.node];
      return number_peer(peer);
    }
    peer.kind = PeerKind::kEndpoint;
    peer.quarantine = owner.quarantine;
    if (peer.quarantine != kNone) {
      peer.blocks = 0;
      return number_peer(peer);
    }
    peer.selectors = selector_set_of_[owner.identity];
    if (direction_ == 1) peer.resolved = ports_.resolve(*owner.ports, names_for(peer));
    return number_peer(peer);
  }

  /// The port names that some rule looks up on such a peer.
  const std::vector<std::uint32_t>& names_for(const Peer& peer) {
    const std::uint32_t number = named_.intern({peer.selectors, peer.blocks});
    if (number < names_known_.size()) return names_known_[number];
    std::vector<std::uint32_t> names = names_for_everyone_;
    for (const std::uint32_t list : lists_matching(peer))
      names.insert(names.end(), names_of_list_[list].begin(), names_of_list_[list].end());
    sort_unique(names);
    return names_known_.emplace_back(std::move(names));
  }

  std::vector<std::uint32_t> lists_matching(const Peer& peer) const {
    std::vector<std::uint32_t> lists;
    if (peer.quarantine != kNone) return lists;
    const auto add = [&](const std::vector<std::uint32_t>& more) {
      lists.insert(lists.end(), more.begin(), more.end());
    };
    if (peer.kind == PeerKind::kNode)
      for (const std::uint32_t nodes : result_.node_sets[peer.selectors]) add(lists_of_nodes_[nodes]);
    else
      for (const std::uint32_t selector : result_.selector_sets[peer.selectors])
        add(lists_of_selector_[selector]);
    for (const std::uint32_t block : blocks_.set(peer.blocks)) {
      if (governed_.blocks[block]->world_only && peer.kind != PeerKind::kWorld) continue;
      add(lists_of_block_[block]);
      for (const std::uint32_t source : sources_at_[block])
        if (means(governed_.sources[source], peer)) add(lists_of_source_[source]);
    }
    if (peer.kind == PeerKind::kWorld) add(world_lists_);
    sort_unique(lists);
    return lists;
  }

  /// Wherever it sends from.
  bool means(const GoverningSource& source, const Peer& peer) const {
    if (peer.kind != PeerKind::kEndpoint) return source.strangers;
    const auto set = result_.selector_sets[peer.selectors];
    return std::binary_search(set.begin(), set.end(), source.selector);
  }

  std::uint32_t number_peer(const Peer& peer) {
    const std::uint32_t number =
        known_peers_.intern({static_cast<std::uint32_t>(peer.kind), peer.node, peer.selectors, peer.blocks,
                             peer.resolved, peer.quarantine});
    if (number == result_.peers.size()) result_.peers.push_back(peer);
    return number;
  }

  const std::uint32_t direction_;
  const Input& input_;
  const Census& census_;
  const Selectors& selectors_;
  const Rules& rules_;
  const GovernedDirection& governed_;
  const Blocks& blocks_;
  const std::vector<Seen>& seen_;
  Ports& ports_;
  std::vector<bool> node_matters_;
  std::vector<std::vector<std::uint32_t>> lists_of_selector_, lists_of_block_, lists_of_nodes_,
      lists_of_source_, names_of_list_;
  std::vector<std::vector<std::uint32_t>> sources_at_;  // by block
  std::vector<std::uint32_t> world_lists_, names_for_everyone_, selector_set_of_, node_set_of_;
  ListTable named_, known_peers_;
  std::vector<std::vector<std::uint32_t>> names_known_;
  ClassesDirection result_;
};

}  // namespace

Classes classify(const Input& input, const Census& census, const Selectors& selectors, const Rules& rules,
                 const Blocks& blocks, const std::vector<Seen>& seen, Ports& ports) {
  Classes classes;
  for (std::uint32_t direction = 0; direction < 2; ++direction)
    classes.directions[direction] =
        DirectionClassifier(direction, input, census, selectors, rules, blocks, seen, ports)
            .run(classes.subject_of[direction], classes.peer_of[direction], classes.world_peer_of[direction]);
  return classes;
}

}  // namespace bulkhead::compile
