// Sizes: fragments on their way in, packets too large for the way out, and what a sender's kernel left unfinished.
#include "tests/unit/worker/village.h"

namespace bulkhead::worker {
namespace {

using abi::Fate;
using frames::filler;
using frames::get16;
using frames::part;

class Cut : public Village {
 protected:
  void SetUp() override {
    for (std::uint32_t who : {kWeb, kApi, kDb}) attach(who);
    publish(everybody(kSome));
  }

  /// A datagram of `who` in pieces of `bytes`, in order.
  static std::vector<Bytes> pieces(std::uint32_t who, std::uint32_t to, const Bytes& transport,
                                   std::size_t bytes) {
    std::vector<Bytes> all;
    for (std::size_t at = 0; at < transport.size(); at += bytes) {
      const std::size_t n = std::min(bytes, transport.size() - at);
      const bool more = at + n < transport.size();
      frames::Ipv4 fields;
      fields.source = ip4(who);
      fields.destination = ip4(to);
      fields.fragment = static_cast<std::uint16_t>(at / 8 | (more ? 0x2000 : 0));
      all.push_back(frames::ethernet(0x0800, frames::ipv4(fields, part(transport, at, n)), from(who)));
    }
    return all;
  }
  /// What the fragments say together; empty if they do not fit.
  static Bytes joined(const std::vector<Bytes>& fragments) {
    Bytes whole(65536);
    std::size_t end = 0, sum = 0;
    for (const Bytes& frame : fragments) {
      EXPECT_EQ(frames::internet_checksum(part(frame, 14, (frame[14] & 15u) * 4)), 0u);
      const std::size_t header = 14 + (frame[14] & 15u) * 4, at = (get16(frame, 20) & 0x1fffu) * 8;
      std::copy(frame.begin() + static_cast<std::ptrdiff_t>(header), frame.end(),
                whole.begin() + static_cast<std::ptrdiff_t>(at));
      end = std::max(end, at + frame.size() - header);
      sum += frame.size() - header;
      EXPECT_EQ((get16(frame, 20) & 0x2000) == 0, &frame == &fragments.back());
    }
    EXPECT_EQ(sum, end);
    whole.resize(end);
    return whole;
  }
  /// TCP or UDP that the sender's kernel left to its device: the pseudo header's sum is in the field.
  static rte_mbuf* unfinished(const Bytes& frame, std::uint16_t segment_bytes, bool tcp = true) {
    rte_mbuf* made = packet(frame);
    const bool four = frame[14] >> 4 == 4;
    made->l2_len = 14;
    made->l3_len = four ? 20 : 40;
    made->l4_len = tcp ? 20 : 8;
    made->ol_flags |= (tcp ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM) |
                      (four ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6);
    if (segment_bytes != 0) {
      made->tso_segsz = segment_bytes;
      made->ol_flags |= tcp ? RTE_MBUF_F_TX_TCP_SEG : RTE_MBUF_F_TX_UDP_SEG;
    }
    auto* bytes = rte_pktmbuf_mtod(made, std::uint8_t*);
    const Bytes addresses = four ? part(frame, 26, 8) : part(frame, 22, 32);
    const std::size_t start = four ? 34 : 54;
    const std::uint32_t pseudo = ~frames::internet_checksum(
        frames::join({addresses,
                      frames::be32(static_cast<std::uint32_t>(frame.size() - start)),
                      {0, 0, 0, tcp ? std::uint8_t{6} : std::uint8_t{17}}}));
    bytes[start + (tcp ? 16 : 6)] = static_cast<std::uint8_t>(pseudo >> 8);
    bytes[start + (tcp ? 17 : 7)] = static_cast<std::uint8_t>(pseudo);
    return made;
  }
};

TEST_F(Cut, fragments_pass_with_their_first_in_whatever_order_they_come) {
  const Bytes datagram = frames::udp(4000, 53, filler(4000));
  auto fragments = pieces(kWeb, kApi, datagram, 1400);
  ASSERT_EQ(fragments.size(), 3u);
  for (const auto& order : {std::array{0, 1, 2}, std::array{2, 1, 0}, std::array{1, 0, 2}}) {
    std::vector<Bytes> left;
    for (const int index : order) {
      send(kWeb, fragments[static_cast<std::size_t>(index)]);
      for (Bytes& frame : left_by(kApi)) left.push_back(frame);
    }
    ASSERT_EQ(left.size(), 3u);
    std::sort(left.begin(), left.end(), [](const Bytes& a, const Bytes& b) {
      return (get16(a, 20) & 0x1fff) < (get16(b, 20) & 0x1fff);
    });
    EXPECT_EQ(joined(left), datagram);
  }
  EXPECT_EQ(fate(kWeb, Fate::kForwarded), 9u);
  EXPECT_EQ(fate(kWeb, Fate::kHeldFragment), 3u);
  EXPECT_EQ(flows_.live(), 1u);
}

TEST_F(Cut, fragments_share_the_denial_of_their_first) {
  auto fragments = pieces(kWeb, kApi, frames::udp(4000, 54, filler(4000)), 1400);
  send(kWeb, fragments[1]);
  send(kWeb, fragments[0]);
  send(kWeb, fragments[2]);
  EXPECT_EQ(fate(kWeb, Fate::kDeniedPosture), 3u);
  EXPECT_TRUE(left_by(kApi).empty());
}

TEST_F(Cut, stranger_s_fragment_is_not_sent_on_as_the_victim_s) {
  // Kept until its first one comes, it would leave with the rights of whoever sends that.
  attach(kOutside, 1500, 0, [](abi::Attach&) {});
  auto fragments = pieces(kWeb, kApi, frames::udp(4000, 53, filler(2000)), 1400);
  Bytes forged = fragments[1];
  forged[11] = mac(kOutside).bytes[5];
  send(kOutside, forged);
  send(kWeb, fragments[0]);
  EXPECT_EQ(left_by(kApi).size(), 1u);
  send(kWeb, fragments[1]);
  EXPECT_EQ(left_by(kApi).size(), 1u) << "nor does it spoil the victim's datagram";
  EXPECT_EQ(fate(kOutside, Fate::kSpoofedAddress), 1u);
}

TEST_F(Cut, fragment_that_waits_does_not_go_on_as_its_port_s_next_owner_s) {
  auto fragments = pieces(kWeb, kApi, frames::udp(4000, 53, filler(2000)), 1400);
  send(kWeb, fragments[1]);
  detach(kWeb);
  attach(kWeb, 1500, 999);
  // The same address, now another endpoint's: as if the next image said so.
  publisher_.enforced()->endpoint_of_port[kWeb] = kWeb;
  publisher_.synchronize();
  send(kWeb, fragments[0]);
  EXPECT_EQ(left_by(kApi).size(), 1u);
  EXPECT_EQ(fate(kWeb, Fate::kSpoofedAddress), 1u);
}

TEST_F(Cut, overlapping_fragments_are_dropped_and_with_them_the_datagram) {
  auto fragments = pieces(kWeb, kApi, frames::udp(4000, 53, filler(4000)), 1400);
  Bytes over = fragments[1];
  frames::put16(over, 20, (get16(over, 20) & 0xe000) | ((get16(over, 20) & 0x1fff) - 1));
  frames::put16(over, 24, 0);
  frames::put16(over, 24, frames::internet_checksum(part(over, 14, 20)));
  send(kWeb, fragments[0]);
  send(kWeb, over);
  send(kWeb, fragments[2]);
  EXPECT_EQ(fate(kWeb, Fate::kFragmentOverlap), 2u);
  EXPECT_EQ(left_by(kApi).size(), 1u);
}

TEST_F(Cut, waiting_jumbo_fragments_leave_large_segments_for_others) {
  for (int i = 0; i < 200; ++i) {
    frames::Ipv4 fields{.source = ip4(kWeb),
                        .destination = ip4(kApi),
                        .fragment = 185 | 0x2000,
                        .id = static_cast<std::uint16_t>(i)};
    send(kWeb, frames::ethernet(0x0800, frames::ipv4(fields, filler(8000)), from(kWeb)));
  }
  still_held_[kWeb] = 200 - fate(kWeb, Fate::kFragmentTableFull);
  EXPECT_GT(fate(kWeb, Fate::kFragmentTableFull), 100u);
  EXPECT_GT(rte_mempool_avail_count(pools().large), 50u);
  send(kDb, udp4(kDb, kApi, 1, 53));
  EXPECT_EQ(left_by(kApi).size(), 1u);
}

TEST_F(Cut, packet_that_must_not_be_cut_is_answered_with_the_way_s_mtu) {
  attach(kHost, 1280);
  publish(everybody(kAll));
  send(kWeb, v4(kWeb, kHost, 17, frames::udp(4000, 53, filler(1400)), 64, 0x4000));
  auto left = left_by(kWeb);
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left[0][34], 3);
  EXPECT_EQ(left[0][35], 4);
  EXPECT_EQ(get16(left[0], 40), 1280u);
  EXPECT_EQ(frames::transport_checksum(ip_part(left[0])), 0u);
  EXPECT_EQ(fate(kWeb, Fate::kIcmpTooBig), 1u);
  detach(kDb);
  attach(kDb, 1280);
  send(kWeb, v6(kWeb, kDb, 17, frames::udp(4000, 53, filler(1400))));
  left = left_by(kWeb);
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left[0][54], 2);
  EXPECT_EQ(frames::get32(left[0], 58), 1280u);
  EXPECT_EQ(frames::transport_checksum(ip_part(left[0])), 0u);
  EXPECT_TRUE(left_by(kHost).empty() && left_by(kDb).empty());
}

