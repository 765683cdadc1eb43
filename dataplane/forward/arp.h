// Address resolution for IPv4 (RFC 826, RFC 5227) over frames of kind packet::Kind::kArp.
//
// Towards containers the data plane answers for every address it serves (proxy ARP, RFC 1027), which is for
// the caller to say. Towards the uplink it asks for the next hop.
#pragma once

#include <cstdint>

#include "dataplane/abi/address.h"
#include "dataplane/packet/packet.h"

namespace bulkhead::forward {

inline constexpr std::uint32_t kArpFrameBytes = 42;

/// What the caller's tables say of the address that is asked for.
struct Asked {
  bool served = false;    // the data plane speaks for it on this port
  bool of_asker = false;  // the endpoint of this very port owns it
};

/// A neighbour that told its link address.
struct Neighbour {
  abi::Address address;
  abi::Mac mac;
};

/// True for a request whose target is served. Never for the asker's own address, however it asks: a
/// gratuitous request announces, a probe (sender 0.0.0.0) tests for a conflict (RFC 5227), and an answer to
/// either would make the host give up its address.
bool owes_arp_reply(const packet::Parsed& request, Asked asked);

/// Writes kArpFrameBytes to `reply`, which may be `request` itself where that frame has no 802.1Q tag.
void build_arp_reply(const std::uint8_t* request, const packet::Parsed& parsed, const abi::Mac& own,
                     std::uint8_t* reply);

/// Asks everybody who has `target`. Writes kArpFrameBytes. Both addresses IPv4.
void build_arp_request(const abi::Mac& own_mac, const abi::Address& own, const abi::Address& target,
                       std::uint8_t* frame);

/// What an ARP packet, reply or request, says of its sender. False for probes and for a sender whose frame
/// comes from another MAC than it claims.
bool read_arp_sender(const std::uint8_t* frame, const packet::Parsed& parsed, Neighbour& sender);

}  // namespace bulkhead::forward
