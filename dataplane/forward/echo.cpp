#include "dataplane/forward/echo.h"

#include <cstring>

#include "dataplane/forward/checksum.h"
#include "dataplane/packet/bytes.h"

namespace bulkhead::forward {

namespace {

constexpr std::uint8_t kRequestV4 = 8, kReplyV4 = 0, kRequestV6 = 128, kReplyV6 = 129;
constexpr std::uint8_t kHopLimit = 64;

void exchange(std::uint8_t* one, std::uint8_t* other, std::size_t bytes) {
  std::uint8_t kept[16];
  std::memcpy(kept, one, bytes);
  std::memcpy(one, other, bytes);
  std::memcpy(other, kept, bytes);
}

}  // namespace

bool asks_echo(const packet::Parsed& parsed) {
  if (parsed.kind != packet::Kind::kFlow || parsed.fragment_offset != 0) return false;
  const bool v4 = (parsed.flags & packet::kIpv4) != 0;
  return v4 ? parsed.protocol == 1 && parsed.icmp_type == kRequestV4
            : parsed.protocol == 58 && parsed.icmp_type == kRequestV6;
}

void answer_echo(std::uint8_t* frame, const packet::Parsed& parsed) {
  using packet::load_raw16;
  std::uint8_t* ip = frame + parsed.l3_offset;
  const bool v4 = (parsed.flags & packet::kIpv4) != 0;
  exchange(frame, frame + 6, 6);
  // Exchanging addresses changes neither the header's sum nor the pseudo header's.
  if (v4) {
    exchange(ip + 12, ip + 16, 4);
    const std::uint16_t before = load_raw16(ip + 8);
    ip[8] = kHopLimit;
    packet::store_raw16(ip + 10, adjust(load_raw16(ip + 10), before, load_raw16(ip + 8)));
  } else {
    exchange(ip + 8, ip + 24, 16);
    ip[7] = kHopLimit;
  }
  if (!asks_echo(parsed)) return;
  std::uint8_t* icmp = frame + parsed.l4_offset;
  const std::uint16_t before = load_raw16(icmp);
  icmp[0] = v4 ? kReplyV4 : kReplyV6;
  packet::store_raw16(icmp + 2, adjust(load_raw16(icmp + 2), before, load_raw16(icmp)));
}

}  // namespace bulkhead::forward
