// Claim: a full compile of 1,000 policies and 1,000 identities takes less than 50 ms, and grows with the cluster, not with policies
// times identities.
//
//   bench/compile --benchmark_repetitions=9
//
// Arguments: policies, identities, namespaces, pods, pods of this node. Every policy selects one app of its
// namespace for both directions, with peers by label, by namespace and by address block, and ports by number, range and
// name. With tiers, there are a hundred ClusterNetworkPolicies of ten rules a direction about all namespaces or a third of
// them, two to a priority. Counters: bytes of all sections, rule sets, rows and columns of the ingress matrix.
#include "controlplane/compile/compile.h"

#include <benchmark/benchmark.h>

#include <cstdint>

#include "bench/cluster.h"

namespace bulkhead::compile {
namespace {

using bench::make_cluster;
using bench::PolicyMaker;
using bench::Shape;

void compile_repeatedly(benchmark::State& state, std::uint32_t cluster_policies) {
  const auto argument = [&](std::size_t index) { return static_cast<std::uint32_t>(state.range(index)); };
  const Shape shape{argument(0), argument(1), argument(2), argument(3), argument(4)};
  const policies::Cluster cluster = make_cluster(shape);
  PolicyMaker maker(shape);
  policies::PolicySet set = maker.run();
  for (std::uint32_t i = 0; i < cluster_policies; ++i) set.policies.push_back(maker.cluster_policy(i));
  Output output;
  for (auto _ : state) {
    auto compiled = compile({.cluster = cluster, .policies = set, .node = {.name = "node-0"}});
    if (const auto* refusal = std::get_if<Refusal>(&compiled)) {
      state.SkipWithError(refusal->reason.c_str());
      return;
    }
    output = std::get<Output>(std::move(compiled));
  }
  state.counters["image_bytes"] = static_cast<double>(output.image.bytes());
  state.counters["rule_sets"] = static_cast<double>(output.stats.rule_sets);
  state.counters["rows"] = static_cast<double>(output.stats.subject_classes[0]);
  state.counters["columns"] = static_cast<double>(output.stats.peer_classes[0]);
}

void full_compile(benchmark::State& state) {
  compile_repeatedly(state, 0);
}

void full_compile_with_tiers(benchmark::State& state) {
  compile_repeatedly(state, 100);
}

BENCHMARK(full_compile)
    ->Unit(benchmark::kMillisecond)
    ->ArgNames({"policies", "identities", "namespaces", "pods", "local"})
    ->Args({10, 10, 2, 10, 10})
    ->Args({100, 100, 10, 100, 100})
    ->Args({1'000, 1'000, 50, 1'000, 1'000})
    ->Args({30'000, 6'000, 1'000, 30'000, 30})
    ->Args({30'000, 6'000, 1'000, 30'000, 500});
BENCHMARK(full_compile_with_tiers)
    ->Unit(benchmark::kMillisecond)
    ->ArgNames({"policies", "identities", "namespaces", "pods", "local"})
    ->Args({1'000, 1'000, 50, 1'000, 100})
    ->Args({30'000, 6'000, 1'000, 30'000, 500});

}  // namespace
}  // namespace bulkhead::compile

BENCHMARK_MAIN();
