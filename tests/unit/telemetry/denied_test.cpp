#include "dataplane/telemetry/denied.h"

#include <gtest/gtest.h>

#include <memory>

namespace bulkhead::telemetry {
namespace {

Denial denial(std::uint32_t destination, std::uint16_t port) {
  Denial d;
  d.source = abi::address_v4(0x0a000001);
  d.destination = abi::address_v4(destination);
  d.protocol = 6;
  d.policy_port = port;
  d.fate = abi::Fate::kDeniedDefault;
  return d;
}

std::uint64_t total(const abi::WorkerBlock& block) {
  std::uint64_t sum = 0;
  for (const auto& slot : block.denied) sum += slot.packets;
  return sum;
}

TEST(Denied, packets_that_differ_only_in_their_source_port_share_a_slot) {
  auto block = std::make_unique<abi::WorkerBlock>();
  for (std::uint16_t source_port = 1; source_port <= 500; ++source_port) {
    Denial d = denial(0x0a000002, 443);
    d.source_port = source_port;
    record(*block, d, 1000 + source_port);
  }
  int used = 0;
  for (const auto& slot : block->denied) {
    if (slot.packets == 0) continue;
    ++used;
    EXPECT_EQ(slot.packets, 500u);
    EXPECT_EQ(slot.source_port, 500u);
    EXPECT_EQ(slot.first_seen_ms, 1001u);
    EXPECT_EQ(slot.last_seen_ms, 1500u);
    EXPECT_EQ(slot.sequence % 2, 0u);
  }
  EXPECT_EQ(used, 1);
}

TEST(Denied, what_is_overwritten_while_fresh_is_counted_as_lost) {
  auto block = std::make_unique<abi::WorkerBlock>();
  constexpr std::uint32_t kFlows = 10 * abi::kDeniedSlots;
  for (std::uint32_t i = 0; i < kFlows; ++i) record(*block, denial(0x0a010000 + i, 80), 1000);
  EXPECT_EQ(total(*block) + block->denied_lost, kFlows);
  EXPECT_GT(block->denied_lost, 0u);
}

TEST(Denied, an_old_one_makes_room_without_a_loss) {
  auto block = std::make_unique<abi::WorkerBlock>();
  for (std::uint32_t i = 0; i < abi::kDeniedSlots / 4; ++i) record(*block, denial(0x0a010000 + i, 80), 1000);
  const std::uint64_t lost = block->denied_lost;
  for (std::uint32_t i = 0; i < abi::kDeniedSlots / 4; ++i)
    record(*block, denial(0x0a020000 + i, 80), 1000 + kFreshMs + 1 + i / abi::kDeniedSlots);
  EXPECT_GE(block->denied_lost, lost);
  EXPECT_LT(block->denied_lost - lost, abi::kDeniedSlots / 16);
}

TEST(Denied, audited_differences_have_slots_and_counters_of_their_own) {
  auto block = std::make_unique<abi::WorkerBlock>();
  Denial d = denial(0x0a000002, 443);
  d.fate = abi::Fate::kForwarded;
  d.would = abi::Fate::kDeniedPolicy;
  for (int i = 0; i < 3; ++i) record_audited(*block, d, 1000);
  d.fate = abi::Fate::kDeniedDefault;
  d.would = abi::Fate::kForwarded;
  record_audited(*block, d, 1000);
  EXPECT_EQ(block->audited_denied, 3u);
  EXPECT_EQ(block->audited_allowed, 1u);
  EXPECT_EQ(total(*block), 0u);
  std::uint64_t by_would[abi::kFateCount] = {};
  for (const auto& slot : block->audited) by_would[static_cast<std::size_t>(slot.would)] += slot.packets;
  EXPECT_EQ(by_would[static_cast<std::size_t>(abi::Fate::kDeniedPolicy)], 3u);
  EXPECT_EQ(by_would[static_cast<std::size_t>(abi::Fate::kForwarded)], 1u);
}

}  // namespace
}  // namespace bulkhead::telemetry
