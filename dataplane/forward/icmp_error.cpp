#include "dataplane/forward/icmp_error.h"

#include <algorithm>
#include <cstring>

#include "dataplane/forward/checksum.h"
#include "dataplane/forward/rewrite.h"
#include "dataplane/packet/bytes.h"

namespace bulkhead::forward {

using packet::store_be16;
using packet::store_be32;

namespace {

constexpr std::uint32_t kEthernetBytes = 14, kIcmpBytes = 8;
constexpr std::uint32_t kErrorBytesMaxV4 = 576, kErrorBytesMaxV6 = 1280;
constexpr std::uint8_t kHopLimit = 64;

struct Kind {
  std::uint8_t type_v4, code_v4, type_v6, code_v6;
};
constexpr Kind kKinds[] = {{11, 0, 3, 0}, {3, 4, 2, 0}, {3, 13, 1, 1}};  // by Problem

/// The quote's length: as much of the packet as can be read and fits.
std::uint32_t quote_bytes(std::uint32_t readable, const packet::Parsed& parsed, std::uint32_t room) {
  return std::min({parsed.l3_bytes, readable - parsed.l3_offset, room});
}

std::uint32_t write_v4(const std::uint8_t* quote, std::uint32_t quoted, const packet::Parsed& parsed,
                       Problem problem, std::uint32_t mtu, const abi::Address& gateway, std::uint8_t* ip) {
  const std::uint32_t bytes = 20 + kIcmpBytes + quoted;
  std::memset(ip, 0, 20 + kIcmpBytes);
  ip[0] = 0x45;
  ip[1] = 0xc0;  // internetwork control (RFC 1812, section 4.3.2.5)
  store_be16(ip + 2, bytes);
  ip[8] = kHopLimit;
  ip[9] = 1;
  std::memcpy(ip + 12, gateway.bytes.data() + 12, 4);
  std::memcpy(ip + 16, parsed.source.bytes.data() + 12, 4);
  store_ipv4_checksum(ip);
  std::uint8_t* icmp = ip + 20;
  const Kind kind = kKinds[static_cast<std::size_t>(problem)];
  icmp[0] = kind.type_v4;
  icmp[1] = kind.code_v4;
  if (problem == Problem::kTooBig) store_be16(icmp + 6, mtu);
  std::memcpy(icmp + kIcmpBytes, quote, quoted);
  packet::store_raw16(icmp + 2, finish(sum_bytes(icmp, kIcmpBytes + quoted)));
  return bytes;
}

std::uint32_t write_v6(const std::uint8_t* quote, std::uint32_t quoted, const packet::Parsed& parsed,
                       Problem problem, std::uint32_t mtu, const abi::Address& gateway, std::uint8_t* ip) {
  const std::uint32_t icmp_bytes = kIcmpBytes + quoted;
  store_be32(ip, 0x6000'0000);
  store_be16(ip + 4, icmp_bytes);
  ip[6] = 58;
  ip[7] = kHopLimit;
  std::memcpy(ip + 8, gateway.bytes.data(), 16);
  std::memcpy(ip + 24, parsed.source.bytes.data(), 16);
  std::uint8_t* icmp = ip + 40;
  const Kind kind = kKinds[static_cast<std::size_t>(problem)];
  icmp[0] = kind.type_v6;
  icmp[1] = kind.code_v6;
  store_be16(icmp + 2, 0);
  store_be32(icmp + 4, problem == Problem::kTooBig ? mtu : 0);
  std::memcpy(icmp + kIcmpBytes, quote, quoted);
  packet::store_raw16(
      icmp + 2, finish(sum_bytes(icmp, icmp_bytes) + pseudo_sum(gateway, parsed.source, 58, icmp_bytes)));
  return 40 + icmp_bytes;
}

}  // namespace

bool owes_error(const packet::Parsed& parsed, Problem problem) {
  if (parsed.kind != packet::Kind::kFlow || parsed.fragment_offset != 0) return false;
  // Groups, nobody (::) and other impossible sources are never of kind kFlow. IPv6 counts as DF.
  return problem != Problem::kTooBig || (parsed.flags & packet::kDontFragment) != 0;
}

std::uint32_t build_error(const std::uint8_t* frame, std::uint32_t readable, const packet::Parsed& parsed,
                          Problem problem, std::uint32_t mtu, const abi::Mac& own_mac,
                          const abi::Address& gateway, std::uint8_t* error) {
  const bool v4 = (parsed.flags & packet::kIpv4) != 0;
  abi::Mac sender;
  std::memcpy(sender.bytes.data(), frame + 6, 6);
  set_macs(error, sender, own_mac);
  store_be16(error + 12, v4 ? 0x0800 : 0x86dd);
  const std::uint32_t room = v4 ? kErrorBytesMaxV4 - 20 - kIcmpBytes : kErrorBytesMaxV6 - 40 - kIcmpBytes;
  const std::uint32_t quoted = quote_bytes(readable, parsed, room);
  const std::uint8_t* quote = frame + parsed.l3_offset;
  return kEthernetBytes +
         (v4 ? write_v4 : write_v6)(quote, quoted, parsed, problem, mtu, gateway, error + kEthernetBytes);
}

}  // namespace bulkhead::forward
