// The short way to read a packet: TCP or UDP right behind a plain IP header.
//
// A packet is plain if a sum of tests says so. They are taken without a branch and looked at once, so that a
// mix of protocols costs no mispredictions. False says nothing about a packet but that the general way must
// read it, and `parsed` is untouched then. Where both read a packet, they agree.
//
// `tag_bytes` is 4 where an 802.1Q tag, looked at before, stands in front of the EtherType, else 0.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "dataplane/packet/bytes.h"
#include "dataplane/packet/parsed.h"

namespace bulkhead::packet {

/// Bit n is set where the low six TCP flags n (PSH ignored) are what a stack sends: SYN, SYN+URG, SYN+ACK,
/// RST, RST+ACK, FIN+ACK, FIN+ACK+URG, ACK, ACK+URG (what netfilter's connection tracking accepts).
inline constexpr std::uint64_t kTcpFlagsValid = [] {
  std::uint64_t valid = 0;
  for (unsigned flags : {0x02, 0x22, 0x12, 0x04, 0x14, 0x11, 0x31, 0x10, 0x30})
    valid |= std::uint64_t{1} << flags | std::uint64_t{1} << (flags | 0x08);
  return valid;
}();

/// Not zero where the transport part of `bytes` >= 20 bytes is not a sound TCP segment or UDP datagram.
inline std::uint32_t odd_transport(const std::uint8_t* transport, std::uint32_t bytes,
                                   std::uint32_t protocol) {
  const bool tcp = protocol == 6, udp = protocol == 17;
  const bool flags_valid = (kTcpFlagsValid >> (transport[13] & 0x3fu) & 1) != 0;
  // Both have a length that is at least that of the fixed header and at most all there is.
  const std::uint32_t length = tcp ? transport[12] >> 4 << 2 : load_be16(transport + 4);
  const std::uint32_t least = tcp ? 20 : 8;
  return std::uint32_t{length - least > bytes - least} | std::uint32_t{!((tcp & flags_valid) | udp)};
}

/// All but the addresses.
inline void fill_plain(const std::uint8_t* frame, std::uint32_t l3_offset, std::uint32_t l4_offset,
                       std::uint32_t protocol, Parsed& parsed) {
  const std::uint8_t* transport = frame + l4_offset;
  parsed.source_port = load_be16(transport);
  parsed.destination_port = load_be16(transport + 2);
  parsed.protocol = static_cast<std::uint8_t>(protocol);
  parsed.kind = Kind::kFlow;
  parsed.fate = abi::Fate::kForwarded;
  parsed.tcp_flags = static_cast<std::uint8_t>(protocol == 6 ? transport[13] & 0x3f : 0);
  parsed.policy_port = parsed.destination_port;
  parsed.l3_offset = static_cast<std::uint8_t>(l3_offset);
  parsed.icmp_type = 0;
  parsed.l4_offset = static_cast<std::uint16_t>(l4_offset);
  parsed.fragment_offset = 0;
  parsed.fragment_id = 0;
}

/// No options, no fragment, unremarkable addresses, at least 20 bytes behind the header and all 54 (and the
/// tag) readable.
inline bool parse_plain_v4(const std::uint8_t* frame, std::uint32_t readable, std::uint32_t frame_bytes,
                           std::uint32_t tag_bytes, Parsed& parsed) {
  const std::uint32_t l3_offset = 14 + tag_bytes, l4_offset = l3_offset + 20;
  if (readable < l4_offset + 20) return false;
  const std::uint8_t* ip = frame + l3_offset;
  const std::uint32_t ip_bytes = load_be16(ip + 2);
  const std::uint32_t fragment = load_raw16(ip + 6);
  const std::uint32_t protocol = ip[9];
  const std::uint32_t source = load_raw32(ip + 12), destination = load_raw32(ip + 16);

  // EtherType 0x0800, version 4, a header of 5 words; group bits of both MACs; reserved bit, MF and offset.
  std::uint32_t odd = (load_raw32(ip - 2) & 0x00ff'ffffu) ^ 0x0045'0008u;
  odd |= (frame[0] | frame[6]) & 1u;
  odd |= fragment & 0xffbfu;
  odd |= std::uint32_t{ip_bytes + l3_offset > frame_bytes} | std::uint32_t{ip_bytes < 40};
  odd |= std::uint32_t{!header_sums_up(ip)};
  odd |= std::uint32_t{kRemarkableV4[ip[12]]} | kRemarkableV4[ip[16]];
  odd |= odd_transport(frame + l4_offset, ip_bytes - 20, protocol);
  if (odd != 0) return false;

  store_address_v4(parsed.source.bytes.data(), source);
  store_address_v4(parsed.destination.bytes.data(), destination);
  fill_plain(frame, l3_offset, l4_offset, protocol, parsed);
  parsed.flags = static_cast<std::uint8_t>(kIpv4 | (fragment & 0x40) >> 3 | tag_bytes << 2);
  parsed.hop_limit = ip[8];
  parsed.l3_bytes = ip_bytes;
  return true;
}
static_assert(kDontFragment == 0x40 >> 3 && kVlanTagged == 4 << 2, "flags are shifted into place");

/// No extension headers, both addresses global (2000::/3) or unique local (fc00::/7), at least 20 bytes behind
/// the header and all 74 (and the tag) readable.
inline bool parse_plain_v6(const std::uint8_t* frame, std::uint32_t readable, std::uint32_t frame_bytes,
                           std::uint32_t tag_bytes, Parsed& parsed) {
  const std::uint32_t l3_offset = 14 + tag_bytes, l4_offset = l3_offset + 40;
  if (readable < l4_offset + 20) return false;
  const std::uint8_t* ip = frame + l3_offset;
  const std::uint32_t payload_bytes = load_be16(ip + 4);
  const std::uint32_t protocol = ip[6];
  const auto remarkable = [](std::uint32_t first_byte) {
    return std::uint32_t{(first_byte & 0xe0) != 0x20} & std::uint32_t{(first_byte & 0xfe) != 0xfc};
  };

  // EtherType 0x86dd and version 6.
  std::uint32_t odd = (load_raw32(ip - 2) & 0x00f0'ffffu) ^ 0x0060'dd86u;
  odd |= (frame[0] | frame[6]) & 1u;
  odd |= std::uint32_t{payload_bytes + l4_offset > frame_bytes} | std::uint32_t{payload_bytes < 20};
  odd |= remarkable(ip[8]) | remarkable(ip[24]);
  odd |= odd_transport(frame + l4_offset, payload_bytes, protocol);
  if (odd != 0) return false;

  std::memcpy(parsed.source.bytes.data(), ip + 8, 16);
  std::memcpy(parsed.destination.bytes.data(), ip + 24, 16);
  fill_plain(frame, l3_offset, l4_offset, protocol, parsed);
  parsed.flags = static_cast<std::uint8_t>(kDontFragment | tag_bytes << 2);
  parsed.hop_limit = ip[7];
  parsed.l3_bytes = 40 + payload_bytes;
  return true;
}

/// The first 12 bytes of every frame that one neighbour sends: to whom and from whom.
struct FrameHead {
  std::uint64_t first = 0;
  std::uint32_t rest = 0;
};

/// A MAC as it lies in memory, in the low 48 bits. In two reads: one of six bytes would wait for a copy on the stack.
inline std::uint64_t mac_word(const abi::Mac& mac) {
  return load_raw32(mac.bytes.data()) | std::uint64_t{load_raw16(mac.bytes.data() + 4)} << 32;
}

/// Of the words only the low 48 bits count.
inline FrameHead frame_head(std::uint64_t destination, std::uint64_t source) {
  const std::uint64_t from = source & 0xffff'ffff'ffff;
  return {(destination & 0xffff'ffff'ffff) | from << 48, static_cast<std::uint32_t>(from >> 16)};
}

inline FrameHead frame_head(const abi::Mac& destination, const abi::Mac& source) {
  return frame_head(mac_word(destination), mac_word(source));
}

/// How the first 32 bytes of a plain IPv4 frame from a known neighbour look, where they are known: MACs, EtherType, version and
/// header length, no fragment. One comparison of a burst's packet with it says most of what is to be said.
struct ExpectedV4 {
  __m256i bytes;
  __m256i mask;

  explicit ExpectedV4(const FrameHead& head)
      : bytes(_mm256_set_epi64x(0, 0, static_cast<long long>(std::uint64_t{0x0045'0008} << 32 | head.rest),
                                static_cast<long long>(head.first))),
        // 15 bytes, and of flags and fragment offset all but DF.
        mask(_mm256_set_epi64x(0, 0x0000'ffbf'0000'0000, 0x00ff'ffff'ffff'ffff, -1)) {}
};

/// Whether parse_plain_v4() would read this untagged frame of a known neighbour, whatever its addresses: a conversation that is known
/// had them looked at when it began, and for any other the caller must parse(). Nothing is written; what a caller wants of such a
/// frame lies at fixed places. Branches on the protocol, which a burst has little of.
inline bool is_expected_v4(const std::uint8_t* frame, std::uint32_t readable, std::uint32_t frame_bytes,
                           const ExpectedV4& expected) {
  constexpr std::uint32_t kL3 = 14, kL4 = 34;
  if (readable < kL4 + 20) [[unlikely]]
    return false;
  const __m256i first = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(frame));
  if (_mm256_testz_si256(_mm256_xor_si256(first, expected.bytes), expected.mask) == 0) [[unlikely]]
    return false;
  const std::uint8_t* ip = frame + kL3;
  const std::uint32_t ip_bytes = load_be16(ip + 2);
  const std::uint32_t protocol = ip[9];
  if (ip_bytes - 40 > frame_bytes - (kL3 + 40) || !header_sums_up(ip)) [[unlikely]]
    return false;
  if (protocol == 17) return load_be16(frame + kL4 + 4) - 8u <= ip_bytes - 28;
  if (protocol != 6) return false;
  const std::uint32_t header_bytes = frame[kL4 + 12] >> 4 << 2;
  return header_bytes - 20 <= ip_bytes - 40 && (kTcpFlagsValid >> (frame[kL4 + 13] & 0x3fu) & 1) != 0;
}

/// What lies where in a frame that is_expected_v4() has passed.
namespace plain_v4 {
inline std::uint32_t bytes(const std::uint8_t* frame) {
  return load_be16(frame + 16);
}
inline std::uint32_t hops(const std::uint8_t* frame) {
  return frame[22];
}
/// A TCP segment with FIN, SYN or RST. No branch on the protocol: where that is UDP, the flags are any byte.
inline bool moves_tcp(const std::uint8_t* frame) {
  // Of bits 1 and 2, the number 6 has both and 17 none; doubling brings FIN among them.
  const std::uint32_t flags = frame[47];
  return ((flags | flags << 1) & frame[23] & 6) != 0;
}
}  // namespace plain_v4

}  // namespace bulkhead::packet
