// The virtio-net header, as a container may write it.
#include "dataplane/port/offload.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/unit/port/memory.h"

namespace bulkhead::port {
namespace {

/// A TCP packet of 300 bytes over IPv4 or IPv6, options none, in the first segment.
rte_mbuf* tcp_packet(bool v4, std::uint32_t bytes = 300) {
  rte_mbuf* packet = rte_pktmbuf_alloc(memory().small);
  auto* data = reinterpret_cast<std::uint8_t*>(rte_pktmbuf_append(packet, static_cast<std::uint16_t>(bytes)));
  std::memset(data, 0, bytes);
  data[14] = v4 ? 0x45 : 0x60;
  data[(v4 ? 34 : 54) + 12] = 5 << 4;
  return packet;
}

class Vnet : public PortTest {};

TEST_F(Vnet, what_was_read_is_written_again) {
  for (const bool v4 : {true, false}) {
    const std::uint16_t start = v4 ? 34 : 54;
    const std::uint8_t segmented = v4 ? kGsoTcp4 : kGsoTcp6;
    for (const VnetHeader& header :
         {VnetHeader{0, 0, 0, 0, 0, 0}, VnetHeader{kVnetNeedsChecksum, 0, 0, 0, start, 16},
          VnetHeader{kVnetNeedsChecksum, 0, 0, 0, start, 6},
          VnetHeader{kVnetNeedsChecksum, segmented, static_cast<std::uint16_t>(start + 20), 1448, start, 16},
          VnetHeader{kVnetNeedsChecksum, kGsoUdpL4, static_cast<std::uint16_t>(start + 8), 1000, start, 6}}) {
      rte_mbuf* packet = tcp_packet(v4);
      EXPECT_TRUE(read_vnet(header, packet));
      VnetHeader written;
      write_vnet(packet, written);
      EXPECT_EQ(std::memcmp(&written, &header, sizeof header), 0)
          << "gso " << unsigned{header.gso_type} << " offset " << header.csum_offset;
      rte_pktmbuf_free(packet);
    }
  }
}

TEST_F(Vnet, header_that_contradicts_the_packet_is_refused) {
  const VnetHeader good{kVnetNeedsChecksum, kGsoTcp4, 54, 1448, 34, 16};
  const auto read = [](VnetHeader header, std::uint32_t bytes = 300) {
    rte_mbuf* packet = tcp_packet(true, bytes);
    const bool taken = read_vnet(header, packet);
    rte_pktmbuf_free(packet);
    return taken;
  };
  ASSERT_TRUE(read(good));
  VnetHeader bad = good;
  bad.flags = 0;
  EXPECT_FALSE(read(bad)) << "segmentation without a partial checksum";
  for (const std::uint16_t start : {0, 13, 33, 257, 299, 65535}) {
    bad = good;
    bad.csum_start = start;
    EXPECT_FALSE(read(bad)) << "start " << start;
  }
  for (const std::uint16_t offset : {0, 2, 8, 17, 65519, 65535}) {
    bad = good;
    bad.csum_offset = offset;
    EXPECT_FALSE(read(bad)) << "offset " << offset;
  }
  bad = good;
  bad.gso_size = 0;
  EXPECT_FALSE(read(bad));
  for (const std::uint8_t type : {2, 3, 6, 0x7f}) {
    bad = good;
    bad.gso_type = type;
    EXPECT_FALSE(read(bad)) << "segmentation " << unsigned{type};
  }
  bad = good;
  bad.gso_type = kGsoUdpL4;
  EXPECT_FALSE(read(bad)) << "UDP segmentation of TCP";
  EXPECT_FALSE(read(good, 51)) << "the checksum field lies outside";
  EXPECT_FALSE(read(good, 53)) << "the TCP header lies outside";
}

TEST_F(Vnet, whatever_the_header_says_nothing_points_out_of_the_packet) {
  std::mt19937 random(7);
  const auto any = [&](std::initializer_list<std::uint32_t> likely) {
    const std::uint32_t pick = random() % (likely.size() + 1);
    return pick < likely.size() ? likely.begin()[pick] : random();
  };
  std::uint32_t taken = 0;
  for (int round = 0; round < 300'000; ++round) {
    const std::uint32_t bytes = 20 + random() % 300;
    rte_mbuf* packet = tcp_packet(random() % 2, bytes);
    rte_pktmbuf_mtod(packet, std::uint8_t*)[any({46, 66}) % bytes] = static_cast<std::uint8_t>(random());
    const VnetHeader header{static_cast<std::uint8_t>(any({1, 1, 0})),
                            static_cast<std::uint8_t>(any({0, 1, 4, 5, 0x81})),
                            static_cast<std::uint16_t>(any({54})),
                            static_cast<std::uint16_t>(any({1448, 1, 0})),
                            static_cast<std::uint16_t>(any({34, 54, bytes, bytes - 18, bytes - 20})),
                            static_cast<std::uint16_t>(any({16, 6}))};
    if (read_vnet(header, packet) && (packet->ol_flags & RTE_MBUF_F_TX_L4_MASK) != 0) {
      ++taken;
      ASSERT_EQ(packet->l2_len + packet->l3_len, header.csum_start);
      ASSERT_LE(header.csum_start + header.csum_offset + 2u, bytes);
      if ((header.gso_type & ~kGsoEcn) != kGsoNone) {
        ASSERT_LE(header.csum_start + packet->l4_len, bytes);
        ASSERT_NE(packet->tso_segsz, 0);
      }
      VnetHeader written;
      write_vnet(packet, written);
      ASSERT_EQ(written.csum_start, header.csum_start);
      ASSERT_EQ(written.csum_offset, header.csum_offset);
    }
    rte_pktmbuf_free(packet);
  }
  EXPECT_GT(taken, 1000u);
}

class LandingTest : public PortTest {};

TEST_F(LandingTest, packet_takes_the_segments_it_fills_and_no_more) {
  Landing landing(memory());
  ASSERT_TRUE(landing.ready());
  const std::uint32_t room = rte_pktmbuf_tailroom(landing.small());
  for (const std::uint32_t bytes : {0u, 1u, room, room + 1, 65'549u}) {
    ASSERT_TRUE(landing.ready());
    const rte_mbuf* large = landing.large();
    rte_mbuf* packet = landing.take(bytes);
    EXPECT_EQ(packet->pkt_len, bytes);
    EXPECT_EQ(packet->nb_segs, bytes > room ? 2 : 1);
    EXPECT_EQ(landing.large() == large, bytes <= room);
    EXPECT_EQ(rte_mbuf_check(packet, 1, nullptr), 0);
    EXPECT_EQ(landing.small(), nullptr);
    rte_pktmbuf_free(packet);
  }
}

TEST_F(LandingTest, without_packet_memory_it_is_not_ready_and_recovers) {
  std::vector<rte_mbuf*> all;
  while (rte_mbuf* packet = rte_pktmbuf_alloc(memory().large)) all.push_back(packet);
  Landing landing(memory());
  EXPECT_FALSE(landing.ready());
  rte_pktmbuf_free(all.back());
  EXPECT_TRUE(landing.ready());
  all.pop_back();
  for (rte_mbuf* packet : all) rte_pktmbuf_free(packet);
}

}  // namespace
}  // namespace bulkhead::port
