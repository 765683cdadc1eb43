// Audited policies: packets meet the enforced fate, and where the other differs, that is on record.
#include "tests/unit/worker/village.h"

namespace bulkhead::worker {
namespace {

using abi::Fate;

class Audit : public Village {
 protected:
  void SetUp() override {
    for (std::uint32_t who : {kWeb, kApi, kDb}) attach(who);
  }
  std::vector<abi::DeniedFlow> records() {
    std::vector<abi::DeniedFlow> found;
    for (const abi::DeniedFlow& slot : block().audited)
      if (slot.packets != 0) found.push_back(slot);
    return found;
  }
};

TEST_F(Audit, what_would_be_denied_passes_and_is_recorded_once_a_conversation) {
  publish_audited(everybody(kSome), everybody(kNo));
  for (int i = 0; i < 3; ++i) send(kWeb, udp4(kWeb, kApi, 4000, 53));
  send(kApi, udp4(kApi, kWeb, 53, 4000));
  send(kWeb, udp4(kWeb, kApi, 4001, 53));
  EXPECT_EQ(left_by(kApi).size(), 4u);
  EXPECT_EQ(left_by(kWeb).size(), 1u);
  const auto found = records();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].packets, 2u);
  EXPECT_EQ(found[0].fate, Fate::kForwarded);
  EXPECT_EQ(found[0].would, Fate::kDeniedPolicy);
  EXPECT_EQ(found[0].rule, 2u);
  EXPECT_EQ(found[0].direction, image::kIngress);
  EXPECT_EQ(found[0].source, abi::address_v4(ip4(kWeb)));
  EXPECT_EQ(found[0].policy_port, 53);
  EXPECT_EQ(block().audited_denied, 2u);
  EXPECT_EQ(block().audited_allowed, 0u);
}

TEST_F(Audit, what_would_be_allowed_is_denied_and_recorded) {
  publish_audited(everybody(kNothing), everybody(kSome));
  send(kWeb, udp4(kWeb, kApi, 4000, 53));
  send(kWeb, udp4(kWeb, kApi, 4000, 54));
  EXPECT_TRUE(left_by(kApi).empty());
  EXPECT_EQ(fate(kWeb, Fate::kDeniedPosture), 2u);
  const auto found = records();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].would, Fate::kForwarded);
  EXPECT_EQ(found[0].policy_port, 53);
  EXPECT_EQ(block().audited_allowed, 1u);
}

TEST_F(Audit, where_both_agree_nothing_is_recorded) {
  publish_audited(everybody(kSome), everybody(kAll));
  send(kWeb, udp4(kWeb, kApi, 4000, 53));
  publish(everybody(kSome));
  send(kWeb, udp4(kWeb, kDb, 4000, 53));
  EXPECT_TRUE(records().empty());
}

TEST_F(Audit, a_conversation_judged_again_is_recorded_in_its_own_order) {
  publish(everybody(kSome));
  send(kWeb, udp4(kWeb, kApi, 4000, 53));
  publish_audited(everybody(kSome), everybody(kNothing));
  send(kApi, udp4(kApi, kWeb, 53, 4000));
  EXPECT_EQ(left_by(kWeb).size(), 1u);
  const auto found = records();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].source, abi::address_v4(ip4(kWeb)));
  EXPECT_EQ(found[0].source_port, 4000);
  EXPECT_EQ(found[0].would, Fate::kDeniedPosture);
}

}  // namespace
}  // namespace bulkhead::worker
