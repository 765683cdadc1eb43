// The ICMP errors that a router owes (RFC 792, 1191, 1812, 4443).
#pragma once

#include <cstdint>

#include "dataplane/abi/address.h"
#include "dataplane/packet/packet.h"

namespace bulkhead::forward {

enum class Problem : std::uint8_t {
  kTimeExceeded,  // in transit
  kTooBig,        // IPv4: fragmentation needed and DF set
  kProhibited,    // administratively (RFC 1812, section 5.2.7.1; RFC 4443, section 3.1)
};

/// Ethernet plus the longest error: 576 bytes for IPv4 (RFC 1812, section 4.3.2.3), 1280 for IPv6.
inline constexpr std::uint32_t kErrorFrameBytesMax = 14 + 1280;

/// Whether `parsed` may be answered with an error at all (RFC 1122 section 3.2.2, RFC 4443 section 2.4(e)):
/// not an ICMP error, not a later fragment, not from or to a group or nobody; kTooBig for IPv4 only with DF.
bool owes_error(const packet::Parsed& parsed, Problem problem);

/// Writes the error about `frame` to `error` (room for kErrorFrameBytesMax) and returns its bytes. It goes
/// back to the MAC that sent the frame, from `own_mac` and the address `gateway` (of the packet's family),
/// and quotes as much of the packet as is allowed and readable. `mtu` is of layer 3 and only for kTooBig.
std::uint32_t build_error(const std::uint8_t* frame, std::uint32_t readable, const packet::Parsed& parsed,
                          Problem problem, std::uint32_t mtu, const abi::Mac& own_mac,
                          const abi::Address& gateway, std::uint8_t* error);

}  // namespace bulkhead::forward
