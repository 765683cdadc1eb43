#include "dataplane/forward/nd.h"

#include <cstring>

#include "dataplane/forward/rewrite.h"
#include "dataplane/packet/bytes.h"

namespace bulkhead::forward {

using packet::store_be16;
using packet::store_be32;

namespace {

constexpr std::uint8_t kSolicitationType = 135, kAdvertisementType = 136;
constexpr std::uint8_t kSourceLinkAddress = 1, kTargetLinkAddress = 2;
constexpr std::uint8_t kIcmpV6 = 58;
constexpr std::uint32_t kFixedBytes = 24;  // of both messages, before the options
constexpr std::uint32_t kRouterBit = 1u << 31, kSolicitedBit = 1u << 30, kOverrideBit = 1u << 29;
constexpr abi::Address kAllNodes{{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};

/// A neighbour message that was read whole.
struct Message {
  abi::Address target;
  std::uint32_t flags;
  const std::uint8_t* link_address;  // of the option asked for, or none
};

/// Options (section 4.6) must fill the message exactly. A link address of another length is not Ethernet's.
bool read_options(const std::uint8_t* options, std::uint32_t bytes, std::uint8_t wanted, Message& message) {
  message.link_address = nullptr;
  while (bytes != 0) {
    if (bytes < 8 || options[1] == 0 || options[1] * 8u > bytes) return false;
    if (options[0] == wanted && options[1] == 1) message.link_address = options + 2;
    bytes -= options[1] * 8u;
    options += options[1] * 8u;
  }
  return true;
}

bool read_message(const std::uint8_t* frame, std::uint32_t readable, const packet::Parsed& parsed,
                  std::uint8_t type, std::uint8_t wanted_option, Message& message) {
  const std::uint32_t end = parsed.l3_offset + parsed.l3_bytes;
  if (parsed.kind != packet::Kind::kNeighbour || parsed.icmp_type != type || end > readable) return false;
  const std::uint32_t bytes = end - parsed.l4_offset;
  const std::uint8_t* icmp = frame + parsed.l4_offset;
  if (bytes < kFixedBytes) return false;
  if (fold(sum_bytes(icmp, bytes) + pseudo_sum(parsed.source, parsed.destination, kIcmpV6, bytes)) != 0xffff)
    return false;
  std::memcpy(message.target.bytes.data(), icmp + 8, 16);
  message.flags = packet::load_be32(icmp + 4);
  if (message.target.bytes[0] == 0xff || message.target == abi::Address{} || message.target.is_v4())
    return false;
  return read_options(icmp + kFixedBytes, bytes - kFixedBytes, wanted_option, message);
}

/// The 32 bytes of ICMPv6 with one link address option, behind Ethernet and IPv6.
void write(std::uint8_t* frame, const abi::Mac& mac_to, const abi::Mac& mac_from, const abi::Address& from,
           const abi::Address& to, std::uint8_t type, std::uint32_t flags, const abi::Address& target,
           std::uint8_t option) {
  constexpr std::uint32_t kMessageBytes = kFixedBytes + 8;
  set_macs(frame, mac_to, mac_from);
  store_be16(frame + 12, 0x86dd);
  std::uint8_t* ip = frame + 14;
  store_be32(ip, 0x6000'0000);
  store_be16(ip + 4, kMessageBytes);
  ip[6] = kIcmpV6;
  ip[7] = 255;
  std::memcpy(ip + 8, from.bytes.data(), 16);
  std::memcpy(ip + 24, to.bytes.data(), 16);
  std::uint8_t* icmp = ip + 40;
  icmp[0] = type;
  icmp[1] = 0;
  store_be16(icmp + 2, 0);
  store_be32(icmp + 4, flags);
  std::memcpy(icmp + 8, target.bytes.data(), 16);
  icmp[24] = option;
  icmp[25] = 1;
  std::memcpy(icmp + 26, mac_from.bytes.data(), 6);
  packet::store_raw16(icmp + 2,
                      finish(sum_bytes(icmp, kMessageBytes) + pseudo_sum(from, to, kIcmpV6, kMessageBytes)));
}

}  // namespace

bool read_solicitation(const std::uint8_t* frame, std::uint32_t readable, const packet::Parsed& parsed,
                       Solicitation& solicitation) {
  Message message;
  if (!read_message(frame, readable, parsed, kSolicitationType, kSourceLinkAddress, message)) return false;
  const bool from_nobody = parsed.source == abi::Address{};
  // Who has no address may not name a link address, and speaks to the target's group (section 7.1.1).
  if (from_nobody && (message.link_address != nullptr || parsed.destination.bytes[0] != 0xff)) return false;
  solicitation.target = message.target;
  solicitation.detects_duplicates = from_nobody;
  return true;
}

bool owes_advertisement(const Solicitation&, Asked asked) {
  return asked.served && !asked.of_asker;
}

void build_advertisement(const std::uint8_t* frame, const packet::Parsed& parsed,
                         const Solicitation& solicitation, const abi::Mac& own, bool proxied,
                         std::uint8_t* advertisement) {
  abi::Mac asker;
  std::memcpy(asker.bytes.data(), frame + 6, 6);
  const bool to_all = solicitation.detects_duplicates;
  if (to_all) asker = {{0x33, 0x33, 0, 0, 0, 1}};
  const std::uint32_t flags = kRouterBit | (to_all ? 0 : kSolicitedBit) | (proxied ? 0 : kOverrideBit);
  write(advertisement, asker, own, solicitation.target, to_all ? kAllNodes : parsed.source,
        kAdvertisementType, flags, solicitation.target, kTargetLinkAddress);
}

void build_solicitation(const abi::Mac& own_mac, const abi::Address& own, const abi::Address& target,
                        std::uint8_t* frame) {
  // Solicited-node group ff02::1:ffXX:XXXX (RFC 4291, section 2.7.1) and its MAC (RFC 2464, section 7).
  const auto& t = target.bytes;
  const abi::Address group{{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, t[13], t[14], t[15]}};
  const abi::Mac mac{{0x33, 0x33, 0xff, t[13], t[14], t[15]}};
  write(frame, mac, own_mac, own, group, kSolicitationType, 0, target, kSourceLinkAddress);
}

bool read_advertisement(const std::uint8_t* frame, std::uint32_t readable, const packet::Parsed& parsed,
                        Neighbour& neighbour) {
  Message message;
  if (!read_message(frame, readable, parsed, kAdvertisementType, kTargetLinkAddress, message)) return false;
  const bool solicited = (message.flags & kSolicitedBit) != 0;
  if (solicited && parsed.destination.bytes[0] == 0xff) return false;
  if (message.link_address == nullptr && !solicited) return false;
  neighbour.address = message.target;
  std::memcpy(neighbour.mac.bytes.data(), message.link_address != nullptr ? message.link_address : frame + 6,
              6);
  return (neighbour.mac.bytes[0] & 1) == 0;
}

}  // namespace bulkhead::forward
