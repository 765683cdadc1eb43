#include "dataplane/forward/segment.h"

#include <cstring>

namespace bulkhead::forward {

using packet::load_be16;
using packet::load_be32;
using packet::store_be16;
using packet::store_be32;

namespace {

constexpr std::uint8_t kTcp = 6, kUdp = 17;
constexpr std::uint8_t kFin = 1, kPsh = 8, kCwr = 128;

void finish_tcp(const SegmentPlan& plan, std::uint32_t index, std::uint64_t sum, std::uint8_t* tcp,
                std::uint32_t header_bytes) {
  store_be32(tcp + 4, load_be32(tcp + 4) + index * plan.segment_bytes);
  if (index != 0) tcp[13] &= static_cast<std::uint8_t>(~kCwr);
  if (index + 1 != plan.count) tcp[13] &= static_cast<std::uint8_t>(~(kFin | kPsh));
  packet::store_raw16(tcp + 16, 0);
  packet::store_raw16(tcp + 16, finish(sum + sum_bytes(tcp, header_bytes)));
}

void finish_datagram(std::uint32_t transport_bytes, std::uint64_t sum, std::uint8_t* udp) {
  store_be16(udp + 4, transport_bytes);
  packet::store_raw16(udp + 6, 0);
  packet::store_raw16(udp + 6, finish_udp(sum + sum_bytes(udp, 8)));
}

}  // namespace

bool plan_segments(const std::uint8_t* frame, std::uint32_t readable, const packet::Parsed& parsed,
                   std::uint32_t segment_bytes, SegmentPlan& plan) {
  const bool tcp = parsed.protocol == kTcp;
  if (parsed.kind != packet::Kind::kFlow || (!tcp && parsed.protocol != kUdp) || segment_bytes == 0 ||
      (parsed.flags & packet::kFragment) != 0)
    return false;
  const std::uint32_t end = parsed.l3_offset + parsed.l3_bytes;
  const std::uint32_t header_bytes = parsed.l4_offset + (tcp ? frame[parsed.l4_offset + 12] >> 4 << 2 : 8);
  if (header_bytes > readable || header_bytes > end) return false;
  plan = {frame, parsed, header_bytes, end - header_bytes, segment_bytes, 1};
  if (plan.payload_bytes > segment_bytes)
    plan.count = (plan.payload_bytes + segment_bytes - 1) / segment_bytes;
  return true;
}

void write_segment_headers(const SegmentPlan& plan, std::uint32_t index, std::uint64_t payload_sum,
                           std::uint8_t* out) {
  const packet::Parsed& parsed = plan.parsed;
  std::memcpy(out, plan.frame, plan.header_bytes);
  const std::uint32_t payload = segment_cut(plan, index).bytes;
  const std::uint32_t transport_header = plan.header_bytes - parsed.l4_offset;
  std::uint8_t* ip = out + parsed.l3_offset;
  if ((parsed.flags & packet::kIpv4) != 0) {
    store_be16(ip + 2, plan.header_bytes - parsed.l3_offset + payload);
    store_be16(ip + 4, load_be16(ip + 4) + index);
    store_ipv4_checksum(ip);
  } else {
    store_be16(ip + 4, plan.header_bytes - parsed.l3_offset - 40 + payload);
  }
  const std::uint64_t sum = payload_sum + pseudo_sum(parsed.source, parsed.destination, parsed.protocol,
                                                     transport_header + payload);
  std::uint8_t* transport = out + parsed.l4_offset;
  if (parsed.protocol == kTcp)
    finish_tcp(plan, index, sum, transport, transport_header);
  else
    finish_datagram(transport_header + payload, sum, transport);
}

}  // namespace bulkhead::forward
