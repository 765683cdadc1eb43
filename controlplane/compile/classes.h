// Subjects and peers that no rule tells apart.
//
// A *subject* is the judged end: what decides is which clauses select its identity, its posture, its node
// (where that matters to it) and, as a receiver, what the port names of its rules mean on it. A *peer* is the
// other end: what decides is which selectors of rules match its identity, which blocks its address lies in,
// whether it is an endpoint, a node or world, and, as a receiver, what its port names mean. Both differ per
// direction. Classes made here may still turn out alike once rows are computed; rulesets.h merges those.
#pragma once

#include <cstdint>
#include <vector>

#include "controlplane/compile/blocks.h"
#include "controlplane/compile/census.h"
#include "controlplane/compile/intern.h"
#include "controlplane/compile/peers.h"
#include "controlplane/compile/ports.h"
#include "controlplane/compile/profiles.h"
#include "controlplane/compile/rules.h"
#include "controlplane/compile/selectors.h"

namespace bulkhead::compile {

struct Subject {
  std::uint32_t clauses = 0;   // into GovernedDirection::clause_sets
  std::uint32_t node = kNone;  // kNone: no matter which
  std::uint32_t resolved = 0;  // Ports' number of its port names; 0 as a sender
  bool isolated = false;
  bool isolated_audited = false;  // it would be, were the audited policies enforced
  bool reaches_own_node = false;  // whatever isolates it, or would
  bool posture_allows = false;
  std::uint32_t quarantine = kNone;  // into Rules::quarantines; the rest says nothing then
};

enum class PeerKind : std::uint32_t { kEndpoint, kNode, kWorld };

struct Peer {
  PeerKind kind = PeerKind::kWorld;
  std::uint32_t node = kNone;        // of kNode; kNone: no subject cares which
  std::uint32_t selectors = 0;       // into ClassesDirection::selector_sets; of kNode, node_sets
  std::uint32_t blocks = 0;          // a set of Blocks
  std::uint32_t resolved = 0;        // Ports' number of its port names; 0 as a sender
  std::uint32_t quarantine = kNone;  // into Rules::quarantines; no list matches it then
};

struct ClassesDirection {
  std::vector<Subject> subjects;
  std::vector<Peer> peers;
  ListTable selector_sets;  // sets of selectors that match one identity; 0 is empty
  ListTable node_sets;      // likewise of node selectors that match one node
  PeerIndex matched;
};

struct Classes {
  ClassesDirection directions[2];
  std::vector<std::uint32_t> subject_of[2];     // by Profiles::seen; kNone: not judged here
  std::vector<std::uint32_t> peer_of[2];        // by Profiles::seen
  std::vector<std::uint32_t> world_peer_of[2];  // by region of Blocks
};

Classes classify(const Input& input, const Census& census, const Selectors& selectors, const Rules& rules,
                 const Blocks& blocks, const std::vector<Seen>& seen, Ports& ports);

}  // namespace bulkhead::compile
