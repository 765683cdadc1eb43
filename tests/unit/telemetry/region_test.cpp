#include "dataplane/telemetry/region.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

namespace bulkhead::telemetry {
namespace {

TEST(Region, a_reader_sees_what_the_worker_counts) {
  auto made = Region::create(2);
  auto& region = std::get<Region>(made);
  add(region.block(1).ports[7].rx_packets, 32);

  void* memory = mmap(nullptr, region.bytes(), PROT_READ, MAP_SHARED, region.fd(), 0);
  ASSERT_NE(memory, MAP_FAILED);
  const auto* header = static_cast<const abi::TelemetryHeader*>(memory);
  EXPECT_EQ(header->magic, abi::kTelemetryMagic);
  EXPECT_EQ(header->workers, 2u);
  const auto* blocks =
      reinterpret_cast<const abi::WorkerBlock*>(static_cast<const char*>(memory) + header->blocks_offset);
  EXPECT_EQ(blocks[1].ports[7].rx_packets, 32u);
  EXPECT_EQ(blocks[0].ports[7].rx_packets, 0u);
  munmap(memory, region.bytes());
}

TEST(Region, nobody_else_can_map_it_writable) {
  auto made = Region::create(1);
  auto& region = std::get<Region>(made);
  EXPECT_EQ(mmap(nullptr, region.bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, region.fd(), 0), MAP_FAILED);
}

}  // namespace
}  // namespace bulkhead::telemetry
