#include "controlplane/compile/classes.h"

#include <algorithm>
#include <unordered_map>

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
    index_peers();
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
    names_of_selector_.resize(selectors_.size());
    names_of_block_.resize(governed_.blocks.size());
    names_of_source_.resize(governed_.sources.size());
    sources_at_.resize(governed_.blocks.size());
    std::vector<bool> selector_matters(selectors_.size());
    for (std::uint32_t source = 0; source < governed_.sources.size(); ++source) {
      selector_matters[governed_.sources[source].selector] = true;
      for (const std::uint32_t block : governed_.sources[source].blocks) sources_at_[block].push_back(source);
    }
    for (const PeerList& peers : governed_.peers)
      if (!peers.everyone)
        for (const std::uint32_t selector : peers.selectors) selector_matters[selector] = true;
    result_.node_sets.intern({});
    std::vector<std::uint32_t> matching;
    for (const NodeEntry& node : census_.nodes) {
      matching.clear();
      for (std::uint32_t number = 0; number < governed_.nodes.size(); ++number)
        if (governed_.nodes[number]->matches(*node.labels)) matching.push_back(number);
      node_set_of_.push_back(result_.node_sets.intern(matching));
    }

    number_selector_sets(selector_matters);

    if (direction_ == 1) collect_names();  // else they are looked up on the receiver, here the subject
  }

  /// The port names that some rule looks up on whom a part of its peers matches.
  void collect_names() {
    std::vector<std::vector<std::uint32_t>> names_of_list(governed_.peers.size());
    for (const GoverningRule& rule : rules_.rules) {
      if (rule.direction != direction_) continue;
      const auto names = ports_.names(rule.ports);
      auto& all = governed_.peers[rule.peers].everyone ? names_for_everyone_ : names_of_list[rule.peers];
      all.insert(all.end(), names.begin(), names.end());
    }
    sort_unique(names_for_everyone_);
    for (std::uint32_t list = 0; list < governed_.peers.size(); ++list) {
      std::vector<std::uint32_t>& names = names_of_list[list];
      sort_unique(names);
      const PeerList& peers = governed_.peers[list];
      const auto add = [&](auto& names_of, const std::vector<std::uint32_t>& parts) {
        for (const std::uint32_t part : parts)
          names_of[part].insert(names_of[part].end(), names.begin(), names.end());
      };
      add(names_of_selector_, peers.selectors);
      add(names_of_block_, peers.blocks);
      add(names_of_source_, peers.sources);
    }
    for (auto* names_of : {&names_of_selector_, &names_of_block_, &names_of_source_})
      for (auto& names : *names_of) sort_unique(names);
  }

  /// Of each identity: the selectors that match it, ascending.
  void number_selector_sets(const std::vector<bool>& matters) {
    const std::size_t count = census_.identities.size();
    std::vector<std::uint32_t> first(count + 1), selectors;
    for (std::uint32_t selector = 0; selector < matters.size(); ++selector)
      if (matters[selector])
        for (const std::uint32_t identity : selectors_.identities(selector)) ++first[identity + 1];
    for (std::size_t identity = 0; identity < count; ++identity) first[identity + 1] += first[identity];
    selectors.resize(first[count]);
    std::vector<std::uint32_t> next = first;
    for (std::uint32_t selector = 0; selector < matters.size(); ++selector)
      if (matters[selector])
        for (const std::uint32_t identity : selectors_.identities(selector))
          selectors[next[identity]++] = selector;
    result_.selector_sets.intern({});
    selector_set_of_.reserve(count);
    for (std::size_t identity = 0; identity < count; ++identity) {
      const auto set = std::span(selectors).subspan(first[identity], first[identity + 1] - first[identity]);
      selector_set_of_.push_back(set.empty() ? 0 : result_.selector_sets.intern(set));
    }
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
    Place& place = place_of(peer);
    std::uint32_t& number =
        place.names.empty() ? place.plain : place.others.try_emplace(owner.ports, kNone).first->second;
    if (number != kNone) return number;
    if (!place.names.empty()) peer.resolved = ports_.resolve(*owner.ports, place.names);
    return number = number_peer(peer);
  }

  /// Endpoints of one set of selectors in one set of blocks.
  struct Place {
    std::vector<std::uint32_t> names;  // that some rule looks up on them
    std::uint32_t plain = kNone;       // the peer that they are where no name means anything
    std::unordered_map<const std::vector<policies::NamedPort>*, std::uint32_t> others;  // where one does
  };

  Place& place_of(const Peer& peer) {
    const std::uint32_t number = place_number(peer);
    if (number == places_.size()) {
      places_.emplace_back();
      if (direction_ == 1) places_.back().names = names_for(peer);
    }
    return places_[number];
  }

  std::uint32_t place_number(const Peer& peer) {
    const std::size_t count = result_.selector_sets.size() * blocks_.sets();
    constexpr std::size_t kDenseMax = std::size_t{1} << 18;
    if (count > kDenseMax) return places_known_.intern({peer.selectors, peer.blocks});
    place_numbers_.resize(count, kNone);
    std::uint32_t& number = place_numbers_[peer.selectors * blocks_.sets() + peer.blocks];
    if (number == kNone) number = static_cast<std::uint32_t>(places_.size());
    return number;
  }

  std::vector<std::uint32_t> names_for(const Peer& peer) const {
    std::vector<std::uint32_t> names = names_for_everyone_;
    const auto add = [&](const std::vector<std::uint32_t>& more) {
      names.insert(names.end(), more.begin(), more.end());
    };
    for (const std::uint32_t selector : result_.selector_sets[peer.selectors])
      add(names_of_selector_[selector]);
    for_each_block(
        peer, [&](std::uint32_t block) { add(names_of_block_[block]); },
        [&](std::uint32_t source) { add(names_of_source_[source]); });
    sort_unique(names);
    return names;
  }

  /// The blocks that match the peer, and the sources that do by one of theirs.
  template <typename Block, typename Source>
  void for_each_block(const Peer& peer, Block visit_block, Source visit_source) const {
    for (const std::uint32_t block : blocks_.set(peer.blocks)) {
      if (governed_.blocks[block]->world_only && peer.kind != PeerKind::kWorld) continue;
      visit_block(block);
      for (const std::uint32_t source : sources_at_[block])
        if (means(governed_.sources[source], peer)) visit_source(source);
    }
  }

  void index_peers() {
    PeerIndex& index = result_.matched;
    index.width = result_.peers.size();
    index.by_selector.resize(selectors_.size());
    index.by_block.resize(governed_.blocks.size());
    index.by_nodes.resize(governed_.nodes.size());
    index.by_source.resize(governed_.sources.size());
    std::vector<std::uint32_t> sources;
    for (std::uint32_t number = 0; number < result_.peers.size(); ++number) {
      const Peer& peer = result_.peers[number];
      if (peer.quarantine != kNone) continue;
      const auto add = [&](PeerSet& part) { part.add(number, index.width); };
      if (peer.kind == PeerKind::kWorld) add(index.world);
      if (peer.kind == PeerKind::kNode)
        for (const std::uint32_t nodes : result_.node_sets[peer.selectors]) add(index.by_nodes[nodes]);
      if (peer.kind == PeerKind::kEndpoint)
        for (const std::uint32_t selector : result_.selector_sets[peer.selectors])
          add(index.by_selector[selector]);
      sources.clear();  // one may match by several blocks
      for_each_block(
          peer, [&](std::uint32_t block) { add(index.by_block[block]); },
          [&](std::uint32_t source) { sources.push_back(source); });
      sort_unique(sources);
      for (const std::uint32_t source : sources) add(index.by_source[source]);
    }
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
  std::vector<std::vector<std::uint32_t>> names_of_selector_, names_of_block_, names_of_source_;
  std::vector<std::vector<std::uint32_t>> sources_at_;  // by block
  std::vector<std::uint32_t> names_for_everyone_, selector_set_of_, node_set_of_;
  ListTable places_known_, known_peers_;
  std::vector<Place> places_;
  std::vector<std::uint32_t> place_numbers_;  // by set of selectors, set of blocks, where those are few
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
