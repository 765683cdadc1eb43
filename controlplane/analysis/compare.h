// All packets that two images judge differently.
//
//   for each source class, for each destination class       where a row of either matrix differs, and only there
//     allowed before, allowed after ──► opened, closed      sets of port classes
//   sources with equal rows together ──► destinations with equal change together
//
// Complete: no packet whose verdict changes is outside the changes. Exact: every packet inside one changes its
// verdict. Disjoint: no packet is in two. Minimal: no change can be left out, no address class or port of one could
// be, and no two of one kind could be written as one. So there are no changes exactly when no packet could tell the
// images apart. A change of rule or reason alone is none.
//
// An endpoint always reaches itself: of the packets between the two sides of a change, those between addresses
// of one endpoint are not meant, unless the change says so. They change only where one image binds two addresses
// to one endpoint and the other does not.
#pragma once

#include <cstdint>
#include <vector>

#include "controlplane/analysis/verdicts.h"

namespace bulkhead::analysis {

/// Of the packets from here to there, which?
enum class Between : std::uint8_t {
  kApart,      // between addresses that are not one endpoint's in either image
  kOneBefore,  // that are one endpoint's in the first image only
  kOneAfter,   // in the second only
};

/// A packet, by everything that a verdict depends on.
struct Packet {
  abi::Address source, destination;
  image::ProtocolSlot slot = image::kTcp;
  std::uint16_t port = 0;
};

image::Judgement judge(const image::View& view, const Packet& packet);

struct Change {
  bool opens = false;  // denied before and allowed after; else the other way round
  Between between = Between::kApart;
  std::vector<std::uint32_t> from, to;  // address classes of the space, sorted
  std::vector<PortRange> ports;
  Packet witness;
  image::Judgement answer[kSides];  // what both images say to it
};

/// In one order for the same images. Linear in the pairs of classes that could differ.
std::vector<Change> compare(const Space& space);

/// One port of `ports` for a packet of this family: of a protocol that belongs to it, where there is one.
PortRange witness_port(const std::vector<PortRange>& ports, bool v4);

}  // namespace bulkhead::analysis
