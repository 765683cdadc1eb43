// Packet memory of the process, and the check that a test gives all of it back.
#pragma once

#include <gtest/gtest.h>
#include <rte_mempool.h>

#include "dataplane/port/port.h"

namespace bulkhead::port {

inline const Pools& memory() {
  static const Pools made{
      rte_pktmbuf_pool_create("small", 2047, 0, 0, RTE_PKTMBUF_HEADROOM + 2048, SOCKET_ID_ANY),
      rte_pktmbuf_pool_create("large", 31, 0, 0, 65535, SOCKET_ID_ANY)};
  return made;
}

class PortTest : public testing::Test {
 protected:
  void TearDown() override {
    EXPECT_EQ(rte_mempool_avail_count(memory().small), 2047u) << "packets leaked";
    EXPECT_EQ(rte_mempool_avail_count(memory().large), 31u) << "large segments leaked";
  }
};

}  // namespace bulkhead::port
