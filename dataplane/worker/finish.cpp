#include <rte_memcpy.h>

#include <array>
#include <cstring>
#include <span>

#include "dataplane/forward/forward.h"
#include "dataplane/worker/worker.h"

namespace bulkhead::worker {
namespace {

constexpr std::uint64_t kSuper = RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG;
constexpr std::uint32_t kRangesMax = 64;

/// Of one super-packet: 64 KB in segments of 64 bytes. Its sender chooses their size, and we pay for each.
constexpr std::uint32_t kSegmentsMax = 1024;

/// The packet's segments, in order. Empty if there are too many of them.
class Ranges {
 public:
  explicit Ranges(rte_mbuf* packet) {
    for (; packet != nullptr; packet = packet->next) {
      if (count_ == kRangesMax) {
        count_ = 0;
        return;
      }
      ranges_[count_++] = {rte_pktmbuf_mtod(packet, std::uint8_t*), packet->data_len};
    }
  }
  std::span<const forward::Range> all() const { return {ranges_.data(), count_}; }

 private:
  std::array<forward::Range, kRangesMax> ranges_;
  std::uint32_t count_ = 0;
};

std::uint16_t checksum_offset(const rte_mbuf* packet) {
  return (packet->ol_flags & RTE_MBUF_F_TX_L4_MASK) == RTE_MBUF_F_TX_TCP_CKSUM ? 16 : 6;
}

}  // namespace

/// A packet that is larger than the way out, or unfinished by its sender's kernel.
void Worker::finish(rte_mbuf* packet, const packet::Parsed& parsed, port::Port& out,
                    const packet::FrameHead& head) {
  const bool super = (packet->ol_flags & kSuper) != 0;
  const std::uint32_t largest =
      super ? parsed.l4_offset - parsed.l3_offset + packet->l4_len + packet->tso_segsz : parsed.l3_bytes;
  const bool cut = largest > out.mtu();
  const bool may_cut =
      !super && (parsed.flags & packet::kIpv4) != 0 && (parsed.flags & packet::kDontFragment) == 0;
  if (cut && !may_cut) {
    count(tell_sender(packet, parsed, forward::Problem::kTooBig, out.mtu()) ? abi::Fate::kIcmpTooBig
                                                                            : abi::Fate::kTooBig);
    rte_pktmbuf_free(packet);
    return;
  }
  rewrite(packet, parsed, head);
  // Devices are asked for TCP segmentation only.
  const bool segments = out.offload() && ((packet->ol_flags & RTE_MBUF_F_TX_UDP_SEG) == 0 || out.fd() >= 0);
  if (super && !segments) return segment(packet, parsed, out);
  if ((packet->ol_flags & RTE_MBUF_F_TX_L4_MASK) != 0 && (cut || !out.offload())) {
    const std::uint32_t end = parsed.l3_offset + parsed.l3_bytes;
    if (!forward::complete_partial(Ranges(packet).all(), parsed.l4_offset, checksum_offset(packet), end))
      return drop(packet, abi::Fate::kMalformedTransport);
    packet->ol_flags &= ~RTE_MBUF_F_TX_L4_MASK;
  }
  if (cut) return fragment(packet, parsed, out);
  ++accepted_;
  emit(packet, out);
}

/// An empty packet with room for `bytes`; null: no memory.
rte_mbuf* Worker::piece(std::uint32_t bytes) {
  rte_mbuf* made = rte_pktmbuf_alloc(env_.pools.small);
  if (made != nullptr && bytes > rte_pktmbuf_tailroom(made)) {
    rte_pktmbuf_free(made);
    made = rte_pktmbuf_alloc(env_.pools.large);
  }
  if (made == nullptr) return nullptr;
  made->data_len = static_cast<std::uint16_t>(bytes);
  made->pkt_len = bytes;
  return made;
}

void Worker::segment(rte_mbuf* packet, const packet::Parsed& parsed, port::Port& out) {
  const auto* frame = rte_pktmbuf_mtod(packet, const std::uint8_t*);
  const Ranges ranges(packet);
  forward::SegmentPlan plan;
  if (!forward::plan_segments(frame, packet->data_len, parsed, packet->tso_segsz, plan) ||
      plan.count > kSegmentsMax)
    return drop(packet, abi::Fate::kMalformedTransport);
  for (std::uint32_t k = 0; k < plan.count; ++k) {
    const forward::Cut cut = forward::segment_cut(plan, k);
    rte_mbuf* made = piece(plan.header_bytes + cut.bytes);
    if (made == nullptr) return drop(packet, abi::Fate::kNoMemory);
    auto* bytes = rte_pktmbuf_mtod(made, std::uint8_t*);
    const std::uint64_t sum =
        forward::copy_and_sum(ranges.all(), cut.offset, cut.bytes, bytes + plan.header_bytes);
    forward::write_segment_headers(plan, k, sum, bytes);
    emit(made, out);
  }
  ++accepted_;
  rte_pktmbuf_free(packet);
}

void Worker::fragment(rte_mbuf* packet, const packet::Parsed& parsed, port::Port& out) {
  const auto* frame = rte_pktmbuf_mtod(packet, const std::uint8_t*);
  const Ranges ranges(packet);
  forward::FragmentPlan plan;
  packet::Parsed sent = parsed;
  sent.hop_limit = static_cast<std::uint8_t>(parsed.hop_limit - 1);
  if (!forward::plan_fragments(frame, sent, out.mtu(), plan)) return drop(packet, abi::Fate::kTooBig);
  for (std::uint32_t k = 0; k < plan.count; ++k) {
    const forward::Cut cut = forward::fragment_cut(plan, k);
    const std::uint32_t header_bytes = plan.header_bytes(k);
    rte_mbuf* made = piece(header_bytes + cut.bytes);
    if (made == nullptr) return drop(packet, abi::Fate::kNoMemory);
    auto* bytes = rte_pktmbuf_mtod(made, std::uint8_t*);
    forward::copy_and_sum(ranges.all(), cut.offset, cut.bytes, bytes + header_bytes);
    forward::write_fragment_headers(plan, k, bytes);
    emit(made, out);
  }
  ++accepted_;
  rte_pktmbuf_free(packet);
}

/// Sends the ICMP error that a router owes, back by the port the packet came in. False: none was owed, or the rate held.
bool Worker::tell_sender(const rte_mbuf* packet, const packet::Parsed& parsed, forward::Problem problem,
                         std::uint32_t mtu) {
  const image::PolicyHeader& policy = *image_->view.policy;
  const abi::Address& gateway = (parsed.flags & packet::kIpv4) != 0 ? policy.gateway_v4 : policy.gateway_v6;
  if (gateway == abi::Address{} || !forward::owes_error(parsed, problem) ||
      !errors_[in_->number()].take(now_tsc_))
    return false;
  rte_mbuf* made = piece(forward::kErrorFrameBytesMax);
  if (made == nullptr) return false;
  const std::uint32_t bytes =
      forward::build_error(rte_pktmbuf_mtod(packet, const std::uint8_t*), packet->data_len, parsed, problem,
                           mtu, in_->own_mac(), gateway, rte_pktmbuf_mtod(made, std::uint8_t*));
  made->data_len = static_cast<std::uint16_t>(bytes);
  made->pkt_len = bytes;
  emit(made, *in_);
  return true;
}

}  // namespace bulkhead::worker
