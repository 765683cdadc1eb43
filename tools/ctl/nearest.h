// What a default denial nearly was: the rule that would have admitted the packet, had its port or its peer been another.
//
// Nearness is read off the verdict tables, where a rule is seen by what it decides (in the mesh tier: by what it lets pass):
//
//   matrix row of the subject:   ... | column of this peer | ... other peers' columns ...
//                                             |                        |
//     this port        ->                     . (denied)               R2 admits others here:  "peer"
//     other ports      ->          R1 allows it here:  "port"          ("neither": some rule, elsewhere)
//
// "port" beats "peer" beats "neither"; among rules that admit other peers, the one that admits somebody whose
// labels differ least from this peer's.
#pragma once

#include <cstdint>
#include <string>

#include "dataplane/image/query.h"
#include "tools/ctl/ends.h"
#include "tools/ctl/print.h"

namespace bulkhead::ctl {

/// One end's judgement: its subject class looks at the other end's peer class.
struct Side {
  std::uint32_t direction;
  std::uint32_t subject;
  std::uint32_t peer;
  std::uint32_t peer_identity;
  std::uint32_t flags;  // image::RecordFlags of the end
  std::string end_name, peer_name;
};

/// By what an end would have admitted: a rule that allows, or one of the mesh tier that lets pass.
enum class Admission { kAllowed, kMesh };

/// {"lacks": "port", "peer" or "neither", "rule", "ports", "like", "words"}: a rule for this peer on other ports of the
/// protocol, else the one that admits whoever is most like this peer, else any. Null where nobody is admitted at all.
Value nearest_rule(const image::View& view, const Side& side, const Port& port, Admission by);

}  // namespace bulkhead::ctl
