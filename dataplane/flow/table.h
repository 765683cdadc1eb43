// The flow table: who talks to whom, and what was decided about it. Both directions of a conversation are one
// entry, shared by all workers without a lock.
//
//   hash ──► bucket: 16 tags of 16 bits (half a line) ──► hot entry (one line) ──► cold detail (birth and end
//   only)
//      └───► further buckets of the same chain, only while the ones before say that they have overflowed
//
// A worker looks a burst up in three stages, so that the memory latencies of its packets overlap:
//   hash()     hashes every key and prefetches its tags
//   find()     compares tags and prefetches the candidate's entry
//   resolve()  compares keys in both orders: slot, direction and ports, or a miss
// or packet by packet, with other work between the stages (lookup.h).
//
// Who writes: any worker inserts, removes and re-stamps (the `worker` argument names the caller: one thread
// per number at a time). The key of a live slot never changes. Generation and ports are one word: a reader
// sees both of one judgement. Counters and `last_seen` are plain stores, with one writer per direction.
//
// When memory dies: a removed slot is *retired*: no lookup finds it any more, and it is used again only after
// a grace period in which every worker has been quiescent once. So a slot number is good until its holder is
// quiescent, and must not be kept longer; holds() tells whether a kept one still means the same conversation.
//
// Bounds: `flows_max` live flows over all workers, in at least twice as many slots. Where there is no room
// a finished flow nearby is evicted, else the oldest half-open one; established flows never are.
//
// The memory outlives the process (memory.h). A table taken up again has every generation set to 0, which is
// no image's: each restored flow is judged again at its next packet.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "dataplane/abi/flow.h"
#include "dataplane/flow/hash.h"
#include "dataplane/flow/timeouts.h"

