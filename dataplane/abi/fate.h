// Every fate a packet can meet, once. The verdict, the counter, the flow record and the text a person reads
// are this enum.
//
// Forwarding fates come first, then drops. Numbers are part of the ABI: new fates are appended before
// kFateCount and abi::kVersion rises. `kFates[fate]` gives the metric name and a sentence for people.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace bulkhead::abi {

enum class Fate : std::uint8_t {
  kForwarded,          // an allowed flow's packet went on
  kAnsweredArp,        // ARP request answered by the data plane (RFC 826)
  kAnsweredNd,         // neighbour solicitation answered (RFC 4861)
  kAnsweredEcho,       // echo request to a gateway address answered
  kIcmpTimeExceeded,   // hop limit ran out; an ICMP error went back
  kIcmpTooBig,         // larger than the way out and not to be fragmented; an ICMP error went back
  kHeldFragment,       // a fragment that waits for its first one (it meets a second fate later)
  kDeniedPolicy,       // a deny rule of a policy
  kDeniedDefault,      // isolated by a policy, and no rule allows it
  kDeniedPosture,      // no policy speaks of it and the node's posture is deny
  kNoImage,            // no image is published yet: nothing is forwarded
  kPortOnHold,         // the port's endpoint is not in the enforced image yet
  kUnidentified,       // the port has no endpoint in the enforced image
  kSpoofedMac,         // source MAC is not the endpoint's
  kSpoofedAddress,     // source address is not the endpoint's
  kNoRoute,            // nothing serves the destination address
  kMalformedEthernet,  // frame shorter than its headers, or a group source address
  kVlanUnexpected,     // an 802.1Q tag where none belongs, or another VLAN
  kEtherTypeUnknown,   // neither ARP, IPv4 nor IPv6
  kMalformedArp,
  kMalformedIpv4,  // version, lengths, options or addresses are not valid (RFC 791, RFC 1122)
  kBadChecksumIpv4,
  kSourceRouted,        // IPv4 source route or IPv6 routing header type 0 (RFC 7126, RFC 5095)
  kMalformedIpv6,       // version, lengths or addresses are not valid (RFC 8200)
  kMalformedExtension,  // an extension header chain that is broken, disordered or too long
  kMalformedTransport,  // transport header truncated or its lengths do not fit
  kMalformedIcmp,
  kTcpFlags,         // a set of flags no stack sends (SYN+FIN, none at all, ...)
  kTcpNotSyn,        // no flow, and not an opening segment
  kTcpState,         // flags that the flow's state does not allow
  kFragmentTiny,     // first fragment without the whole transport header, or a minute middle one (RFC 1858,
                     // 3128)
  kFragmentOverlap,  // overlapping fragments poison their datagram (RFC 5722, 8900)
  kFragmentTimeout,  // its first fragment never came
  kFragmentTableFull,
  kFlowTableFull,      // no room for a new flow; established ones are kept
  kIcmpUnrelated,      // an ICMP error that belongs to no allowed flow
  kGroupDestination,   // multicast or broadcast, which is not forwarded
  kLinkLocal,          // link-local traffic other than neighbour discovery
  kHopLimit,           // hop limit ran out and no ICMP error was owed or the rate limit held
  kTooBig,             // larger than the way out and no ICMP error was owed or the rate limit held
  kPortGone,           // the way out was detached
  kTransmitFull,       // the outgoing port took no more
  kNoMemory,           // no packet buffer for an answer or a copy
  kNextHopUnresolved,  // the uplink's gateway has not answered yet
  kFateCount
};

inline constexpr std::size_t kFateCount = static_cast<std::size_t>(Fate::kFateCount);

struct FateText {
  std::string_view name;     // snake_case: metric label, JSON value, CLI text
  std::string_view meaning;  // one sentence for people
};

inline constexpr std::array<FateText, kFateCount> kFates = {{
    {"forwarded", "allowed and passed on"},
    {"answered_arp", "ARP request answered by the data plane"},
    {"answered_nd", "neighbour solicitation answered by the data plane"},
    {"answered_echo", "ping of the gateway answered by the data plane"},
    {"icmp_time_exceeded", "hop limit ran out, sender told"},
    {"icmp_too_big", "too large for the way out, sender told"},
    {"held_fragment", "fragment kept until its first one came"},
    {"denied_policy", "a deny rule matched"},
    {"denied_default", "isolated by policy and no rule allows it"},
    {"denied_posture", "no policy allows it and the posture is deny"},
    {"no_image", "no policy image is enforced yet"},
    {"port_on_hold", "the port's endpoint is not in the enforced image yet"},
    {"unidentified", "the port has no identity"},
    {"spoofed_mac", "source MAC is not the endpoint's"},
    {"spoofed_address", "source address is not the endpoint's"},
    {"no_route", "nothing serves the destination"},
    {"malformed_ethernet", "broken Ethernet frame"},
    {"vlan_unexpected", "unexpected 802.1Q tag"},
    {"ethertype_unknown", "neither ARP, IPv4 nor IPv6"},
    {"malformed_arp", "broken ARP packet"},
    {"malformed_ipv4", "broken IPv4 header"},
    {"bad_checksum_ipv4", "IPv4 header checksum is wrong"},
    {"source_routed", "source routing is refused"},
    {"malformed_ipv6", "broken IPv6 header"},
    {"malformed_extension", "broken IPv6 extension header chain"},
    {"malformed_transport", "broken transport header"},
    {"malformed_icmp", "broken ICMP message"},
    {"tcp_flags", "impossible TCP flags"},
    {"tcp_not_syn", "TCP segment of no known connection"},
    {"tcp_state", "TCP flags that the connection's state does not allow"},
    {"fragment_tiny", "fragment too small to judge"},
    {"fragment_overlap", "overlapping fragments"},
    {"fragment_timeout", "first fragment never came"},
    {"fragment_table_full", "too many datagrams in fragments"},
    {"flow_table_full", "no room for a new flow"},
    {"icmp_unrelated", "ICMP error of no known flow"},
    {"group_destination", "multicast and broadcast are not forwarded"},
    {"link_local", "link-local traffic is not forwarded"},
    {"hop_limit", "hop limit ran out"},
    {"too_big", "too large for the way out"},
    {"port_gone", "outgoing port was detached"},
    {"transmit_full", "outgoing port took no more"},
    {"no_memory", "no packet buffer left"},
    {"next_hop_unresolved", "the uplink's gateway has not answered"},
}};
static_assert(!kFates.back().name.empty());

/// True for the fates that mean "policy said no"; what a flow record or an explanation calls a denial.
constexpr bool is_denial(Fate fate) {
  return fate == Fate::kDeniedPolicy || fate == Fate::kDeniedDefault || fate == Fate::kDeniedPosture;
}

constexpr std::string_view name(Fate fate) {
  return kFates[static_cast<std::size_t>(fate)].name;
}

}  // namespace bulkhead::abi
