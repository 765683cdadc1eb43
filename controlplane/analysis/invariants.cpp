#include "controlplane/analysis/invariants.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "controlplane/analysis/compiled.h"
#include "controlplane/analysis/crowd.h"
#include "controlplane/analysis/party.h"
#include "controlplane/analysis/prove.h"
#include "controlplane/compile/intern.h"

namespace bulkhead::analysis {
namespace {

using policies::Demand;

const Demand& demand_at(const policies::PolicySet& set, const DemandPlace& place) {
  return set.invariants[place.invariant].demands[place.demand];
}

std::vector<DemandPlace> places_of(const policies::PolicySet& set) {
  std::vector<DemandPlace> places;
  for (std::size_t i = 0; i < set.invariants.size(); ++i)
    for (std::size_t j = 0; j < set.invariants[i].demands.size(); ++j) places.push_back({i, j});
  return places;
}

struct Walked {
  bool anybody = false;           // some packet is meant
  std::optional<Packet> witness;  // one that breaks the demand
  std::vector<bool> depends_on;   // crowds whose judgement elsewhere decides; empty: none
};

/// One demand, over all pairs of crowds.
class Walk {
 public:
  Walk(const Space& space, Verdicts& verdicts, const Crowds& crowds, Demand::Claim claim)
      : space_(space), verdicts_(verdicts), crowds_(crowds), never_(claim == Demand::Claim::kNever) {
    for (const auto& ports : crowds.ports)
      for (const bool v4 : {false, true}) asked_.push_back(ask(ports, v4));
  }

  Walked run() {
    std::vector<std::uint32_t> senders, receivers;
    for (std::uint32_t i = 0; i < crowds_.crowds.size(); ++i) {
      if (crowds_.may_send(crowds_.crowds[i])) senders.push_back(i);
      if (crowds_.may_receive(crowds_.crowds[i])) receivers.push_back(i);
    }
    std::vector<std::uint32_t> columns;
    for (const std::uint32_t sender : senders)
      columns.push_back(crowds_.crowds[sender].peer[image::kIngress]);
    // The receiver's row is walked along: most policies are about ingress, so that it decides most often.
    for (const std::uint32_t receiver : receivers) {
      const Crowd& to = crowds_.crowds[receiver];
      const bool by_row = never_ && to.subject[image::kIngress] != image::kNoSubject;
      const image::View& view = space_.view(kAfter);
      const std::uint8_t* kept_by = by_row ? fine_rule_sets(asked_of(to)) : nullptr;
      for (std::size_t i = 0; i < senders.size(); ++i) {
        if (by_row && result_.anybody &&
            kept_by[image::rule_set(view, image::kIngress, to.subject[image::kIngress], columns[i])] != 0)
          continue;
        const std::uint32_t sender = senders[i];
        const Crowd& from = crowds_.crowds[sender];
        if (!crowds_.meant(from, to) || !(from.judged_here || to.judged_here)) continue;
        if (result_.anybody && kept(from, to)) continue;
        if (look(sender, receiver)) return std::move(result_);
      }
    }
    return std::move(result_);
  }

 private:
  /// What a port list asks for, and of each set of ports what it answers by itself.
  struct Asked {
    std::uint32_t set = PortSets::kNone;
    std::vector<std::uint8_t> fine_rule_sets;
    std::vector<std::vector<PortRange>> parts;  // by port class
    std::vector<signed char> fine;  // by set: never: none of them are in it; always: all are. -1: not known
  };

  Asked ask(const std::vector<PortRange>& ports, bool v4) {
    Asked asked;
    asked.parts = cut(space_, ports, never_ ? std::nullopt : std::optional(v4));
    std::vector<std::uint64_t> words(verdicts_.sets().words());
    for (std::size_t i = 0; i < asked.parts.size(); ++i)
      if (!asked.parts[i].empty()) words[i / 64] |= std::uint64_t{1} << i % 64;
    asked.set = verdicts_.sets().intern(words);
    return asked;
  }

  bool fine(Asked& asked, std::uint32_t set) {
    if (set >= asked.fine.size()) asked.fine.resize(set + 1024, -1);
    signed char& known = asked.fine[set];
    if (known < 0)
      known = (never_ ? verdicts_.sets().both(asked.set, set) : verdicts_.sets().without(asked.set, set)) ==
              PortSets::kNone;
    return known != 0;
  }

