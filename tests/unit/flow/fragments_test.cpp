#include "dataplane/flow/fragments.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <vector>

namespace bulkhead::flow {
namespace {

using abi::Fate;

const std::uint64_t kSeed[4] = {1, 2, 3, 4};
const abi::Address kFrom = abi::address_v4(0x0a000001), kTo = abi::address_v4(0x0a000002);

struct Piece {
  std::uint32_t offset, bytes;
  bool more;
};

/// A datagram of `total` bytes in pieces of `step`.
std::vector<Piece> pieces_of(std::uint32_t total, std::uint32_t step) {
  std::vector<Piece> pieces;
  for (std::uint32_t at = 0; at < total; at += step)
    pieces.push_back({at, std::min(step, total - at), at + step < total});
  return pieces;
}

struct FragmentsTest : testing::Test {
  Fragments table{Hasher(kSeed), {64, 100, 30'000}};
  std::map<int, Fate> out;  // what came out of next_released(), by packet number

  static Fragment fragment(const Piece& piece, std::uint32_t id = 1) {
    return {&kFrom, &kTo, id, 17, piece.more, piece.offset, piece.bytes};
  }
  static void* packet(int number) { return reinterpret_cast<void*>(static_cast<std::intptr_t>(number)); }
  FragmentAnswer take(const Piece& piece, int number, std::uint64_t now_ms = 0, std::uint32_t id = 1) {
    return table.take(fragment(piece, id), packet(number), now_ms);
  }
  void drain() {
    ReleasedFragment released;
    while (table.next_released(released)) {
      const auto number = static_cast<int>(reinterpret_cast<std::intptr_t>(released.packet));
      EXPECT_TRUE(out.emplace(number, released.verdict.fate).second) << number << " came out twice";
    }
  }
  static FragmentVerdict verdict(Fate fate, std::uint16_t egress_port = 7) {
    FragmentVerdict v;
    v.fate = fate;
    v.egress_port = egress_port;
    return v;
  }
};

TEST_F(FragmentsTest, every_order_of_a_large_ping_passes_whole_and_leaves_nothing) {
  std::mt19937 random(1);
  std::vector<Piece> pieces = pieces_of(65'008, 1480);
  ASSERT_EQ(pieces.size(), 44u);
  for (std::uint32_t round = 0; round < 200; ++round) {
    if (round == 1) std::reverse(pieces.begin(), pieces.end());
    if (round > 1) std::shuffle(pieces.begin(), pieces.end(), random);
    std::map<int, Fate> passed;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      const int number = static_cast<int>(i) + 1;
      const FragmentAnswer answer = take(pieces[i], number, 0, round);
      if (answer.step == FragmentStep::kJudge) {
        EXPECT_EQ(pieces[i].offset, 0u);
        table.settle(answer, verdict(Fate::kForwarded));
        passed[number] = Fate::kForwarded;
      } else if (answer.step == FragmentStep::kKnown) {
        EXPECT_EQ(answer.verdict.egress_port, 7);
        passed[number] = Fate::kForwarded;
      } else {
        ASSERT_EQ(answer.step, FragmentStep::kHold);
      }
      drain();
    }
    passed.merge(out);
    out.clear();
    ASSERT_EQ(passed.size(), pieces.size());
    for (const auto& [number, fate] : passed) ASSERT_EQ(fate, Fate::kForwarded) << number;
    ASSERT_EQ(table.datagrams(), 0u);
    ASSERT_EQ(table.held(), 0u);
  }
}

TEST_F(FragmentsTest, a_denied_first_fragment_denies_all_others) {
  EXPECT_EQ(take({1480, 1480, true}, 1).step, FragmentStep::kHold);
  const FragmentAnswer first = take({0, 1480, true}, 2);
  ASSERT_EQ(first.step, FragmentStep::kJudge);
  table.settle(first, verdict(Fate::kDeniedPolicy));
  drain();
  EXPECT_EQ(out[1], Fate::kDeniedPolicy);
  const FragmentAnswer last = take({2960, 100, false}, 3);
  EXPECT_EQ(last.step, FragmentStep::kDrop);
  EXPECT_EQ(last.verdict.fate, Fate::kDeniedPolicy);
  EXPECT_EQ(table.datagrams(), 0u);
}

TEST_F(FragmentsTest, later_ones_wait_while_the_first_is_being_judged) {
  const FragmentAnswer first = take({0, 1480, true}, 1);
  EXPECT_EQ(take({1480, 20, false}, 2).step, FragmentStep::kHold);
  table.settle(first, verdict(Fate::kForwarded));
  drain();
  EXPECT_EQ(out[2], Fate::kForwarded);
  EXPECT_EQ(table.datagrams(), 0u);
}

TEST_F(FragmentsTest, datagrams_are_told_apart_by_every_part_of_their_key) {
  const abi::Address other = abi::address_v4(0x0a000003);
  const Fragment base = fragment({1480, 8, false});
  std::vector<Fragment> all(5, base);
  all[1].source = &other;
  all[2].destination = &other;
  all[3].id = 2;
  all[4].protocol = 6;
  for (const Fragment& one : all) EXPECT_EQ(table.take(one, nullptr, 0).step, FragmentStep::kHold);
  // The way back is another datagram, although it hashes alike.
  const Fragment back{&kTo, &kFrom, 1, 17, false, 1480, 8};
  EXPECT_EQ(table.take(back, nullptr, 0).step, FragmentStep::kHold);
  EXPECT_EQ(table.datagrams(), 6u);
  table.flush();
  ReleasedFragment released;
  int count = 0;
  while (table.next_released(released)) ++count;
  EXPECT_EQ(count, 6);
}

TEST(FragmentChains, datagrams_of_one_bucket_are_told_apart) {
  Fragments crowded(Hasher(kSeed), {5, 16, 30'000});  // 16 buckets
  const abi::Address other = abi::address_v4(0x0a000003);
  ReleasedFragment released;
  for (std::uint32_t id = 0; id < 300; id += 2) {
    const Fragment base{&kFrom, &kTo, id, 17, true, 8, 8};
    std::vector<Fragment> all(5, base);
    all[1].source = &other;
    all[2].destination = &other;
    all[3].id = id + 1;
    all[4].protocol = 6;
    for (const Fragment& one : all) EXPECT_EQ(crowded.take(one, nullptr, 0).step, FragmentStep::kHold) << id;
    EXPECT_EQ(crowded.datagrams(), 5u);
    crowded.flush();
    while (crowded.next_released(released)) continue;
  }
}

TEST_F(FragmentsTest, overlap_poisons_the_datagram) {
  const Piece overlaps[] = {
      {1472, 1480, true},   // begins inside
      {1488, 16, true},     // lies within
      {8, 65'000, true},    // covers
      {1480, 1480, false},  // the same range, but now it claims to be the last
      {1480, 1488, true},   // same begin, other end
  };
  std::uint32_t id = 100;
  for (const Piece& piece : overlaps) {
    ++id;
    out.clear();
    EXPECT_EQ(take({1480, 1480, true}, 1, 0, id).step, FragmentStep::kHold);
    const FragmentAnswer answer = take(piece, 2, 0, id);
    EXPECT_EQ(answer.step, FragmentStep::kDrop);
    EXPECT_EQ(answer.verdict.fate, Fate::kFragmentOverlap);
    drain();
    EXPECT_EQ(out[1], Fate::kFragmentOverlap);
    const FragmentAnswer first = take({0, 1472, true}, 3, 0, id);
    EXPECT_EQ(first.step, FragmentStep::kDrop) << "poisoned before its first fragment: never judged";
    EXPECT_EQ(first.verdict.fate, Fate::kFragmentOverlap);
  }
}

TEST_F(FragmentsTest, overlap_after_the_verdict_stops_the_rest) {
  const FragmentAnswer first = take({0, 1480, true}, 1);
  table.settle(first, verdict(Fate::kForwarded));
  EXPECT_EQ(take({8, 8, true}, 2).verdict.fate, Fate::kFragmentOverlap);
  EXPECT_EQ(take({1480, 8, false}, 3).verdict.fate, Fate::kFragmentOverlap);
}

TEST_F(FragmentsTest, poison_between_judging_and_settling_stays) {
  const FragmentAnswer first = take({0, 1480, true}, 1);
  take({8, 8, true}, 2);
  table.settle(first, verdict(Fate::kForwarded));
  EXPECT_EQ(take({1480, 8, false}, 3).verdict.fate, Fate::kFragmentOverlap);
}

TEST_F(FragmentsTest, an_exact_copy_is_dropped_alone) {
  EXPECT_EQ(take({1480, 1480, true}, 1).step, FragmentStep::kHold);
  EXPECT_EQ(take({1480, 1480, true}, 2).verdict.fate, Fate::kFragmentOverlap);
  EXPECT_EQ(take({2960, 40, false}, 3).step, FragmentStep::kHold);
  EXPECT_EQ(take({2960, 40, false}, 4).verdict.fate, Fate::kFragmentOverlap);
  const FragmentAnswer first = take({0, 1480, true}, 5);
  ASSERT_EQ(first.step, FragmentStep::kJudge);
  EXPECT_EQ(take({0, 1480, true}, 6).step, FragmentStep::kDrop);
  table.settle(first, verdict(Fate::kForwarded));
  drain();
  EXPECT_EQ(out, (std::map<int, Fate>{{1, Fate::kForwarded}, {3, Fate::kForwarded}}));
  EXPECT_EQ(table.datagrams(), 0u);
}

TEST_F(FragmentsTest, two_ends_or_pieces_beyond_the_end_poison) {
  const Piece second[] = {
      {1000, 8, false}, {3000, 8, false}, {2000, 8, true}, {2008, 8, true}, {1992, 8, true}};
  std::uint32_t id = 0;
  for (const Piece& piece : second) {
    EXPECT_EQ(take({1984, 16, false}, 1, 0, ++id).step, FragmentStep::kHold);
    EXPECT_EQ(take(piece, 2, 0, id).verdict.fate, Fate::kFragmentOverlap) << piece.offset;
    EXPECT_EQ(take({0, 8, true}, 3, 0, id).step, FragmentStep::kDrop) << piece.offset;
  }
}

TEST_F(FragmentsTest, an_end_before_what_was_seen_poisons) {
  EXPECT_EQ(take({3000, 8, true}, 1).step, FragmentStep::kHold);
  EXPECT_EQ(take({1000, 8, false}, 2).verdict.fate, Fate::kFragmentOverlap);
  drain();
  EXPECT_EQ(out[1], Fate::kFragmentOverlap);
}

TEST_F(FragmentsTest, a_datagram_longer_than_any_is_refused) {
  EXPECT_EQ(take({65'528, 8, false}, 1).verdict.fate, Fate::kFragmentOverlap);
  EXPECT_EQ(take({0xffff'fff8u, 16, false}, 1).verdict.fate, Fate::kFragmentOverlap);
  EXPECT_EQ(table.datagrams(), 0u);
  EXPECT_EQ(take({65'528, 7, false}, 1).step, FragmentStep::kHold);
  EXPECT_EQ(take({65'520, 16, true}, 1).verdict.fate, Fate::kFragmentOverlap);
  EXPECT_EQ(take({0, 8, true}, 1).step, FragmentStep::kDrop);
}

TEST_F(FragmentsTest, an_empty_fragment_is_tiny_and_a_whole_one_stands_alone) {
  EXPECT_EQ(take({8, 0, true}, 1).verdict.fate, Fate::kFragmentTiny);
  const FragmentAnswer atomic = take({0, 100, false}, 2);
  EXPECT_EQ(atomic.step, FragmentStep::kJudge);
  table.settle(atomic, verdict(Fate::kForwarded));
  EXPECT_EQ(table.datagrams(), 0u);
}

TEST_F(FragmentsTest, a_first_fragment_that_never_comes_times_out_what_waits) {
  take({8, 8, true}, 1, 1000, 1);
  take({8, 8, true}, 2, 2000, 2);
  take({16, 8, true}, 3, 30'000, 1);  // more of it does not prolong it
  table.expire(30'999);
  drain();
  EXPECT_TRUE(out.empty());
  table.expire(31'000);
  drain();
  EXPECT_EQ(out, (std::map<int, Fate>{{1, Fate::kFragmentTimeout}, {3, Fate::kFragmentTimeout}}));
  EXPECT_EQ(table.datagrams(), 1u);
  // A first fragment that was answered, but settled too late, hits nothing else.
  const FragmentAnswer late = take({0, 8, true}, 4, 31'000, 2);
  table.expire(32'000);
  drain();
  EXPECT_EQ(take({8, 8, false}, 5, 32'000, 3).step, FragmentStep::kHold);
  table.settle(late, verdict(Fate::kForwarded));
  drain();
  EXPECT_EQ(out.count(5), 0u);
}

TEST_F(FragmentsTest, full_tables_refuse_and_lose_nothing) {
  for (int i = 0; i < 64; ++i) EXPECT_EQ(take({8, 8, true}, i + 1, 0, i).step, FragmentStep::kHold);
  EXPECT_EQ(take({8, 8, true}, 65, 0, 64).verdict.fate, Fate::kFragmentTableFull);
  EXPECT_EQ(table.datagrams(), 64u);
  for (int i = 0; i < 36; ++i) EXPECT_EQ(take({16, 8, true}, 100 + i, 0, i).step, FragmentStep::kHold);
  EXPECT_EQ(table.held(), 100u);
  EXPECT_EQ(take({16, 8, true}, 200, 0, 40).verdict.fate, Fate::kFragmentTableFull);
  table.expire(30'000, 64);
  drain();
  EXPECT_EQ(out.size(), 100u);
  EXPECT_EQ(table.held(), 0u);
  EXPECT_EQ(take({16, 8, true}, 201, 30'000, 40).step, FragmentStep::kHold);
}

TEST_F(FragmentsTest, no_packet_room_leaves_no_empty_datagram_behind) {
  for (int i = 0; i < 100; ++i)
    EXPECT_EQ(take({8u + 8u * static_cast<unsigned>(i), 8, true}, i + 1).step, FragmentStep::kHold);
  EXPECT_EQ(take({8, 8, true}, 200, 0, 2).verdict.fate, Fate::kFragmentTableFull);
  EXPECT_EQ(table.datagrams(), 1u);
}

TEST_F(FragmentsTest, more_pieces_than_any_stack_sends_poison) {
  const FragmentAnswer first = take({0, 8, true}, 1);
  table.settle(first, verdict(Fate::kForwarded));
  for (std::uint32_t i = 1; i < kFragmentsPerDatagram; ++i)
    EXPECT_EQ(take({16 * i, 8, true}, 2).step, FragmentStep::kKnown);
  EXPECT_EQ(take({60'000, 8, true}, 2).verdict.fate, Fate::kFragmentOverlap);
  EXPECT_EQ(take({8, 8, true}, 2).verdict.fate, Fate::kFragmentOverlap);
}

}  // namespace
}  // namespace bulkhead::flow
