// A claim about all packets between two ends on some ports, and a packet that refutes it where there is one.
//
// Asks the classes of a Space (of one image, given twice), so a claim that stands is proven, not sampled. Traffic of an
// endpoint with itself is not meant: it passes whatever policies say. A claim that traffic is allowed is about the messages
// that a family has: ICMP over IPv4 and ICMPv6 over IPv6; a claim that it is denied is about every packet.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/analysis/compare.h"
#include "controlplane/analysis/verdicts.h"

namespace bulkhead::analysis {

/// Parts of the space's address classes. Empty: nobody.
using End = std::vector<AddressClass>;

/// Everybody; addresses that no endpoint and no node owns; those of a block, whoever has them.
End everybody(const Space& space);
End world(const Space& space);
End within(const Space& space, const Block& block);
/// Addresses of the endpoints that `chosen` says, by their number in the image.
End endpoints(const Space& space, const std::function<bool(std::uint32_t)>& chosen);

struct Claim {
  End from, to;
  std::vector<PortRange> ports;  // joined
  bool allow = false;            // all of it passes; else none of it does
};

struct Refutation {
  Packet packet;
  image::Judgement answer;
};

/// The ports asked for in each port class, cut to what the class has of them; where a family is given, without the
/// messages of the other's ICMP.
std::vector<std::vector<PortRange>> cut(const Space& space, const std::vector<PortRange>& ports,
                                        std::optional<bool> v4 = std::nullopt);

/// Nothing: the claim holds for every packet there is. `pairs` is set to how many pairs of classes were asked; 0 means
/// that no packet goes between these ends at all.
std::optional<Refutation> refute(const Space& space, const Claim& claim, std::size_t& pairs);

}  // namespace bulkhead::analysis
