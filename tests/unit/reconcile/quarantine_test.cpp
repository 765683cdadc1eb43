// Who is in quarantine, from the command to what is enforced.
#include "tests/unit/reconcile/fixture.h"

namespace bulkhead::reconcile {
namespace {

TEST_F(ReconcilerTest, a_quarantine_is_enforced_when_it_is_answered_and_outlives_the_process) {
  start_dataplane();
  start();
  const auto outcome = reconciler->quarantine({"default", "web", "beacons", "alice"});
  EXPECT_TRUE(outcome.enforced) << outcome.reason << outcome.error;
  EXPECT_EQ(outcome.generation, 2u);
  EXPECT_EQ(outcome.note, "");
  EXPECT_EQ(outcome.unsaved, "");
  const auto quarantined = dataplane->published().back().digest();
  reconciler.reset();
  start();
  EXPECT_EQ(enforced(), 2u) << "the same image, so nothing was published";
  ASSERT_EQ(reconciler->status().quarantine.entries.size(), 1u);
  EXPECT_TRUE(reconciler->status().quarantine.entries[0].exists);
  const auto lifted = reconciler->lift("default", "web");
  EXPECT_TRUE(lifted.enforced);
  EXPECT_EQ(lifted.generation, 3u);
  EXPECT_NE(dataplane->published().back().digest(), quarantined);
  EXPECT_EQ(dataplane->published().back().digest(), dataplane->published().front().digest());
}

TEST_F(ReconcilerTest, a_quarantine_of_nobody_is_noted_and_holds_when_it_appears) {
  start_dataplane();
  start();
  const auto outcome = reconciler->quarantine({"default", "webb", "r", "a"});
  EXPECT_TRUE(outcome.enforced);
  EXPECT_EQ(outcome.note,
            "there is no endpoint default/webb now; the quarantine holds as soon as there is; did you mean "
            "\"default/web\"?");
  EXPECT_FALSE(reconciler->status().quarantine.entries[0].exists);
  write("endpoints.yaml", std::string("endpoints:\n") + kWeb + kApi +
                              "  - {name: webb, labels: {app: web}, addresses: [10.88.0.12]}\n");
  reload();
  EXPECT_TRUE(reconciler->status().quarantine.entries[0].exists);
  EXPECT_EQ(enforced(), 2u);
  EXPECT_EQ(reconciler->lift("default", "web").error,
            "default/web is not quarantined; did you mean \"default/webb\"?");
  EXPECT_NE(reconciler->quarantine({"default", "web", "", "a"}).error, "");
  EXPECT_EQ(reconciler->status().quarantine.entries.size(), 1u);
}

TEST_F(ReconcilerTest, what_is_not_enforced_yet_is_held_and_says_why) {
  start();
  const auto outcome = reconciler->quarantine({"default", "web", "r", "a"});
  EXPECT_FALSE(outcome.enforced);
  EXPECT_EQ(outcome.reason.substr(0, 15), "no data plane: ");
  start_dataplane();
  settle();
  EXPECT_EQ(dataplane->published().size(), 1u);
  dataplane->refuse_swaps("too large");
  const auto refused = reconciler->lift("default", "web");
  EXPECT_FALSE(refused.enforced);
  EXPECT_EQ(refused.reason, "the data plane refuses it: too large");
}

TEST_F(ReconcilerTest, nothing_is_published_while_the_list_of_quarantines_cannot_be_read) {
  std::filesystem::create_directory(base + "/quarantine.json");
  start_dataplane();
  start();
  EXPECT_TRUE(dataplane->published().empty());
  EXPECT_NE(reconciler->status().quarantine.error, "");
  EXPECT_NE(reconciler->quarantine({"default", "web", "r", "a"}).error, "");
  std::filesystem::remove(base + "/quarantine.json");
  settle();
  EXPECT_EQ(dataplane->published().size(), 1u);
  EXPECT_EQ(reconciler->status().quarantine.error, "");
}

TEST_F(ReconcilerTest, what_must_always_pass_keeps_nobody_from_a_quarantine) {
  start_dataplane();
  write("policies/open.yaml", kOpen);
  write("policies/must.yaml",
        "apiVersion: bulkhead.io/v1alpha1\nkind: Invariant\nmetadata: {name: must}\nspec:\n  always:\n"
        "  - {name: customers, from: {world: {}}, to: {matchLabels: {app: api}}, ports: [tcp/443]}\n");
  start();
  EXPECT_EQ(enforced(), 1u) << reconciler->status().publish.refused;
  const auto outcome = reconciler->quarantine({"default", "api", "r", "a"});
  EXPECT_TRUE(outcome.enforced) << outcome.reason;
  EXPECT_EQ(enforced(), 2u);
  EXPECT_TRUE(reconciler->status().invariants.broken.empty());
}

}  // namespace
}  // namespace bulkhead::reconcile