namespace bulkhead::flow {

inline constexpr std::uint32_t kNoSlot = 0xffff'ffffu;
inline constexpr std::uint32_t kBurstMax = 64;  // probes and keys in one call

/// A flow lives in one of this many buckets. Four make "no room while the table is half empty" a matter of 1
/// in 10^8.
inline constexpr std::uint32_t kChainBuckets = 4;

/// Flows to evict are looked for in this many buckets beyond the flow's own before a new flow is refused.
inline constexpr std::uint32_t kEvictBuckets = 8;

enum class Found : std::uint8_t {
  kMiss,
  kHit,    // judged by the asked generation: forward
  kStale,  // judged by another one: judge again, then restamp() or remove()
};

/// One packet's way through a lookup. hash() fills `hash`, find() `slot`, resolve() the rest.
struct Probe {
  std::uint64_t hash;
  std::uint32_t
      slot;  // after find(): the first of the bucket whose tag agrees. kNoSlot: none, after resolve() a miss
  std::uint16_t in_port;   // where packets of this direction come in
  std::uint16_t out_port;  // where they go: the other direction's
  std::uint8_t direction;  // 0 the originator's, 1 the reply's
  Found found;
};

/// What a judgement left on the flow. `port` as in abi::FlowEntry.
struct Stamp {
  std::uint32_t generation;
  std::uint16_t port[2];
};
static_assert(sizeof(Stamp) == 8 && offsetof(abi::FlowEntry, generation) % 8 == 0 &&
              offsetof(abi::FlowEntry, port) == offsetof(abi::FlowEntry, generation) + 4);

/// The cold part of a judgement, as in abi::FlowDetail.
struct Reasons {
  std::uint32_t rule[2] = {};  // 0 ingress, 1 egress
  std::uint32_t source_endpoint = 0;
  std::uint32_t destination_endpoint = 0;
  std::uint32_t owner[2] = {};
  bool kept = false;
};

/// A conversation that was just allowed. Counters start at 0: the first packet is touch()ed like any other.
struct NewFlow {
  const void* key;  // kKeyBytes, in the originator's order; copied
  Stamp stamp;
  Reasons reasons;
  abi::FlowState state = abi::FlowState::kNew;
  std::uint8_t policy_slot = 0;
  std::uint16_t policy_port = 0;
  std::uint16_t now_s = 0;  // clock_s()
  std::uint64_t first_seen_ms = 0;
};

enum class Outcome : std::uint8_t {
  kInserted,
  kExisted,  // an earlier packet, of this burst or another worker, was first: `slot` and `direction` are of
             // its flow
  kFull,     // no room: nothing changed but a possible eviction
};

struct Inserted {
  std::uint32_t slot;
  Outcome outcome;
  std::uint8_t direction;
  bool evicted;  // a finished or half-open flow had to go
};

struct Swept {
  std::uint32_t live;   // seen alive
  std::uint32_t ended;  // removed for silence
};

/// Sizes that follow from flows_max alone.
struct Geometry {
  std::uint64_t slots;
  std::uint64_t tags_offset;
  std::uint64_t hot_offset;
  std::uint64_t cold_offset;
  std::uint64_t bytes;
};
/// `flows_max` from 1 to 2^30; out of range is clamped.
Geometry geometry(std::uint64_t flows_max);

struct TableOptions {
  std::uint64_t flows_max = 1'000'000;
  std::uint32_t workers = 1;        // numbers 0 to workers - 1 may call
  std::uint64_t hash_seed[4] = {};  // random; used only for a table that is made anew
  std::uint8_t boot_id[16] = {};
  std::uint64_t boottime_s = 0;  // CLOCK_BOOTTIME now
};

/// How a table came to be.
struct TakeUp {
  bool adopted = false;
  std::uint64_t restored = 0;   // live flows taken up
  std::uint64_t discarded = 0;  // slots that were half-written, doubled or inconsistent
  std::string reason;           // why it was made anew; empty if adopted
};

/// Accounts packets of one direction on the hot line. False, and nothing changed: a counter would pass 2^32, and Table::touch() must
/// do it.
[[nodiscard]] inline bool account(abi::FlowEntry& entry, std::size_t direction, std::uint32_t packets,
                                  std::uint32_t l3_bytes, std::uint16_t now_s) {
  using Word [[gnu::may_alias]] = std::uint64_t;
  static_assert(offsetof(abi::FlowEntry, count) % 8 == 0 && offsetof(abi::FlowCount, packets) == 4);
  auto* count = reinterpret_cast<Word*>(&entry.count[direction]);
  std::uint64_t now;
  if (__builtin_add_overflow(*count, std::uint64_t{packets} << 32 | l3_bytes, &now) ||
      static_cast<std::uint32_t>(now) < l3_bytes) [[unlikely]]
    return false;
  __atomic_store_n(count, now, __ATOMIC_RELAXED);
  if (std::atomic_ref(entry.last_seen_s).load(std::memory_order_relaxed) != now_s) [[unlikely]]
    std::atomic_ref(entry.last_seen_s).store(now_s, std::memory_order_relaxed);
  return true;
}

/// Generation and ports as one word, which aliases the entry's members.
using StampWord [[gnu::may_alias]] = std::uint64_t;

inline std::uint16_t tag_of(std::uint64_t hash) {
  const auto top = static_cast<std::uint16_t>(hash >> 48);
  return static_cast<std::uint16_t>(top + (top < abi::kFlowTagFirst ? abi::kFlowTagFirst : 0));
}

struct Lookup;

class Table {
 public:
  /// Over `memory`, zeroed or left by an earlier process, 64-byte aligned, of geometry().bytes or more; it
  /// must outlive the table, and nobody else may write it. A table found there is repaired and taken up if it
  /// is whole, of the same version, sizes and boot; else a new one is made. The only place that allocates.
  Table(std::span<std::byte> memory, const TableOptions& options, TakeUp& take_up);
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;

  // A burst's lookup: count <= kBurstMax, each key has kKeyBytes readable bytes.
  void hash(const void* const keys[], std::uint32_t count, Probe probes[]) const;
  void find(std::uint32_t count, Probe probes[]) const;
  void resolve(const void* const keys[], std::uint32_t count, std::uint32_t generation, Probe probes[]) const;
  /// The last stage for one key, for a caller that goes on with each packet while its line is at hand.
  void resolve(const void* key, std::uint32_t generation, Probe& probe) const;
  /// The stages one key at a time: lookup.h.
  Lookup lookup() const;
  /// All three for one key.
  Probe look_up(const void* key, std::uint32_t generation) const;

  /// Accounts packets of one direction. `l3_bytes` in all, `now_s` from clock_s().
  void touch(std::uint32_t slot, std::uint32_t direction, std::uint32_t packets, std::uint32_t l3_bytes,
             std::uint16_t now_s) {
    if (!account(hot_[slot], direction, packets, l3_bytes, now_s)) [[unlikely]]
      account_and_carry(slot, direction, packets, l3_bytes, now_s);
  }

  /// Puts an allowed conversation on record. `hash` is its Probe's. Looks again first, so that two packets of
  /// one burst share a flow. When two workers insert the same conversation at once, the lower slot stays.
  Inserted insert(std::uint32_t worker, std::uint64_t hash, const NewFlow& flow);

  /// Retires the slot. False if somebody else did, or it is not live.
  bool remove(std::uint32_t worker, std::uint32_t slot);

