#include "dataplane/forward/arp.h"

#include <cstring>

#include "dataplane/forward/rewrite.h"
#include "dataplane/packet/bytes.h"

namespace bulkhead::forward {

using packet::load_be16;
using packet::load_raw32;
using packet::store_be16;
using packet::store_be32;

namespace {

constexpr std::uint16_t kRequest = 1, kReply = 2;
constexpr abi::Mac kBroadcast{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
// Offsets inside an ARP packet for Ethernet and IPv4.
constexpr std::uint32_t kSenderMac = 8, kSenderAddress = 14, kTargetMac = 18, kTargetAddress = 24;

void start(std::uint8_t* frame, const abi::Mac& destination, const abi::Mac& source,
           std::uint16_t operation) {
  set_macs(frame, destination, source);
  store_be16(frame + 12, 0x0806);
  store_be32(frame + 14, 0x0001'0800);
  store_be16(frame + 18, 0x0604);
  store_be16(frame + 20, operation);
}

}  // namespace

bool owes_arp_reply(const packet::Parsed& request, Asked asked) {
  return request.kind == packet::Kind::kArp && request.icmp_type == kRequest && asked.served &&
         !asked.of_asker && !(request.source == request.destination);
}

void build_arp_reply(const std::uint8_t* request, const packet::Parsed& parsed, const abi::Mac& own,
                     std::uint8_t* reply) {
  const std::uint8_t* asked = request + parsed.l3_offset;
  abi::Mac asker;
  std::memcpy(asker.bytes.data(), asked + kSenderMac, 6);
  const std::uint32_t asker_address = load_raw32(asked + kSenderAddress);
  const std::uint32_t target_address = load_raw32(asked + kTargetAddress);
  start(reply, asker, own, kReply);
  std::uint8_t* arp = reply + 14;
  std::memcpy(arp + kSenderMac, own.bytes.data(), 6);
  std::memcpy(arp + kSenderAddress, &target_address, 4);
  std::memcpy(arp + kTargetMac, asker.bytes.data(), 6);
  std::memcpy(arp + kTargetAddress, &asker_address, 4);
}

void build_arp_request(const abi::Mac& own_mac, const abi::Address& own, const abi::Address& target,
                       std::uint8_t* frame) {
  start(frame, kBroadcast, own_mac, kRequest);
  std::uint8_t* arp = frame + 14;
  std::memcpy(arp + kSenderMac, own_mac.bytes.data(), 6);
  std::memcpy(arp + kSenderAddress, own.bytes.data() + 12, 4);
  std::memset(arp + kTargetMac, 0, 6);
  std::memcpy(arp + kTargetAddress, target.bytes.data() + 12, 4);
}

bool read_arp_sender(const std::uint8_t* frame, const packet::Parsed& parsed, Neighbour& sender) {
  if (parsed.kind != packet::Kind::kArp) return false;
  const std::uint8_t* arp = frame + parsed.l3_offset;
  if (load_raw32(arp + kSenderAddress) == 0 || std::memcmp(arp + kSenderMac, frame + 6, 6) != 0) return false;
  sender.address = parsed.source;
  std::memcpy(sender.mac.bytes.data(), arp + kSenderMac, 6);
  return true;
}

}  // namespace bulkhead::forward