  /// fine(), of every rule set.
  const std::uint8_t* fine_rule_sets(Asked& asked) {
    const auto& sets = verdicts_.sets_of_rule_sets(kAfter);
    if (asked.fine_rule_sets.empty())
      for (const std::uint32_t set : sets) asked.fine_rule_sets.push_back(fine(asked, set));
    return asked.fine_rule_sets.data();
  }

  std::uint32_t ingress(const Crowd& from, const Crowd& to) const {
    return verdicts_.end(kAfter, image::kIngress, to.subject[image::kIngress], from.peer[image::kIngress]);
  }
  std::uint32_t egress(const Crowd& from, const Crowd& to) const {
    return verdicts_.end(kAfter, image::kEgress, from.subject[image::kEgress], to.peer[image::kEgress]);
  }
  Asked& asked_of(const Crowd& to) { return asked_[to.ports * 2 + to.v4]; }

  /// The answer by the two rows alone, for the many pairs that they settle.
  bool kept(const Crowd& from, const Crowd& to) {
    Asked& asked = asked_of(to);
    if (never_) return fine(asked, ingress(from, to)) || fine(asked, egress(from, to));
    return !from.unjudged() && !to.unjudged() && fine(asked, ingress(from, to)) &&
           fine(asked, egress(from, to));
  }

  /// True if the demand is broken.
  bool look(std::uint32_t sender, std::uint32_t receiver) {
    const Crowd &from = crowds_.crowds[sender], &to = crowds_.crowds[receiver];
    Asked& asked = asked_of(to);
    if (asked.set == PortSets::kNone) return false;
    const auto pair = apart(from, to);
    if (!pair) return false;
    result_.anybody = true;
    PortSets& sets = verdicts_.sets();
    const std::uint32_t allowed = sets.both(ingress(from, to), egress(from, to));
    const std::uint32_t against = never_ ? sets.both(asked.set, allowed) : sets.without(asked.set, allowed);
    // What an end that is judged elsewhere denies is not allowed; what all ends here allow may be denied there.
    if ((from.unjudged() || to.unjudged()) && (against != PortSets::kNone) == never_) {
      if (result_.depends_on.empty()) result_.depends_on.resize(crowds_.crowds.size());
      if (from.unjudged()) result_.depends_on[sender] = true;
      if (to.unjudged()) result_.depends_on[receiver] = true;
      return false;
    }
    if (against == PortSets::kNone) return false;
    std::vector<PortRange> ranges;
    for (const std::uint32_t number : sets.classes(against))
      ranges.insert(ranges.end(), asked.parts[number].begin(), asked.parts[number].end());
    const PortRange port = witness_port(joined(std::move(ranges)), from.v4);
    result_.witness = Packet{pair->source, pair->destination, port.slot, port.first};
    return true;
  }

  const Space& space_;
  Verdicts& verdicts_;
  const Crowds& crowds_;
  const bool never_;
  std::vector<Asked> asked_;  // two a port list
  Walked result_;
};

/// The demands of one candidate.
class Prover {
 public:
  Prover(const compile::Input& input, const image::View& view)
      : input_(input), places_(places_of(input.policies)), owners_(input), first_(view), space_(view, view) {
    for (const DemandPlace& place : places_) crowds_.push_back(gather(space_, owners_, demand(place)));
  }

  std::uint64_t fingerprint() const {
    std::uint64_t hash = 0;
    for (const Crowds& crowds : crowds_) hash = compile::mix(hash, crowds.fingerprint);
    return hash;
  }

  /// `may_compile`: a second image may decide.
  Proof run(bool may_compile) {
    Proof proof;
    proof.demands = places_.size();
    Verdicts verdicts(space_);
    std::vector<std::size_t> open;
    for (std::size_t i = 0; i < places_.size(); ++i) {
      const Walked walked = Walk(space_, verdicts, crowds_[i], demand(places_[i]).claim).run();
      if (!walked.anybody) proof.vacuous.push_back(places_[i]);
      if (walked.witness) {
        add_breach(places_[i], first_, *walked.witness, proof);
      } else if (!walked.depends_on.empty()) {
        judge_too(crowds_[i], walked.depends_on);
        open.push_back(i);
      }
    }
    if (!open.empty() && may_compile) decide(open, proof);
    for (const std::size_t i : open)
      if (!may_compile) proof.undecided.push_back(places_[i]);
    std::sort(proof.breaches.begin(), proof.breaches.end(), [](const Breach& a, const Breach& b) {
      return std::pair(a.place.invariant, a.place.demand) < std::pair(b.place.invariant, b.place.demand);
    });
    return proof;
  }

