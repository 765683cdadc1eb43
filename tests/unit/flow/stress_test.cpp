// Several workers on one table. Run also under the thread sanitizer (-Db_sanitize=thread).
#include <atomic>
#include <memory>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "dataplane/flow/tcp.h"
#include "tests/unit/flow/room.h"

namespace bulkhead::flow {
namespace {

/// A minimal quiescent-state grace period: every worker publishes how far it has come.
class Epochs {
 public:
  explicit Epochs(std::uint32_t workers) : seen_(workers) {}
  std::uint64_t start() { return now_.fetch_add(1, std::memory_order_seq_cst) + 1; }
  bool done(std::uint64_t token) const {
    for (const auto& seen : seen_)
      if (seen.load(std::memory_order_seq_cst) < token) return false;
    return true;
  }
  void quiescent(std::uint32_t worker) {
    seen_[worker].store(now_.load(std::memory_order_seq_cst), std::memory_order_seq_cst);
  }
  void leave(std::uint32_t worker) { seen_[worker].store(~std::uint64_t{0}, std::memory_order_seq_cst); }

 private:
  std::atomic<std::uint64_t> now_{0};
  std::vector<std::atomic<std::uint64_t>> seen_;
};

constexpr std::uint32_t kWorkers = 4;
#if defined(__SANITIZE_THREAD__)
constexpr std::uint32_t kRounds = 3'000;
#else
constexpr std::uint32_t kRounds = 30'000;
#endif

template <typename Work>
void run_workers(std::uint32_t workers, Work&& work) {
  std::vector<std::thread> threads;
  for (std::uint32_t worker = 0; worker < workers; ++worker)
    threads.emplace_back([&, worker] { work(worker); });
  for (std::thread& thread : threads) thread.join();
}

TEST(Workers, one_conversation_inserted_by_all_at_once_is_one_flow) {
  Room room(20'000);
  TakeUp made;
  Table table(room.bytes(), options_of(20'000, kWorkers), made);
  constexpr std::uint32_t kKeys = kRounds / 2;
  std::atomic<std::uint32_t> gate{0};
  run_workers(2, [&](std::uint32_t worker) {
    for (std::uint32_t n = 0; n < kKeys; ++n) {
      const Key key = worker == 0 ? key_number(n) : key_number(n).reply();
      // In step, so that inserts of one key do meet.
      gate.fetch_add(1);
      for (int spins = 1; gate.load() < (n + 1) * 2; ++spins)
        if (spins % 4096 == 0) std::this_thread::yield();
      const Inserted in = insert(table, key, 1, 0, worker);
      EXPECT_NE(in.outcome, Outcome::kFull);
    }
  });
  EXPECT_EQ(table.live(), kKeys);
  std::uint32_t seen = 0;
  table.for_each([&](std::uint32_t slot, const abi::FlowEntry& entry, const abi::FlowDetail&) {
    ++seen;
    EXPECT_EQ(table.look_up(&entry, 1).slot, slot);
  });
  EXPECT_EQ(seen, kKeys);
  for (std::uint32_t n = 0; n < kKeys; ++n) {
    const Key key = key_number(n);
    ASSERT_EQ(table.look_up(&key, 1).found, Found::kHit);
  }
}

TEST(Workers, two_conversations_never_share_a_slot) {
  Room room(1000);
  TakeUp made;
  Table table(room.bytes(), options_of(1000, 2), made);
  std::vector<Key> keys;  // all of one bucket, so that both workers want the same free slot
  for (std::uint32_t n = 0; keys.size() < 8; ++n) {
    const Key key = key_number(n);
    if ((table.hasher()(&key) & (table.buckets() - 1)) == 3) keys.push_back(key);
  }
  std::atomic<std::uint32_t> gate{0};
  const auto in_step = [&gate, passed = std::uint32_t{0}]() mutable {
    gate.fetch_add(1);
    passed += 2;
    for (int spins = 1; gate.load() < passed; ++spins)
      if (spins % 4096 == 0) std::this_thread::yield();
  };
  run_workers(2, [&](std::uint32_t worker) {
    auto step = in_step;
    for (std::uint32_t n = 0; n < kRounds; ++n) {
      const Key& key = keys[n % 4 * 2 + worker];
      step();
      // One sees the gate open a moment before the other: differing delays make up for it now and then.
      for (std::uint32_t delay = (n >> worker) % 64; delay != 0; --delay)
        std::atomic_signal_fence(std::memory_order_seq_cst);
      const Inserted in = insert(table, key, 1, 0, worker);
      EXPECT_EQ(in.outcome, Outcome::kInserted);
      step();
      EXPECT_EQ(std::memcmp(&table.entry(in.slot), &key, kKeyBytes), 0);
      EXPECT_TRUE(table.remove(worker, in.slot));
      step();  // both are quiescent
      reclaim_all(table, worker);
    }
  });
}

TEST(Workers, no_reader_sees_a_slot_reused_under_it) {
  Room room(256);
  TakeUp made;
  Table table(room.bytes(), options_of(256, kWorkers), made);
  Epochs epochs(kWorkers);
  std::atomic<std::uint64_t> hits{0}, inserted{0}, removed{0};
  run_workers(kWorkers, [&](std::uint32_t worker) {
    std::mt19937 random(worker);
    Key keys[32];
    const void* pointers[32];
    Probe probes[32];
    for (int i = 0; i < 32; ++i) pointers[i] = &keys[i];
    for (std::uint32_t round = 0; round < kRounds; ++round) {
      for (Key& key : keys) {
        key = key_number(random() % 300);
        if (random() % 2) key = key.reply();
      }
      table.hash(pointers, 32, probes);
      table.find(32, probes);
      table.resolve(pointers, 32, 1, probes);
      for (int i = 0; i < 32; ++i) {
        if (probes[i].found == Found::kMiss) {
          const Inserted in = insert(table, keys[i], 1, 0, worker);
          if (in.outcome == Outcome::kFull) continue;
          if (in.outcome == Outcome::kInserted) inserted.fetch_add(1, std::memory_order_relaxed);
          probes[i].slot = in.slot;
          probes[i].direction = in.direction;
        } else {
          ASSERT_EQ(probes[i].out_port, probes[i].direction ? 10 : 20);
          hits.fetch_add(1, std::memory_order_relaxed);
        }
        if (random() % 4 == 0 && table.remove(worker, probes[i].slot))
          removed.fetch_add(1, std::memory_order_relaxed);
      }
      // All slots of this burst still say what they said, retired or not.
      for (int i = 0; i < 32; ++i) {
        if (probes[i].slot == kNoSlot) continue;
        const abi::FlowEntry& entry = table.entry(probes[i].slot);
        const Key expected = probes[i].direction ? keys[i].reply() : keys[i];
        ASSERT_EQ(std::memcmp(&entry, &expected, kKeyBytes), 0);
      }
      epochs.quiescent(worker);
      table.reclaim(worker, epochs);
    }
    epochs.leave(worker);
  });
  EXPECT_GT(hits.load(), 0u);
  EXPECT_GT(removed.load(), 0u);
  std::uint64_t live = 0;
  table.for_each([&](std::uint32_t, const abi::FlowEntry&, const abi::FlowDetail&) { ++live; });
  EXPECT_EQ(table.live(), live);
  // Nothing leaked: the table empties and fills to its bound again.
  std::vector<std::uint32_t> slots;
  table.for_each(
      [&](std::uint32_t slot, const abi::FlowEntry&, const abi::FlowDetail&) { slots.push_back(slot); });
  for (const std::uint32_t slot : slots) EXPECT_TRUE(table.remove(0, slot));
  EXPECT_EQ(table.live(), 0u);
  for (std::uint32_t worker = 0; worker < kWorkers; ++worker) {
    table.reclaim(worker, epochs);
    table.reclaim(worker, epochs);
  }
  for (std::uint32_t slot = 0; slot < table.slots(); ++slot)
    ASSERT_EQ(room.tags(table)[slot], abi::kFlowTagFree);
}

TEST(Workers, generation_and_ports_are_of_one_judgement) {
  Room room(64);
  TakeUp made;
  Table table(room.bytes(), options_of(64, kWorkers), made);
  const Key key = key_number(1);
  const std::uint32_t slot = insert(table, key, 1).slot;
  table.restamp(slot, {1, {1, 2}}, {});
  std::atomic<bool> over{false};
  run_workers(kWorkers, [&](std::uint32_t worker) {
    if (worker == 0) {
      for (std::uint32_t n = 0; n < kRounds * 10; ++n) {
        const auto low = static_cast<std::uint16_t>(n);
        table.restamp(slot, {low, {low, static_cast<std::uint16_t>(low + 1)}}, {});
      }
      over = true;
      return;
    }
    while (!over.load(std::memory_order_relaxed)) {
      const Stamp stamp = table.stamp(slot);
      ASSERT_EQ(stamp.generation, stamp.port[0]);
      ASSERT_EQ(static_cast<std::uint16_t>(stamp.port[0] + 1), stamp.port[1]);
    }
  });
}

TEST(Workers, both_sides_closing_at_once_close) {
  for (std::uint32_t round = 0; round < 300; ++round) {
    abi::FlowEntry entry{};
    abi::FlowDetail detail{};
    entry.state = abi::FlowState::kEstablished;
    std::thread other([&] { advance_tcp(entry, detail, 1, kTcpFin | kTcpAck); });
    advance_tcp(entry, detail, 0, kTcpFin | kTcpAck);
    other.join();
    ASSERT_EQ(entry.state, abi::FlowState::kClosed);
  }
}

TEST(Workers, the_bound_holds_over_all_of_them) {
  Room room(1000);
  TakeUp made;
  Table table(room.bytes(), options_of(1000, kWorkers), made);
  run_workers(kWorkers, [&](std::uint32_t worker) {
    for (std::uint32_t n = 0; n < 1000; ++n) {
      const Inserted in = insert(table, key_number(n * kWorkers + worker), 1, 0, worker);
      if (in.outcome == Outcome::kInserted)
        std::atomic_ref(table.entry(in.slot).state)
            .store(abi::FlowState::kEstablished, std::memory_order_relaxed);
    }
  });
  std::uint64_t live = 0;
  table.for_each([&](std::uint32_t, const abi::FlowEntry&, const abi::FlowDetail&) { ++live; });
  EXPECT_EQ(table.live(), live);
  EXPECT_LE(live, 1000u);
  EXPECT_GE(live, 1000u - 1000u / 64 - kWorkers);
}

}  // namespace
}  // namespace bulkhead::flow
