// Neighbour discovery (RFC 4861) over frames of kind packet::Kind::kNeighbour.
//
// Every message is read whole before it is believed: lengths, options and checksum (sections 7.1.1, 7.1.2).
// Secure neighbour discovery is not spoken.
#pragma once

#include <cstdint>

#include "dataplane/abi/address.h"
#include "dataplane/forward/arp.h"
#include "dataplane/packet/packet.h"

namespace bulkhead::forward {

/// Ethernet, IPv6, advertisement or solicitation with one link-layer address option.
inline constexpr std::uint32_t kNdFrameBytes = 14 + 40 + 32;

struct Solicitation {
  abi::Address target;
  bool detects_duplicates = false;  // came from :: (RFC 4862, section 5.4.3)
};

/// False where it is not a valid neighbour solicitation.
bool read_solicitation(const std::uint8_t* frame, std::uint32_t readable, const packet::Parsed& parsed,
                       Solicitation& solicitation);

/// True where the target is served and is not the asker's own. Duplicate address detection of a served
/// address is answered: it is taken.
bool owes_advertisement(const Solicitation& solicitation, Asked asked);

/// Writes kNdFrameBytes: `own` has the target's address. Override is not set for an address proxied for
/// somebody else (section 7.2.8). `advertisement` may be `frame` itself where that has no 802.1Q tag and room
/// enough.
void build_advertisement(const std::uint8_t* frame, const packet::Parsed& parsed,
                         const Solicitation& solicitation, const abi::Mac& own, bool proxied,
                         std::uint8_t* advertisement);

/// Asks the target's solicited-node group. Writes kNdFrameBytes. Both addresses IPv6.
void build_solicitation(const abi::Mac& own_mac, const abi::Address& own, const abi::Address& target,
                        std::uint8_t* frame);

/// The target and link address of a valid neighbour advertisement. An advertisement without a link address
/// option is believed by its frame's source only if it was solicited (section 7.2.5 leaves the old address;
/// here there may be none).
bool read_advertisement(const std::uint8_t* frame, std::uint32_t readable, const packet::Parsed& parsed,
                        Neighbour& neighbour);

}  // namespace bulkhead::forward
