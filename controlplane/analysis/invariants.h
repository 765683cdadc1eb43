// Whether a candidate keeps its invariants: each demand asked about every packet it means, from the tables that
// would judge them.
//
//   cluster, image ──► crowd.h    addresses that a demand and the image treat alike, together
//                  ──► invariants a walk over pairs of them: a breach, or the proof that there is none
//
// What a node proves. It judges the packets that have an end here, and these it answers for. The other end of such
// a packet may live on another node, and is judged there; a candidate has no row for it. Where the answer depends
// on that end (this end allows what must never pass, or what must always), a second image is compiled for the proof
// alone, in which those endpoints are judged, too: by the same policies, and by the posture of this node, for what
// another node's configuration says is not known here. So nothing is reported as broken that the other end would
// stop, and nothing is taken for proven that it could. Packets with no end here are other nodes' to prove: every
// packet between endpoints has a node that does.
//
// Nothing is spent where there are no invariants.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "controlplane/analysis/compare.h"
#include "controlplane/compile/compile.h"
#include "policies/model/policy.h"

namespace bulkhead::analysis {

/// Places a demand in its set: set.invariants[invariant].demands[demand].
struct DemandPlace {
  std::size_t invariant = 0, demand = 0;
  bool operator==(const DemandPlace&) const = default;
};

struct Breach {
  DemandPlace place;
  policies::Origin origin;  // of the demand
  std::string demand;       // "Invariant walls, never 'world-to-db'"
  Packet witness;
  bool allowed = false;  // what the image says to it
  std::string packet;    // "192.0.2.1 -> shop/db (10.0.0.3) tcp/5432"
  std::string answer;    // "allowed by SegmentationPolicy shop/shop, rule 'backup' (shop.yaml:31)"
};

/// "Invariant walls, never 'world-to-db' (walls.yaml:7) is broken: 192.0.2.1 -> ... is allowed by ...".
std::string message(const Breach& breach);

struct Proof {
  std::size_t demands = 0;
  std::vector<Breach> breaches;        // one for each demand that is broken, in the set's order
  std::vector<DemandPlace> vacuous;    // no packet is meant, of those that are judged here
  std::vector<DemandPlace> undecided;  // of an image alone: ends decide that it does not judge
  std::string refusal;                 // not empty: it could not be decided, and why
  bool second_image = false;           // one was compiled
  bool holds() const { return breaches.empty() && undecided.empty() && refusal.empty(); }
};

/// `candidate` is what compile() made of `input`.
Proof prove(const compile::Input& input, const compile::Output& candidate);

/// Of an image for which nothing can be compiled. `known` says of its cluster who owns which address, and the demands.
Proof prove_image(const compile::Input& known, const image::View& view);

/// Proves what has changed since it was asked before: where neither the policy section nor the demands nor whoever
/// they mean is another, the answer is known. One for each stream of candidates.
class Invariants {
 public:
  const Proof& prove(const compile::Input& input, const compile::Output& candidate);
  std::size_t proofs() const { return proofs_; }  // how often it was not known

 private:
  image::Digest policy_{};
  std::vector<policies::Invariant> invariants_;
  std::uint64_t crowds_ = 0;
  bool known_ = false;
  std::size_t proofs_ = 0;
  Proof proof_;
};

}  // namespace bulkhead::analysis