TEST_F(Cut, packet_that_may_be_cut_leaves_in_fragments_that_say_the_same) {
  detach(kApi);
  attach(kApi, 576);
  const Bytes datagram = frames::udp(4000, 53, filler(5000));
  const Bytes frame = v4(kWeb, kApi, 17, datagram);
  send(kWeb, frame);
  const auto left = left_by(kApi);
  ASSERT_GT(left.size(), 8u);
  for (const Bytes& piece : left) EXPECT_LE(piece.size(), 576u + 14);
  EXPECT_EQ(left[0][22], 63);
  EXPECT_EQ(joined(left), part(frame, 34, frame.size() - 34));
  EXPECT_EQ(fate(kWeb, Fate::kForwarded), 1u);
}

TEST_F(Cut, super_packet_leaves_a_plain_port_in_segments_with_right_checksums) {
  const Bytes payload = filler(40'000);
  send(kWeb, tcp4(kWeb, kApi, 4000, 80, kSyn));
  send(kApi, tcp4(kApi, kWeb, 80, 4000, kSyn | kAck));
  left_by(kApi);
  send_packets(kWeb, {unfinished(tcp4(kWeb, kApi, 4000, 80, kAck, payload), 1448)});
  Bytes together;
  for (const Bytes& segment : left_by(kApi)) {
    EXPECT_LE(segment.size(), 1448u + 54);
    EXPECT_EQ(frames::internet_checksum(part(segment, 14, 20)), 0u);
    EXPECT_EQ(frames::transport_checksum(ip_part(segment)), 0u);
    EXPECT_EQ(frames::get32(segment, 38), 1000 + together.size());
    const Bytes data = part(segment, 54, segment.size() - 54);
    together.insert(together.end(), data.begin(), data.end());
  }
  EXPECT_EQ(together, payload);
  EXPECT_EQ(fate(kWeb, Fate::kForwarded), 2u) << "one packet, however many segments";
}

TEST_F(Cut, udp_super_packet_and_ipv6_are_segmented_likewise) {
  send_packets(
      kWeb, {unfinished(v4(kWeb, kApi, 17, frames::udp(4000, 53, filler(3000)), 64, 0x4000), 1000, false)});
  auto left = left_by(kApi);
  ASSERT_EQ(left.size(), 3u);
  for (const Bytes& datagram : left) EXPECT_EQ(frames::transport_checksum(ip_part(datagram)), 0u);
  send(kWeb, v6(kWeb, kApi, 6, frames::tcp(4000, 80, kSyn, {})));
  send(kApi, v6(kApi, kWeb, 6, frames::tcp(80, 4000, kSyn | kAck, {})));
  left_by(kApi);
  send_packets(kWeb, {unfinished(v6(kWeb, kApi, 6, frames::tcp(4000, 80, kAck, filler(5000))), 1220)});
  left = left_by(kApi);
  ASSERT_EQ(left.size(), 5u);
  for (const Bytes& segment : left) EXPECT_EQ(frames::transport_checksum(ip_part(segment)), 0u);
}

TEST_F(Cut, partial_checksum_is_completed) {
  send_packets(kWeb, {unfinished(tcp4(kWeb, kApi, 4000, 80, kSyn), 0),
                      unfinished(udp4(kWeb, kApi, 1, 53, filler(201)), 0, false)});
  const auto left = left_by(kApi);
  ASSERT_EQ(left.size(), 2u);
  for (const Bytes& frame : left) EXPECT_EQ(frames::transport_checksum(ip_part(frame)), 0u);
}

TEST_F(Cut, checksum_claim_about_anything_but_the_transport_header_is_refused) {
  rte_mbuf* elsewhere = unfinished(udp4(kWeb, kApi, 1, 53), 0, false);
  elsewhere->l3_len = 12;  // would rewrite the addresses that were judged
  rte_mbuf* other_protocol = unfinished(udp4(kWeb, kApi, 1, 53, filler(40)), 0, true);
  rte_mbuf* in_fragment = unfinished(pieces(kWeb, kApi, frames::udp(1, 53, filler(2000)), 1400)[0], 0, false);
  send_packets(kWeb, {elsewhere, other_protocol, in_fragment});
  EXPECT_EQ(fate(kWeb, Fate::kMalformedTransport), 3u);
  EXPECT_TRUE(left_by(kApi).empty());
}

TEST_F(Cut, sender_does_not_choose_segments_so_small_that_they_cost_us_thousands) {
  send(kWeb, tcp4(kWeb, kApi, 4000, 80, kSyn));
  send(kApi, tcp4(kApi, kWeb, 80, 4000, kSyn | kAck));
  left_by(kApi);
  send_packets(kWeb, {unfinished(tcp4(kWeb, kApi, 4000, 80, kAck, filler(60'000)), 1)});
  EXPECT_EQ(fate(kWeb, Fate::kMalformedTransport), 1u);
  EXPECT_TRUE(left_by(kApi).empty());
}

TEST_F(Cut, super_packet_whose_segments_do_not_fit_the_way_out_is_answered) {
  detach(kApi);
  attach(kApi, 1280);
  send(kWeb, tcp4(kWeb, kApi, 4000, 80, kSyn));
  send(kApi, tcp4(kApi, kWeb, 80, 4000, kSyn | kAck));
  left_by(kApi), left_by(kWeb);
  send_packets(kWeb, {unfinished(tcp4(kWeb, kApi, 4000, 80, kAck, filler(20'000)), 1448)});
  EXPECT_TRUE(left_by(kApi).empty());
  const auto left = left_by(kWeb);
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(get16(left[0], 40), 1280u);
  EXPECT_EQ(fate(kWeb, Fate::kIcmpTooBig), 1u);
}

TEST_F(Cut, full_port_refuses_packets_and_says_so) {
  for (int round = 0; round < 70; ++round) {
    std::vector<rte_mbuf*> burst;
    for (int i = 0; i < 32; ++i) burst.push_back(packet(udp4(kWeb, kApi, 4000, 53)));
    send_packets(kWeb, burst);
  }
  EXPECT_EQ(left_by(kApi).size(), 2047u);
  EXPECT_EQ(fate(kWeb, Fate::kForwarded), 2047u);
  EXPECT_EQ(fate(kWeb, Fate::kTransmitFull), 70u * 32 - 2047);
}

}  // namespace
}  // namespace bulkhead::worker