 private:
  const Demand& demand(const DemandPlace& place) const { return demand_at(input_.policies, place); }

  void judge_too(const Crowds& crowds, const std::vector<bool>& depends_on) {
    subjects_too_.resize(input_.cluster.endpoints.size());
    for (std::size_t i = 0; i < crowds.crowds.size(); ++i) {
      if (!depends_on[i]) continue;
      for (const std::uint32_t number : crowds.crowds[i].classes)
        for (const Member& member : space_.addresses()[number].members)
          if (const Owner owner = owners_.of(member.address); owner.endpoint != kNoOne)
            subjects_too_[owner.endpoint] = true;
    }
  }

  /// With rows for the ends that decide.
  void decide(const std::vector<std::size_t>& open, Proof& proof) {
    compile::Input input = input_;
    input.subjects_too = &subjects_too_;
    input.limits.section_bytes_max = image::kSectionBytesMax;  // it is for the proof alone
    const auto compiled = compile_checked(input);
    if (const auto* reason = std::get_if<std::string>(&compiled)) {
      proof.refusal = "the invariants cannot be proven: " + *reason;
      return;
    }
    proof.second_image = true;
    const image::View& view = std::get<std::unique_ptr<Compiled>>(compiled)->view;
    const Space space(first_, view);
    Verdicts verdicts(space);
    for (const std::size_t i : open) {
      const Crowds crowds = gather(space, owners_, demand(places_[i]));
      const Walked walked = Walk(space, verdicts, crowds, demand(places_[i]).claim).run();
      if (walked.witness) add_breach(places_[i], view, *walked.witness, proof);
    }
  }

  void add_breach(const DemandPlace& place, const image::View& view, const Packet& packet, Proof& proof) {
    const policies::Invariant& invariant = input_.policies.invariants[place.invariant];
    const image::Judgement answer = judge(view, packet);
    proof.breaches.push_back({place, demand(place).origin, describe(invariant, demand(place)), packet,
                              answer.allowed(), packet_text(view, packet),
                              answer_text(view, packet, answer)});
  }

  const compile::Input& input_;
  const std::vector<DemandPlace> places_;
  const Owners owners_;
  const image::View& first_;
  const Space space_;
  std::vector<Crowds> crowds_;  // by place
  std::vector<bool> subjects_too_;
};

Proof refused(const policies::PolicySet& set, const std::string& reason) {
  Proof proof;
  proof.demands = places_of(set).size();
  proof.refusal = "the invariants cannot be proven: " + reason;
  return proof;
}

}  // namespace

std::string message(const Breach& breach) {
  return breach.demand + " (" + breach.origin.file + ":" + std::to_string(breach.origin.line) +
         ") is broken: " + breach.packet + " is " + breach.answer;
}

Proof prove(const compile::Input& input, const compile::Output& candidate) {
  if (input.policies.invariants.empty()) return {};
  const auto view = view_of(candidate);
  if (const auto* reason = std::get_if<std::string>(&view)) return refused(input.policies, *reason);
  return Prover(input, std::get<image::View>(view)).run(true);
}

Proof prove_image(const compile::Input& known, const image::View& view) {
  return Prover(known, view).run(false);
}

const Proof& Invariants::prove(const compile::Input& input, const compile::Output& candidate) {
  if (input.policies.invariants.empty()) {
    known_ = false;
    return proof_ = {};
  }
  const auto view = view_of(candidate);
  if (const auto* reason = std::get_if<std::string>(&view)) {
    known_ = false;
    return proof_ = refused(input.policies, *reason);
  }
  Prover prover(input, std::get<image::View>(view));
  const image::Digest& policy = std::get<image::View>(view).policy->digest;
  const std::uint64_t crowds = prover.fingerprint();
  if (known_ && policy == policy_ && crowds == crowds_ && input.policies.invariants == invariants_)
    return proof_;
  proof_ = prover.run(true);
  ++proofs_;
  // A witness may leave, and what another node's endpoints are judged by is not in the image.
  known_ = proof_.holds() && !proof_.second_image;
  policy_ = policy;
  crowds_ = crowds;
  invariants_ = input.policies.invariants;
  return proof_;
}

}  // namespace bulkhead::analysis
