// Claim: a full compile of 1,000 policies and 1,000 identities takes less than 50 ms, one of 30,000 policies, 6,000 identities and
// 30,000 pods less than 1.5 s and 400 MB, and time grows with the policies and with the identities, not with one times the other.
//
//   bench/compile --benchmark_repetitions=9
//   bench/linear                                the two series as a picture
//
// Arguments: policies, identities, namespaces, pods, pods of this node. Every policy selects one app of its
// namespace for both directions, with peers by label, by namespace and by address block, and ports by number, range and
// name. `full_compile`: what the node's pods are repeats, as where one deployment's many pods are on each node; `of_many_kinds`:
// no two of them have one label set. `with_tiers`: beside them a hundred ClusterNetworkPolicies of ten rules a direction
// about all namespaces or a third of them, two to a priority. `series_*`: one number grows, of many kinds.
//
// Counters: bytes of all sections; what the compile took of memory at its peak beside its input (the kernel's high-water
// mark of one compile more, with freed memory given back before); rule sets, rows and columns of the ingress matrix.
#include "controlplane/compile/compile.h"

#include <benchmark/benchmark.h>
#include <malloc.h>

#include <cstdint>
#include <fstream>
#include <string>

#include "bench/cluster.h"
#include "controlplane/compile/memory.h"

namespace bulkhead::compile {
namespace {

using bench::make_cluster;
using bench::PolicyMaker;
using bench::Shape;

std::uint64_t status_bytes(const std::string& field) {
  std::ifstream status("/proc/self/status");
  std::string word;
  std::uint64_t kilobytes = 0;
  while (status >> word)
    if (word == field && status >> kilobytes) break;
  return kilobytes * 1024;
}

/// What `work` took at most beyond what was there.
template <typename Work>
std::uint64_t peak_bytes_of(Work work) {
  malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << "5";  // proc(5): the high-water mark starts anew
  const std::uint64_t before = status_bytes("VmRSS:");
  work();
  return status_bytes("VmHWM:") - before;
}

void compile_repeatedly(benchmark::State& state, std::uint32_t cluster_policies, bool of_many_kinds) {
  const auto argument = [&](std::size_t index) { return static_cast<std::uint32_t>(state.range(index)); };
  const Shape shape{argument(0), argument(1), argument(2), argument(3), argument(4), of_many_kinds};
  const policies::Cluster cluster = make_cluster(shape);
  PolicyMaker maker(shape);
  policies::PolicySet set = maker.run();
  for (std::uint32_t i = 0; i < cluster_policies; ++i) set.policies.push_back(maker.cluster_policy(i));
  const auto compile_once = [&] {
    return compile({.cluster = cluster, .policies = set, .node = {.name = "node-0"}});
  };
  for (auto _ : state) benchmark::DoNotOptimize(compile_once());
  std::variant<Output, Refusal> compiled;
  const std::uint64_t peak = peak_bytes_of([&] { compiled = compile_once(); });
  if (const auto* refusal = std::get_if<Refusal>(&compiled)) {
    state.SkipWithError(refusal->reason.c_str());
    return;
  }
  const auto& output = std::get<Output>(compiled);
  state.counters["image_bytes"] = static_cast<double>(output.image.bytes());
  state.counters["peak_bytes"] = static_cast<double>(peak);
  state.counters["rule_sets"] = static_cast<double>(output.stats.rule_sets);
  state.counters["rows"] = static_cast<double>(output.stats.subject_classes[0]);
  state.counters["columns"] = static_cast<double>(output.stats.peer_classes[0]);
}

void full_compile(benchmark::State& state) {
  compile_repeatedly(state, 0, false);
}
void full_compile_of_many_kinds(benchmark::State& state) {
  compile_repeatedly(state, 0, true);
}
void full_compile_with_tiers(benchmark::State& state) {
  compile_repeatedly(state, 100, false);
}
void series_policies(benchmark::State& state) {
  compile_repeatedly(state, 0, true);
}
void series_identities(benchmark::State& state) {
  compile_repeatedly(state, 0, true);
}

void described(benchmark::internal::Benchmark* bench) {
  bench->Unit(benchmark::kMillisecond)->ArgNames({"policies", "identities", "namespaces", "pods", "local"});
}

BENCHMARK(full_compile)
    ->Apply(described)
    ->Args({10, 10, 2, 10, 10})
    ->Args({100, 100, 10, 100, 100})
    ->Args({1'000, 1'000, 50, 1'000, 1'000})
    ->Args({30'000, 6'000, 1'000, 30'000, 30})
    ->Args({30'000, 6'000, 1'000, 30'000, 500})
    ->Args({12'000, 6'000, 300, 30'000, 1'500})
    ->Args({100'000, 20'000, 1'000, 100'000, 100});
BENCHMARK(full_compile_of_many_kinds)
    ->Apply(described)
    ->Args({30'000, 6'000, 1'000, 30'000, 100})
    ->Args({75'000, 20'000, 1'000, 100'000, 100})
    ->Args({30'000, 6'000, 1'000, 30'000, 500})
    ->Args({12'000, 6'000, 300, 30'000, 1'500});
BENCHMARK(full_compile_with_tiers)
    ->Apply(described)
    ->Args({1'000, 1'000, 50, 1'000, 100})
    ->Args({30'000, 6'000, 1'000, 30'000, 500});
BENCHMARK(series_policies)->Apply(described)->Apply([](benchmark::internal::Benchmark* bench) {
  for (std::int64_t policies = 5'000; policies <= 30'000; policies += 5'000)
    bench->Args({policies, 6'000, 1'000, 30'000, 100});
});
BENCHMARK(series_identities)->Apply(described)->Apply([](benchmark::internal::Benchmark* bench) {
  for (std::int64_t identities = 1'000; identities <= 6'000; identities += 1'000)
    bench->Args({identities * 5, identities, 1'000, identities * 5, 100});
});

}  // namespace
}  // namespace bulkhead::compile

int main(int argc, char** argv) {
  bulkhead::compile::keep_freed_memory();  // as the control plane does
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
