#include "tests/unit/reconcile/fixture.h"

namespace bulkhead::reconcile {
namespace {

TEST_F(ReconcilerTest, ports_are_attached_before_the_image_that_opens_them) {
  start_dataplane();
  start();
  EXPECT_EQ(dataplane->log(), (Log{"attach 3", "attach 4", "swap 1"}));
  for (const auto& [number, info] : dataplane->ports()) {
    EXPECT_NE(info.port_key, 0u);
    EXPECT_EQ(dataplane->published()[0].key_of(number), info.port_key);
  }
  const Status status = reconciler->status();
  EXPECT_EQ(status.wanted.digest, status.enforced.digest);
  EXPECT_EQ(status.ports_attached, 2u);
  EXPECT_TRUE(status.ports_waiting.empty());
}

TEST_F(ReconcilerTest, an_old_port_is_detached_after_the_image_no_longer_names_it) {
  start_dataplane();
  start();
  write("endpoints.yaml", std::string("endpoints:\n") + kWeb);
  reload();
  EXPECT_EQ(dataplane->log(), (Log{"attach 3", "attach 4", "swap 1", "swap 2", "detach 3"}));
}

TEST_F(ReconcilerTest, nothing_is_published_before_every_source_has_synced) {
  std::filesystem::remove_all(base + "/policies");
  start_dataplane();
  start();
  EXPECT_TRUE(dataplane->published().empty());
  EXPECT_FALSE(reconciler->status().policies.synced);
  EXPECT_EQ(reconciler->status().wanted.generation, 0u);
  std::filesystem::create_directories(base + "/policies");
  reload();
  EXPECT_EQ(dataplane->published().size(), 1u);
}

TEST_F(ReconcilerTest, an_unsynced_source_takes_no_port_away) {
  start_dataplane();
  start();
  reconciler.reset();
  write("endpoints.yaml", "endpoints: [");
  start();
  EXPECT_EQ(dataplane->ports().size(), 2u);
  EXPECT_EQ(dataplane->published().size(), 1u);
}

TEST_F(ReconcilerTest, a_pass_without_news_does_nothing) {
  start_dataplane();
  start();
  const Log before = dataplane->log();
  for (int i = 0; i < 5; ++i) reload();
  EXPECT_EQ(dataplane->log(), before);
}

TEST_F(ReconcilerTest, a_bad_policy_keeps_the_last_good_generation_and_is_shown) {
  start_dataplane();
  start();
  write("policies/b.yaml", "kind: NetworkPolicy\nspec: {podSelektor: {}}\n");
  reload();
  EXPECT_EQ(enforced(), 1u);
  const Status status = reconciler->status();
  ASSERT_FALSE(status.policies.refused.empty());
  EXPECT_EQ(status.policies.refused[0].file, base + "/policies/b.yaml");
  EXPECT_EQ(status.policies.objects, 1u);
  std::filesystem::remove(base + "/policies/b.yaml");
  write("policies/a.yaml", std::string(kPolicy) + "---\n" + kPolicy + "# twice\n");
  reload();
  EXPECT_FALSE(reconciler->status().policies.refused.empty()) << "the same object twice";
  EXPECT_EQ(enforced(), 1u);
}

TEST_F(ReconcilerTest, what_policies_cannot_mean_is_in_the_status_and_logged_once) {
  const auto log = std::make_shared<spdlog::sinks::ostream_sink_st>(logged);
  const auto before = spdlog::default_logger();
  spdlog::set_default_logger(std::make_shared<spdlog::logger>("test", log));
  const std::string audit =
      "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: seen}\n"
      "spec: {rules: [{from: [{source: {principals: [alien/ns/a/sa/b]}}]}]}\n";
  write("policies/b.yaml", audit);
  start_dataplane();
  start();
  write("policies/c.yaml", std::string(kPolicy).replace(std::string(kPolicy).find("closed"), 6, "other"));
  reload();
  const auto root = nlohmann::json::parse(to_json(reconciler->status()));
  ASSERT_EQ(root["policies"]["warnings"].size(), 1u);
  EXPECT_EQ(root["policies"]["warnings"][0]["file"], base + "/policies/b.yaml");
  EXPECT_EQ(root["policies"]["warnings"][0]["line"], 4);
  std::size_t times = 0;
  for (auto at = logged.str().find("found the principal"); at != std::string::npos;
       at = logged.str().find("found the principal", at + 1))
    ++times;
  EXPECT_EQ(times, 1u) << logged.str();
  std::filesystem::remove(base + "/policies/b.yaml");
  reload();
  EXPECT_TRUE(reconciler->status().policies.warnings.empty());
  spdlog::set_default_logger(before);
}

TEST_F(ReconcilerTest, a_restarted_control_plane_touches_nothing) {
  start_dataplane();
  start();
  const Log before = dataplane->log();
  reconciler.reset();
  start();
  EXPECT_EQ(dataplane->log(), before);
  EXPECT_EQ(enforced(), 1u);
  EXPECT_EQ(reconciler->status().wanted.generation, 1u);
  EXPECT_EQ(reconciler->status().ports_attached, 2u);
}

TEST_F(ReconcilerTest, a_control_plane_that_lost_its_state_recognises_its_ports) {
  start_dataplane();
  start();
  const Log before = dataplane->log();
  reconciler.reset();
  std::filesystem::remove(base + "/ports.json");
  start();
  EXPECT_EQ(dataplane->log(), before);
  EXPECT_EQ(enforced(), 1u);
}

TEST_F(ReconcilerTest, a_data_plane_that_starts_from_nothing_gets_everything_again) {
  start_dataplane();
  start();
  const auto ports = dataplane->ports();
  dataplane.reset();
  reconciler->dataplane_readable();
  EXPECT_FALSE(reconciler->status().connected);
  start_dataplane();
  settle();
  EXPECT_EQ(dataplane->log(), (Log{"attach 3", "attach 4", "swap 2"}));
  EXPECT_EQ(dataplane->ports().at(3).port_key, ports.at(3).port_key) << "the same device, so the same key";
}

TEST_F(ReconcilerTest, a_data_plane_that_took_everything_up_again_is_left_alone) {
  start_dataplane();
  start();
  const auto ports = dataplane->ports();
  const auto digest = dataplane->published()[0].digest();
  dataplane.reset();
  reconciler->dataplane_readable();
  start_dataplane();
  dataplane->set_ports(ports);
  dataplane->set_enforced(1, digest);
  settle();
  EXPECT_EQ(dataplane->log(), Log{});
  EXPECT_EQ(enforced(), 1u);
}

TEST_F(ReconcilerTest, a_port_of_somebody_else_under_our_number_is_replaced) {
  start_dataplane();
  abi::PortInfo stranger{};
  stranger.port = 3;
  stranger.kind = abi::PortKind::kEthdev;
  stranger.role = abi::kRoleEndpoint;
  stranger.port_key = 4711;
  dataplane->set_ports({{3, stranger}});
  start();
  EXPECT_EQ(dataplane->ports().size(), 2u);
  for (const auto& [number, info] : dataplane->ports()) {
    EXPECT_EQ(dataplane->published().back().key_of(number), info.port_key);
  }
}

TEST_F(ReconcilerTest, a_lost_port_comes_back_under_a_new_key) {
  start_dataplane();
  start();
  const std::uint64_t old_key = dataplane->ports().at(3).port_key;
  dataplane->lose_port(3, "the device is gone");
  for (int i = 0; i < 100 && dataplane->published().size() < 2; ++i) {
    reconciler->dataplane_readable();
    reconciler->settle();
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  const auto ports = dataplane->ports();
  ASSERT_TRUE(ports.contains(3));
  EXPECT_NE(ports.at(3).port_key, old_key);
  EXPECT_EQ(dataplane->published().back().key_of(3), ports.at(3).port_key);
  EXPECT_TRUE(reconciler->status().ports_waiting.empty());
}

TEST_F(ReconcilerTest, a_refused_port_waits_with_its_reason_and_holds_nobody_up) {
  start_dataplane();
  dataplane->refuse_attaches("no such device");
  start();
  EXPECT_EQ(dataplane->published().size(), 1u);
  auto status = reconciler->status();
  ASSERT_EQ(status.ports_waiting.size(), 2u);
  EXPECT_EQ(status.ports_waiting[0].endpoint, "default/api");
  EXPECT_EQ(status.ports_waiting[0].reason, "the data plane refuses: no such device");
  dataplane->refuse_attaches("");
  std::this_thread::sleep_for(std::chrono::milliseconds(600));
  settle();
  EXPECT_EQ(reconciler->status().ports_attached, 2u);
  EXPECT_TRUE(reconciler->status().ports_waiting.empty());
}

TEST_F(ReconcilerTest, a_refused_image_is_shown_and_the_next_one_tried) {
  start_dataplane();
  dataplane->refuse_swaps("image refused: too large");
  start();
  EXPECT_EQ(enforced(), 0u);
  EXPECT_EQ(reconciler->status().publish.refused, "the data plane refuses it: image refused: too large");
  dataplane->refuse_swaps("");
  write("endpoints.yaml", std::string("endpoints:\n") + kWeb);
  reload();
  EXPECT_EQ(enforced(), 1u);
  EXPECT_EQ(reconciler->status().publish.refused, "");
}

TEST_F(ReconcilerTest, an_image_over_its_bound_is_refused_and_the_old_one_stays) {
  start_dataplane();
  config.image_bytes_max = 4096;
  start();
  EXPECT_EQ(enforced(), 0u);
  EXPECT_NE(reconciler->status().publish.refused, "");
}

constexpr char kWalls[] =
    "apiVersion: bulkhead.io/v1alpha1\n"
    "kind: Invariant\n"
    "metadata: {name: walls}\n"
    "spec:\n"
    "  never:\n"
    "  - {name: no-world, from: {world: {}}, to: {matchLabels: {app: api}}, ports: [any]}\n";

TEST_F(ReconcilerTest, a_candidate_that_breaks_an_invariant_is_refused_with_a_witness) {
  start_dataplane();
  write("policies/walls.yaml", kWalls);
  start();
  EXPECT_EQ(enforced(), 1u);
  EXPECT_EQ(reconciler->status().invariants.demands, 1u);
  EXPECT_TRUE(reconciler->status().invariants.broken.empty());
  write("policies/open.yaml", kOpen);
  reload();
  const Status status = reconciler->status();
  EXPECT_EQ(status.enforced.generation, 1u) << "the old generation stays";
  EXPECT_EQ(status.wanted.generation, 1u);
  EXPECT_EQ(
      status.publish.refused,
      "Invariant walls, never 'no-world' (" + base +
          "/policies/walls.yaml:6) is broken: 198.51.100.1 -> default/api (10.88.0.11) tcp/443 is allowed by "
          "SegmentationPolicy default/open, rule 'all' (" +
          base + "/policies/open.yaml:4)");
  ASSERT_EQ(status.invariants.broken.size(), 1u);
  EXPECT_EQ(status.invariants.broken[0].file, base + "/policies/walls.yaml");
  EXPECT_EQ(status.invariants.broken[0].line, 6u);
  std::filesystem::remove(base + "/policies/open.yaml");
  reload();
  EXPECT_EQ(reconciler->status().publish.refused, "");
  EXPECT_TRUE(reconciler->status().invariants.broken.empty());
  EXPECT_EQ(enforced(), 1u) << "nothing has changed";
}

TEST_F(ReconcilerTest, at_the_first_start_a_broken_invariant_leaves_nothing_enforced) {
  start_dataplane();
  write("policies/walls.yaml", std::string(kWalls) + "---\n" + kOpen);
  start();
  EXPECT_EQ(enforced(), 0u);
  EXPECT_EQ(reconciler->status().wanted.generation, 0u);
  EXPECT_TRUE(dataplane->published().empty());
  EXPECT_NE(reconciler->status().publish.refused, "");
  write("policies/walls.yaml", kWalls);
  reload();
  EXPECT_EQ(enforced(), 1u);
}

TEST_F(ReconcilerTest, why_the_newest_is_refused_stays_said_when_an_older_one_is_delivered) {
  write("policies/walls.yaml", kWalls);
  start();
  write("policies/open.yaml", kOpen);
  reload();
  EXPECT_NE(reconciler->status().publish.refused, "");
  start_dataplane();
  std::this_thread::sleep_for(std::chrono::milliseconds(150));
  settle();
  settle();
  EXPECT_EQ(enforced(), 1u) << "the last good one";
  EXPECT_NE(reconciler->status().publish.refused, "");
}

TEST_F(ReconcilerTest, a_new_endpoint_with_known_labels_shares_the_policy_section) {
  start_dataplane();
  start();
  write("endpoints.yaml", std::string("endpoints:\n") + kWeb + kApi +
                              "  - {name: web2, labels: {app: web}, addresses: [10.88.0.12]}\n");
  reload();
  const auto published = dataplane->published();
  ASSERT_EQ(published.size(), 2u);
  EXPECT_FALSE(published[1].sent[0]);
  EXPECT_EQ(reconciler->status().publish.shared_policy, 1u);
}

TEST_F(ReconcilerTest, a_rule_ends_when_its_time_comes_and_is_back_if_the_clock_is_set_back) {
  write("policies/b.yaml",
        "apiVersion: bulkhead.io/v1alpha1\nkind: SegmentationPolicy\nmetadata: {name: probe, namespace: "
        "default}\n"
        "spec:\n  edges:\n"
        "  - {name: for-a-while, from: {matchLabels: {app: api}}, to: {matchLabels: {app: web}}, ports: "
        "[tcp/80],\n"
        "     expires: 2026-11-24T10:00:00Z}\n");
  start_dataplane();
  start();
  EXPECT_FALSE(reconciler->expiry_due());
  EXPECT_TRUE(reconciler->status().policies.warnings.empty());
  now += std::chrono::minutes(59) + std::chrono::seconds(59);
  EXPECT_FALSE(reconciler->expiry_due());
  now += std::chrono::seconds(1);
  EXPECT_TRUE(reconciler->expiry_due());
  settle();
  EXPECT_FALSE(reconciler->expiry_due());
  EXPECT_EQ(enforced(), 2u);
  ASSERT_EQ(reconciler->status().policies.warnings.size(), 1u);
  EXPECT_EQ(reconciler->status().policies.warnings[0].line, 6u);
  now -= std::chrono::hours(1);
  EXPECT_TRUE(reconciler->expiry_due());
  settle();
  EXPECT_EQ(enforced(), 3u);
  EXPECT_EQ(dataplane->published()[2].digest(), dataplane->published()[0].digest());
  EXPECT_TRUE(reconciler->status().policies.warnings.empty());
  now += std::chrono::days(10'000);
  settle();
  EXPECT_EQ(dataplane->published()[3].digest(), dataplane->published()[1].digest());
}

TEST_F(ReconcilerTest, without_a_data_plane_the_reason_is_shown) {
  start();
  const Status status = reconciler->status();
  EXPECT_FALSE(status.connected);
  EXPECT_EQ(status.connection_error,
            base + "/dataplane.sock: No such file or directory (is bulkhead-dataplane running?)");
  EXPECT_EQ(status.wanted.generation, 1u);
  EXPECT_EQ(status.enforced.generation, 0u);
}

TEST_F(ReconcilerTest, the_status_is_one_line_of_the_documented_shape) {
  start_dataplane();
  start();
  const std::string line = to_json(reconciler->status());
  EXPECT_EQ(line.find('\n'), std::string::npos);
  const auto root = nlohmann::json::parse(line);
  EXPECT_EQ(root["node"]["name"], "node-1");
  EXPECT_EQ(root["node"]["posture"], "deny");
  EXPECT_EQ(root["wanted"], root["enforced"]);
  EXPECT_EQ(root["enforced"]["digest"].get<std::string>().size(), 64u);
  EXPECT_EQ(root["sources"][0]["endpoints"], 2);
  EXPECT_EQ(root["policies"]["files"], 1);
  EXPECT_EQ(root["ports"]["attached"], 2);
  EXPECT_EQ(root["publish"]["published"], 1);
  EXPECT_EQ(root["invariants"]["demands"], 0);
  EXPECT_TRUE(root["invariants"]["broken"].is_array());
}

}  // namespace
}  // namespace bulkhead::reconcile