  /// Records a new judgement that allowed the flow again.
  void restamp(std::uint32_t slot, const Stamp& stamp, const Reasons& reasons);
  Stamp stamp(std::uint32_t slot) const {
    return std::bit_cast<Stamp>(__atomic_load_n(stamp_word(slot), __ATOMIC_ACQUIRE));
  }

  /// Whether a slot number from an earlier burst is still this conversation; if so, in which direction `key`
  /// goes.
  bool holds(std::uint32_t slot, std::uint64_t hash, const void* key, std::uint8_t& direction) const;

  /// Frees what this worker retired at least one grace period ago. Call now and then, outside a lookup.
  ///
  /// `grace.start()` returns a token, `grace.done(token)` whether every worker has been quiescent since. Both
  /// are called at most once per call.
  template <typename Grace>
  void reclaim(std::uint32_t worker, Grace&& grace);

  /// Sweeps `buckets` further buckets of this worker's share of the table and removes flows that were silent
  /// too long. `ended(slot, entry, detail)` sees each of them just before; entry and detail stay as they are
  /// until the caller is quiescent.
  template <typename Ended>
  Swept age(std::uint32_t worker, std::uint16_t now_s, std::uint32_t buckets, const Timeouts& timeouts,
            Ended&& ended);
  Swept age(std::uint32_t worker, std::uint16_t now_s, std::uint32_t buckets, const Timeouts& timeouts) {
    return age(worker, now_s, buckets, timeouts,
               [](std::uint32_t, const abi::FlowEntry&, const abi::FlowDetail&) {});
  }

  /// Calls `visit(slot, entry, detail)` for every live flow. Slow; a snapshot without promises.
  template <typename Visit>
  void for_each(Visit&& visit) const;

  abi::FlowEntry& entry(std::uint32_t slot) { return hot_[slot]; }
  const abi::FlowEntry& entry(std::uint32_t slot) const { return hot_[slot]; }
  abi::FlowDetail& detail(std::uint32_t slot) { return cold_[slot]; }
  const abi::FlowDetail& detail(std::uint32_t slot) const { return cold_[slot]; }

  /// What last_seen_s shows at this moment of CLOCK_BOOTTIME.
  std::uint16_t clock_s(std::uint64_t boottime_s) const {
    return static_cast<std::uint16_t>(boottime_s - header_->clock_origin_s);
  }
  /// Live flows; exact when no worker is inside a call.
  std::uint64_t live() const;
  std::uint64_t flows_max() const { return header_->flows_max; }
  std::uint64_t slots() const { return header_->slots; }
  std::uint32_t buckets() const { return bucket_mask_ + 1; }
  /// Buckets that one worker ages: a full sweep is this many.
  std::uint32_t share(std::uint32_t worker) const { return share_begin(worker + 1) - share_begin(worker); }
  const Hasher& hasher() const { return hasher_; }

 private:
  friend struct Lookup;
  friend struct Race;  // a test's hand between publishing and looking for duplicates

  static constexpr std::uint32_t kSlots = abi::kFlowBucketSlots;
  static constexpr std::uint32_t kAgeAhead = 4;  // buckets: enough lines under way to hide their latency

  /// What one worker owns. Credits are the share of flows_max that it may still insert without asking.
  struct alignas(64) Shard {
    std::atomic<std::uint32_t> credit{0};
    std::uint32_t pending =
        kNoSlot;  // retired, no grace period started; linked through FlowDetail::next_retired
    std::uint32_t waiting = kNoSlot;  // retired, waiting for `token`
    std::uint64_t token = 0;
    std::uint32_t cursor = 0;  // next bucket to age, from the start of the share
  };

  void make(const TableOptions& options, const Geometry& wanted);
  void take_up(TakeUp& take_up);
  bool consistent(std::uint32_t slot) const;

