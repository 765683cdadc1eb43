#include "dataplane/forward/fragment.h"

#include <cstring>

namespace bulkhead::forward {

namespace {

constexpr std::uint32_t kMtuMin = 68;
constexpr std::uint32_t kMoreBit = 0x2000;
constexpr std::uint8_t kCopiedBit = 0x80, kEndOfOptions = 0, kNoOperation = 1;

/// Options for fragments after the first: those with the copied bit, padded to whole words. `out` may be null
/// to learn their bytes only.
std::uint32_t copy_options(const std::uint8_t* header, std::uint32_t header_bytes, std::uint8_t* out) {
  std::uint32_t copied = 0;
  for (std::uint32_t at = 20; at < header_bytes && header[at] != kEndOfOptions;) {
    const std::uint32_t bytes = header[at] == kNoOperation ? 1 : header[at + 1];
    if ((header[at] & kCopiedBit) != 0) {
      if (out != nullptr) std::memcpy(out + copied, header + at, bytes);
      copied += bytes;
    }
    at += bytes;
  }
  const std::uint32_t padded = (copied + 3) & ~3u;
  if (out != nullptr) std::memset(out + copied, kEndOfOptions, padded - copied);
  return padded;
}

}  // namespace

bool plan_fragments(const std::uint8_t* frame, const packet::Parsed& parsed, std::uint32_t mtu,
                    FragmentPlan& plan) {
  const bool cut_allowed = parsed.kind == packet::Kind::kFlow && (parsed.flags & packet::kIpv4) != 0 &&
                           (parsed.flags & packet::kDontFragment) == 0;
  if (!cut_allowed || mtu < kMtuMin) return false;
  const std::uint32_t header_bytes = static_cast<std::uint32_t>(parsed.l4_offset - parsed.l3_offset);
  const std::uint32_t later_bytes = 20 + copy_options(frame + parsed.l3_offset, header_bytes, nullptr);
  plan = {frame,
          parsed,
          parsed.l3_bytes - header_bytes,
          parsed.l4_offset,
          parsed.l3_offset + later_bytes,
          (mtu - header_bytes) & ~7u,
          (mtu - later_bytes) & ~7u,
          1};
  if (parsed.l3_bytes > mtu)
    plan.count += (plan.payload_bytes - plan.first_bytes + plan.later_bytes - 1) / plan.later_bytes;
  else
    plan.first_bytes = plan.payload_bytes;
  return true;
}

void write_fragment_headers(const FragmentPlan& plan, std::uint32_t index, std::uint8_t* out) {
  const std::uint32_t at = plan.parsed.l3_offset;
  const std::uint8_t* header = plan.frame + at;
  std::uint8_t* ip = out + at;
  if (index == 0) {
    std::memcpy(out, plan.frame, plan.first_header_bytes);
  } else {
    std::memcpy(out, plan.frame, at + 20);
    copy_options(header, plan.parsed.l4_offset - at, ip + 20);
    ip[0] = static_cast<std::uint8_t>(0x40 | (plan.later_header_bytes - at) / 4);
  }
  const Cut cut = fragment_cut(plan, index);
  const bool more = index + 1 != plan.count || (plan.parsed.flags & packet::kMoreFragments) != 0;
  const std::uint32_t offset = plan.parsed.fragment_offset + cut.offset - plan.first_header_bytes;
  packet::store_be16(ip + 2, plan.header_bytes(index) - at + cut.bytes);
  packet::store_be16(ip + 6, offset / 8 | (more ? kMoreBit : 0));
  store_ipv4_checksum(ip);
}

}  // namespace bulkhead::forward
