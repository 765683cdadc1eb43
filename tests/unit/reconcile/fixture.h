// A reconciler with a stand-in data plane, files of its own and a clock that tests set.
#pragma once

#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "controlplane/reconcile/reconciler.h"
#include "tests/unit/publish/fake_dataplane.h"

namespace bulkhead::reconcile {

using publish::FakeDataplane;
using Log = std::vector<std::string>;

inline constexpr char kWeb[] =
    "  - {name: web, labels: {app: web}, addresses: [10.88.0.10],\n"
    "     port: {kind: ethdev, device: net_null0, mac: \"02:00:00:00:00:10\"}}\n";
inline constexpr char kApi[] =
    "  - {name: api, labels: {app: api}, addresses: [10.88.0.11],\n"
    "     port: {kind: ethdev, device: net_null1, mac: \"02:00:00:00:00:11\"}}\n";
inline constexpr char kPolicy[] =
    "apiVersion: networking.k8s.io/v1\n"
    "kind: NetworkPolicy\n"
    "metadata: {name: closed, namespace: default}\n"
    "spec: {podSelector: {matchLabels: {app: web}}}\n";

inline constexpr char kOpen[] =
    "apiVersion: bulkhead.io/v1alpha1\n"
    "kind: SegmentationPolicy\n"
    "metadata: {name: open, namespace: default}\n"
    "spec: {edges: [{name: all, from: {any: {}}, to: {matchLabels: {app: api}}, ports: [tcp/443]}]}\n";

class ReconcilerTest : public ::testing::Test {
 protected:
  ReconcilerTest() {
    config.run_directory = config.state_directory = base;
    config.endpoints_path = base + "/endpoints.yaml";
    config.policies_directory = base + "/policies";
    config.node.name = "node-1";
    std::filesystem::remove_all(base);
    std::filesystem::create_directories(base + "/policies");
    write("endpoints.yaml", std::string("endpoints:\n") + kWeb + kApi);
    write("policies/a.yaml", kPolicy);
  }
  ~ReconcilerTest() override { std::filesystem::remove_all(base); }

  void write(const std::string& name, const std::string& text) { std::ofstream(base + "/" + name) << text; }
  void start_dataplane() { dataplane = std::make_unique<FakeDataplane>(base + "/dataplane.sock"); }
  void start() {
    reconciler = std::make_unique<Reconciler>(config, [this] { return now; });
    reconciler->reload();
    settle();
  }
  /// Passes until the connection's pause is over and nothing is left to do.
  void settle() {
    for (int i = 0; i < 200; ++i) {
      reconciler->settle();
      if (reconciler->status().connected || !dataplane) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  void reload() {
    reconciler->reload();
    settle();
  }
  std::uint64_t enforced() const { return reconciler->status().enforced.generation; }

  std::string base = ::testing::TempDir() + "bulkhead-reconcile-" + std::to_string(::getpid());
  config::Config config;
  policies::Time now = *policies::parse_time("2026-11-24T09:00:00Z");
  std::ostringstream logged;
  std::unique_ptr<FakeDataplane> dataplane;
  std::unique_ptr<Reconciler> reconciler;
};

}  // namespace bulkhead::reconcile