  void account_and_carry(std::uint32_t slot, std::uint32_t direction, std::uint32_t packets,
                         std::uint32_t l3_bytes, std::uint16_t now_s);
  StampWord* stamp_word(std::uint32_t slot) const {
    return reinterpret_cast<StampWord*>(reinterpret_cast<std::byte*>(hot_ + slot) +
                                        offsetof(abi::FlowEntry, generation));
  }
  /// The i-th bucket of a hash's chain. The step is odd, so the first kChainBuckets differ.
  std::uint32_t bucket_of(std::uint64_t hash, std::uint32_t i) const {
    return (static_cast<std::uint32_t>(hash) + i * (static_cast<std::uint32_t>(hash >> 32) | 1)) &
           bucket_mask_;
  }
  std::uint32_t share_begin(std::uint32_t worker) const {
    return static_cast<std::uint32_t>(std::uint64_t{buckets()} * worker / workers_);
  }
  std::uint16_t load_tag(std::uint32_t slot) const {
    return std::atomic_ref(tags_[slot]).load(std::memory_order_acquire);
  }
  std::uint32_t match_tags(std::uint32_t bucket, std::uint16_t tag) const;
  std::uint32_t live_tags(std::uint32_t bucket) const;
  bool same_flow(std::uint32_t slot, const void* key, std::uint8_t& direction) const;
  /// Walks the whole chain: the flow's slot, or kNoSlot.
  std::uint32_t search(std::uint64_t hash, const void* key, std::uint8_t& direction) const;
  void pass(std::uint64_t hash, std::uint32_t bucket, std::uint32_t delta);
  bool take_credit(Shard& shard);
  void give_credit(Shard& shard);
  std::uint32_t claim(std::uint64_t hash, std::uint32_t& bucket);
  void write(std::uint32_t slot, const NewFlow& flow);
  Inserted settle_duplicates(std::uint32_t worker, std::uint64_t hash, const void* key, std::uint32_t slot);
  void release(std::uint32_t slot);
  bool evict(std::uint32_t worker, std::uint64_t hash, std::uint32_t buckets_beyond, std::uint16_t now_s);
  bool evict_from(std::uint32_t worker, std::uint32_t bucket, std::uint16_t now_s);
  bool expired(std::uint32_t slot, std::uint16_t now_s, const Timeouts& timeouts) const;
  void prefetch_live(std::uint32_t bucket) const;
  void find_nothing(std::uint32_t bucket, Probe& probe) const;

  abi::FlowTableHeader* header_;
  std::uint16_t* tags_;
  abi::FlowEntry* hot_;
  abi::FlowDetail* cold_;
  std::uint32_t bucket_mask_ = 0;
  std::uint32_t workers_ = 1;
  std::uint32_t credit_batch_ = 1;
  Hasher hasher_;
  /// Per bucket: live flows that sit further down a chain that passes through it. 0 ends a lookup.
  std::unique_ptr<std::atomic<std::uint32_t>[]> passed_;
  std::unique_ptr<Shard[]> shards_;
  alignas(64) std::atomic<std::uint64_t> available_{0};
};

template <typename Grace>
void Table::reclaim(std::uint32_t worker, Grace&& grace) {
  Shard& shard = shards_[worker];
  if (shard.waiting != kNoSlot) {
    if (!grace.done(shard.token)) return;
    while (shard.waiting != kNoSlot) {
      const std::uint32_t slot = shard.waiting;
      shard.waiting = cold_[slot].next_retired;
      release(slot);
    }
  }
  if (shard.pending == kNoSlot) return;
  shard.waiting = shard.pending;
  shard.pending = kNoSlot;
  shard.token = grace.start();
}

template <typename Ended>
Swept Table::age(std::uint32_t worker, std::uint16_t now_s, std::uint32_t buckets, const Timeouts& timeouts,
                 Ended&& ended) {
  Shard& shard = shards_[worker];
  const std::uint32_t begin = share_begin(worker);
  const std::uint32_t share_buckets = share(worker);
  if (share_buckets == 0) return {};
  Swept swept{};
  std::uint32_t ahead = shard.cursor;
  const auto step = [&](std::uint32_t& cursor) { cursor = cursor + 1 == share_buckets ? 0 : cursor + 1; };
  for (std::uint32_t i = 0; i < kAgeAhead; ++i, step(ahead)) prefetch_live(begin + ahead);
  for (std::uint32_t i = 0; i < buckets; ++i, step(ahead)) {
    const std::uint32_t bucket = begin + shard.cursor;
    step(shard.cursor);
    prefetch_live(begin + ahead);
    for (std::uint32_t live = live_tags(bucket); live != 0; live &= live - 1) {
      const std::uint32_t slot = bucket * kSlots + static_cast<std::uint32_t>(std::countr_zero(live));
      if (!expired(slot, now_s, timeouts)) {
        ++swept.live;
        continue;
      }
      ended(slot, std::as_const(hot_[slot]), std::as_const(cold_[slot]));
      if (remove(worker, slot)) ++swept.ended;
    }
  }
  return swept;
}

template <typename Visit>
void Table::for_each(Visit&& visit) const {
  for (std::uint32_t bucket = 0; bucket < buckets(); ++bucket)
    for (std::uint32_t live = live_tags(bucket); live != 0; live &= live - 1) {
      const std::uint32_t slot = bucket * kSlots + static_cast<std::uint32_t>(std::countr_zero(live));
      visit(slot, std::as_const(hot_[slot]), std::as_const(cold_[slot]));
    }
}

}  // namespace bulkhead::flow

#include "dataplane/flow/lookup.h"
