// Claim: what the flow table takes of a packet's time depends on where memory holds the flow, not on how many there are: one line's
// latency, which a burst overlaps.
//
//   bench/flow --benchmark_repetitions=9
//
// The table alone, bursts of 32 in random order over all flows, half of them replies; items_per_second is packets. `established_packet`
// looks up and accounts, `keys_alone` is what making the packets costs in it, `new_flow` a miss and an insert, `age` the sweep by the
// live flow.
#include <benchmark/benchmark.h>
#include <sys/mman.h>

#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "dataplane/flow/memory.h"

namespace {

using namespace bulkhead::flow;
namespace abi = bulkhead::abi;

constexpr std::uint32_t kBurst = 32;

struct alignas(64) Key {
  abi::Address source, destination;
  std::uint16_t source_port = 0, destination_port = 0;
  std::uint8_t protocol = 6;
};

Key key_number(std::uint32_t n) {
  Key key;
  key.source = abi::address_v4(0x0a000000u + n % 10'000);
  key.destination = abi::address_v4(0x0a800000u + n / 10'000);
  key.source_port = static_cast<std::uint16_t>(1024 + n % 50'000);
  key.destination_port = 443;
  return key;
}

/// A table in anonymous memory, with hugepages where the kernel grants them, as in a data plane.
struct Filled {
  explicit Filled(std::uint32_t flows, std::uint64_t flows_max = 1'000'000)
      : bytes(geometry(flows_max).bytes),
        memory(static_cast<std::byte*>(
            mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {
    madvise(memory, bytes, MADV_HUGEPAGE);
    std::memset(memory, 0, bytes);  // a data plane's pages are there before its packets
    table = std::make_unique<Table>(std::span(memory, bytes), table_options(flows_max, 1), report);
    for (std::uint32_t n = 0; n < flows; ++n) insert(n);
  }
  ~Filled() { munmap(memory, bytes); }

  Inserted insert(std::uint32_t n) {
    const Key key = key_number(n);
    NewFlow flow{};
    flow.key = &key;
    flow.stamp = {1, {1, 2}};
    flow.state = abi::FlowState::kEstablished;
    return table->insert(0, table->hasher()(&key), flow);
  }

  std::uint64_t bytes;
  std::byte* memory;
  TakeUp report;
  std::unique_ptr<Table> table;
};

/// Always over, as if every other worker were quiescent.
struct NoGrace {
  std::uint64_t start() { return 0; }
  bool done(std::uint64_t) { return true; }
};

void established_packet(benchmark::State& state) {
  const auto flows = static_cast<std::uint32_t>(state.range(0));
  Filled filled(flows);
  Table& table = *filled.table;
  // Keys come as from a parser: written to the same few lines just before each burst.
  std::mt19937 random(1);
  std::vector<std::uint32_t> order(1 << 16);
  for (auto& n : order) n = random();
  std::uint32_t at = 0;
  Key keys[kBurst];
  const void* pointers[kBurst];
  Probe probes[kBurst];
  for (std::uint32_t i = 0; i < kBurst; ++i) pointers[i] = &keys[i];
  std::uint32_t step = 0;
  for (auto _ : state) {
    for (std::uint32_t i = 0; i < kBurst; ++i) {
      const std::uint32_t word = order[at++ & 0xffff] + step;
      keys[i] = key_number(static_cast<std::uint32_t>(std::uint64_t{word} * flows >> 32));
      if (word & 1) {
        std::swap(keys[i].source, keys[i].destination);
        std::swap(keys[i].source_port, keys[i].destination_port);
      }
    }
    step += 0x9e3779b9u;
    table.hash(pointers, kBurst, probes);
    table.find(kBurst, probes);
    table.resolve(pointers, kBurst, 1, probes);
    for (std::uint32_t i = 0; i < kBurst; ++i) {
      if (probes[i].found != Found::kHit) {
        state.SkipWithError("a flow was not found");
        return;
      }
      table.touch(probes[i].slot, probes[i].direction, 1, 64, 7);
    }
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * kBurst);
}
BENCHMARK(established_packet)->Arg(1'000)->Arg(100'000)->Arg(1'000'000);

/// What the loop above costs without a table.
void keys_alone(benchmark::State& state) {
  const auto flows = static_cast<std::uint32_t>(state.range(0));
  std::mt19937 random(1);
  std::vector<std::uint32_t> order(1 << 16);
  for (auto& n : order) n = random();
  std::uint32_t at = 0, step = 0;
  Key keys[kBurst];
  for (auto _ : state) {
    for (std::uint32_t i = 0; i < kBurst; ++i) {
      const std::uint32_t word = order[at++ & 0xffff] + step;
      keys[i] = key_number(static_cast<std::uint32_t>(std::uint64_t{word} * flows >> 32));
      if (word & 1) {
        std::swap(keys[i].source, keys[i].destination);
        std::swap(keys[i].source_port, keys[i].destination_port);
      }
    }
    step += 0x9e3779b9u;
    benchmark::DoNotOptimize(keys);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * kBurst);
}
BENCHMARK(keys_alone)->Arg(1'000'000);

/// A miss and an insert, in bursts; the table fills from empty to the given number of flows and is emptied off the
/// clock.
void new_flow(benchmark::State& state) {
  const auto flows = static_cast<std::uint32_t>(state.range(0));
  Filled filled(0);
  Table& table = *filled.table;
  NoGrace grace;
  Key keys[kBurst];
  const void* pointers[kBurst];
  Probe probes[kBurst];
  for (std::uint32_t i = 0; i < kBurst; ++i) pointers[i] = &keys[i];
  std::uint32_t n = 0;
  NewFlow flow{};
  flow.stamp = {1, {1, 2}};
  for (auto _ : state) {
    for (Key& key : keys) key = key_number(n++);
    table.hash(pointers, kBurst, probes);
    table.find(kBurst, probes);
    table.resolve(pointers, kBurst, 1, probes);
    for (std::uint32_t i = 0; i < kBurst; ++i) {
      flow.key = pointers[i];
      if (table.insert(0, probes[i].hash, flow).outcome != Outcome::kInserted) {
        state.SkipWithError("no room");
        return;
      }
    }
    if (n + kBurst <= flows) continue;
    state.PauseTiming();
    table.for_each(
        [&](std::uint32_t slot, const abi::FlowEntry&, const abi::FlowDetail&) { table.remove(0, slot); });
    for (int i = 0; i < 2; ++i) table.reclaim(0, grace);
    n = 0;
    state.ResumeTiming();
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * kBurst);
}
BENCHMARK(new_flow)->Arg(100'000)->Arg(900'000);

/// By the live flow.
void age(benchmark::State& state) {
  const auto flows = static_cast<std::uint32_t>(state.range(0));
  Filled filled(flows);
  const Timeouts timeouts;
  std::int64_t live = 0;
  for (auto _ : state) live += filled.table->age(0, 1, 1024, timeouts).live;
  state.SetItemsProcessed(live);
}
BENCHMARK(age)->Arg(100'000)->Arg(1'000'000);

}  // namespace

BENCHMARK_MAIN();
