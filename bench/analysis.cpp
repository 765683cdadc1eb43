// Claim: comparing two images of 6,000 identities takes less than two seconds, however much of them differs; linting their
// policies takes less than five.
//
// Arguments: identities, policies (all endpoints are judged, so the matrices have a row for each identity), and how many
// of a hundred policies differ between both images. Beside it, in the same run: compiling one of the two images.
// Counters: changes found, rows of the ingress matrix.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>

#include "controlplane/analysis/compare.h"
#include "controlplane/analysis/invariants.h"
#include "controlplane/analysis/lint.h"
#include "controlplane/compile/compile.h"
#include "dataplane/image/validate.h"

namespace bulkhead::analysis {
namespace {

constexpr std::uint32_t kNamespaces = 1000;

struct Shape {
  std::uint32_t identities, policies, altered_percent;
};

policies::AddressBytes address(std::uint32_t v4) {
  return abi::address_v4(v4).bytes;
}

std::string namespace_of(std::uint32_t identity) {
  return "team-" + std::to_string(identity % kNamespaces);
}

policies::EndpointSelector app(std::uint32_t identity) {
  return {namespace_of(identity), {}, {{{"app", policies::Operator::kIn, {std::to_string(identity)}}}}};
}

policies::Cluster cluster_of(const Shape& shape) {
  policies::Cluster cluster;
  for (std::uint32_t i = 0; i < shape.identities * 5; ++i) {
    const std::uint32_t identity = i % shape.identities;
    policies::Endpoint endpoint;
    endpoint.id = "uid-" + std::to_string(i);
    endpoint.name = "pod-" + std::to_string(i);
    endpoint.namespace_name = namespace_of(identity);
    endpoint.labels = {{"app", std::to_string(identity)}, {"tier", identity % 4 == 0 ? "front" : "back"}};
    endpoint.addresses = {address(0x0a00'0000 + i)};
    endpoint.kubernetes = true;
    cluster.endpoints.push_back(std::move(endpoint));
  }
  return cluster;
}

/// Each lets two apps, the front ends, or a network in, by a port of its own or one of a hundred.
policies::PolicySet policies_of(const Shape& shape, bool altered) {
  std::mt19937 random(42);
  policies::PolicySet set;
  for (std::uint32_t i = 0; i < shape.policies; ++i) {
    const std::uint32_t identity = i % shape.identities;
    policies::Policy policy;
    policy.kind = "NetworkPolicy";
    policy.namespace_name = namespace_of(identity);
    policy.name = "allow-" + std::to_string(i);
    policies::Clause clause{policies::Direction::kIngress, app(identity), true, {}};
    const auto first = static_cast<std::uint32_t>(random() % shape.identities);
    const auto second = static_cast<std::uint32_t>(random() % shape.identities);
    const bool other = altered && i % 100 < shape.altered_percent;
    const auto port = static_cast<std::uint16_t>(1024 + i % 100 + (other ? 1 : 0));
    const policies::PortMatch ports{policies::Protocol::kTcp, port, port, {}};
    clause.rules.push_back(
        {"ingress[0]", policies::Action::kAllow, {app(first), app(second)}, false, {ports}, {}});
    policies::Peer wide =
        policies::EndpointSelector{std::nullopt, {}, {{{"tier", policies::Operator::kIn, {"front"}}}}};
    if (i % 2 == 0) wide = policies::IpBlock{{address(0xcb00'0000 + i % 256 * 256), 120}, {}};
    clause.rules.push_back({"ingress[1]", policies::Action::kAllow, {wide}, false, {ports}, {}});
    policy.clauses.push_back(std::move(clause));
    set.policies.push_back(std::move(policy));
  }
  return set;
}

compile::Output compiled(const Shape& shape, const policies::Cluster& cluster, bool altered) {
  auto output = compile::compile({.cluster = cluster,
                                  .policies = policies_of(shape, altered),
                                  .subjects = compile::Subjects::kEvery,
                                  .limits = {.section_bytes_max = image::kSectionBytesMax}});
  if (std::get_if<compile::Refusal>(&output) != nullptr) std::abort();
  return std::get<compile::Output>(std::move(output));
}

Shape shape_of(const benchmark::State& state) {
  return {static_cast<std::uint32_t>(state.range(0)), static_cast<std::uint32_t>(state.range(1)),
          static_cast<std::uint32_t>(state.range(2))};
}

void two_images(benchmark::State& state) {
  const Shape shape = shape_of(state);
  const policies::Cluster cluster = cluster_of(shape);
  const compile::Output before = compiled(shape, cluster, false), after = compiled(shape, cluster, true);
  const auto view = [](const compile::Output& output) {
    return std::get<image::View>(image::validate(output.image.sections(), false));
  };
  const image::View old_view = view(before), new_view = view(after);
  std::size_t changes = 0;
  for (auto _ : state) {
    const Space space(old_view, new_view);
    changes = compare(space).size();
  }
  state.counters["changes"] = static_cast<double>(changes);
  state.counters["rows"] = static_cast<double>(before.stats.subject_classes[0]);
}

void one_compile(benchmark::State& state) {
  const Shape shape = shape_of(state);
  const policies::Cluster cluster = cluster_of(shape);
  for (auto _ : state) benchmark::DoNotOptimize(compiled(shape, cluster, false).image.bytes());
}

/// Ten: the world, networks and whole namespaces that must not reach others, one about everybody, and who must.
std::vector<policies::Invariant> invariants_of() {
  using Claim = policies::Demand::Claim;
  policies::Invariant walls{"walls", {}, {}};
  const auto add = [&](Claim claim, policies::Peer from, policies::Peer to, bool all_ports,
                       std::uint16_t port) {
    policies::Demand demand;
    demand.claim = claim;
    demand.name = "demand-" + std::to_string(walls.demands.size());
    demand.from = {std::move(from)};
    demand.to = {std::move(to)};
    demand.all_ports = all_ports;
    if (!all_ports) demand.ports = {{policies::Protocol::kTcp, port, port, {}}};
    walls.demands.push_back(std::move(demand));
  };
  const auto home = [](std::uint32_t number) {
    return policies::EndpointSelector{"team-" + std::to_string(number), {}, {}};
  };
  const policies::EndpointSelector front{std::nullopt, {}, {{{"tier", policies::Operator::kIn, {"front"}}}}},
      back{std::nullopt, {}, {{{"tier", policies::Operator::kIn, {"back"}}}}};
  add(Claim::kNever, policies::Everyone{}, policies::EndpointSelector{}, false, 23);
  add(Claim::kNever, policies::World{}, back, false, 22);
  add(Claim::kNever, policies::IpBlock{{address(0xc000'0200), 120}, {}}, policies::Everyone{}, true, 0);
  add(Claim::kNever, back, front, false, 22);
  add(Claim::kAlways, app(0), policies::World{}, true, 0);
  add(Claim::kAlways, front, policies::World{}, false, 443);
  for (std::uint32_t i = 0; i < 4; ++i)
    add(Claim::kNever, home(i * 7), home(i * 11 + 500), false, static_cast<std::uint16_t>(5432 + i));
  return {walls};
}

/// Claim: ten invariants are proven in a fraction of the time that the compile takes. `breaches` must be 0: a proof looks at all.
void ten_invariants(benchmark::State& state) {
  const Shape shape = shape_of(state);
  const policies::Cluster cluster = cluster_of(shape);
  policies::PolicySet set = policies_of(shape, false);
  set.invariants = invariants_of();
  const compile::Input input{.cluster = cluster,
                             .policies = set,
                             .subjects = compile::Subjects::kEvery,
                             .limits = {.section_bytes_max = image::kSectionBytesMax}};
  const auto output = compile::compile(input);
  if (std::get_if<compile::Refusal>(&output) != nullptr) std::abort();
  Proof proof;
  for (auto _ : state) proof = prove(input, std::get<compile::Output>(output));
  state.counters["breaches"] = static_cast<double>(proof.breaches.size());
  state.counters["vacuous"] = static_cast<double>(proof.vacuous.size());
}

/// Claim: where nothing that they depend on has changed, knowing so costs less still.
void ten_invariants_again(benchmark::State& state) {
  const Shape shape = shape_of(state);
  const policies::Cluster cluster = cluster_of(shape);
  policies::PolicySet set = policies_of(shape, false);
  set.invariants = invariants_of();
  const compile::Input input{.cluster = cluster,
                             .policies = set,
                             .subjects = compile::Subjects::kEvery,
                             .limits = {.section_bytes_max = image::kSectionBytesMax}};
  const auto output = compile::compile(input);
  if (std::get_if<compile::Refusal>(&output) != nullptr) std::abort();
  Invariants invariants;
  invariants.prove(input, std::get<compile::Output>(output));
  for (auto _ : state)
    benchmark::DoNotOptimize(invariants.prove(input, std::get<compile::Output>(output)).demands);
  state.counters["proofs"] = static_cast<double>(invariants.proofs());
}

/// Claim: what policies cannot mean is found while somebody waits. Items are rules; `unproven` must be 0.
void lint_policies(benchmark::State& state) {
  const Shape shape = shape_of(state);
  const policies::Cluster cluster = cluster_of(shape);
  const policies::PolicySet set = policies_of(shape, false);
  Linted linted;
  for (auto _ : state) linted = lint(cluster, set, {});
  if (!linted.refusal.empty()) state.SkipWithError(linted.refusal.c_str());
  state.counters["findings"] = static_cast<double>(linted.findings.size());
  state.counters["unproven"] = static_cast<double>(linted.unproven);
  state.SetItemsProcessed(static_cast<std::int64_t>(linted.rules) * state.iterations());
}

void shapes(benchmark::internal::Benchmark* bench) {
  bench->Unit(benchmark::kMillisecond)->ArgNames({"identities", "policies", "altered%"});
  bench->Args({1'000, 5'000, 1})
      ->Args({6'000, 30'000, 0})
      ->Args({6'000, 30'000, 1})
      ->Args({6'000, 30'000, 100});
}
BENCHMARK(two_images)->Apply(shapes);
BENCHMARK(ten_invariants)->Unit(benchmark::kMillisecond)->Args({1'000, 5'000, 0})->Args({6'000, 30'000, 0});
BENCHMARK(ten_invariants_again)->Unit(benchmark::kMillisecond)->Args({6'000, 30'000, 0});
BENCHMARK(lint_policies)
    ->Unit(benchmark::kMillisecond)
    ->ArgNames({"identities", "policies", "altered%"})
    ->Args({1'000, 5'000, 0})
    ->Args({2'000, 10'000, 0})
    ->Args({4'000, 20'000, 0})
    ->Args({6'000, 30'000, 0});
BENCHMARK(one_compile)->Unit(benchmark::kMillisecond)->Args({6'000, 30'000, 0})->Iterations(1);

}  // namespace
}  // namespace bulkhead::analysis

BENCHMARK_MAIN();
