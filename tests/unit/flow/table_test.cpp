#include "dataplane/flow/table.h"

#include <map>
#include <set>
#include <vector>

#include "tests/unit/flow/room.h"

namespace bulkhead::flow {

/// What insert() does after it has published a slot.
struct Race {
  static Inserted settle(Table& table, std::uint64_t hash, const Key& key, std::uint32_t slot) {
    return table.settle_duplicates(0, hash, &key, slot);
  }
};

namespace {

struct TableTest : testing::Test {
  Room room{10'000};
  TakeUp made;
  Table table{room.bytes(), options_of(10'000), made};
};

TEST_F(TableTest, both_directions_find_one_flow) {
  const Key key = key_number(1);
  const Key reply = key.reply();
  EXPECT_EQ(table.hasher()(&key), table.hasher()(&reply));
  EXPECT_EQ(table.look_up(&key, 1).found, Found::kMiss);
  EXPECT_EQ(table.look_up(&key, 1).slot, kNoSlot);
  const Inserted in = insert(table, key);
  ASSERT_EQ(in.outcome, Outcome::kInserted);
  const Probe forward = table.look_up(&key, 1);
  EXPECT_EQ(forward.found, Found::kHit);
  EXPECT_EQ(forward.slot, in.slot);
  EXPECT_EQ(forward.direction, 0);
  EXPECT_EQ(forward.in_port, 10);
  EXPECT_EQ(forward.out_port, 20);
  const Probe backward = table.look_up(&reply, 1);
  EXPECT_EQ(backward.found, Found::kHit);
  EXPECT_EQ(backward.slot, in.slot);
  EXPECT_EQ(backward.direction, 1);
  EXPECT_EQ(backward.in_port, 20);
  EXPECT_EQ(backward.out_port, 10);
  EXPECT_EQ(table.live(), 1u);
}

TEST_F(TableTest, every_byte_of_the_key_counts_and_none_beyond) {
  const Key key = key_number(3);
  insert(table, key);
  for (std::size_t byte = 0; byte < sizeof(Key); ++byte) {
    Key other = key;
    reinterpret_cast<std::uint8_t*>(&other)[byte] ^= 0x40;
    EXPECT_EQ(table.look_up(&other, 1).found, byte < kKeyBytes ? Found::kMiss : Found::kHit) << byte;
  }
  // Crossed ports or crossed addresses alone are another conversation.
  Key crossed = key;
  std::swap(crossed.source_port, crossed.destination_port);
  EXPECT_EQ(table.look_up(&crossed, 1).found, Found::kMiss);
  crossed = key;
  std::swap(crossed.source, crossed.destination);
  EXPECT_EQ(table.look_up(&crossed, 1).found, Found::kMiss);
}

TEST_F(TableTest, where_hashes_agree_the_keys_decide) {
  const Key key = key_number(3);
  const std::uint64_t hash = table.hasher()(&key);
  const std::uint32_t slot = insert(table, key).slot;
  std::uint8_t direction;
  for (const Key& order : {key, key.reply()})
    for (std::size_t byte = 0; byte < sizeof(Key); ++byte) {
      Key other = order;
      reinterpret_cast<std::uint8_t*>(&other)[byte] ^= 1;
      EXPECT_EQ(table.holds(slot, hash, &other, direction), byte >= kKeyBytes) << byte;
    }
  Key crossed = key;
  std::swap(crossed.source_port, crossed.destination_port);
  EXPECT_FALSE(table.holds(slot, hash, &crossed, direction));
  crossed = key;
  std::swap(crossed.source, crossed.destination);
  EXPECT_FALSE(table.holds(slot, hash, &crossed, direction));
}

TEST_F(TableTest, a_full_table_finds_every_flow_in_bursts) {
  // Enough flows that thousands share bucket and tag with nobody, and some do: all are found in one burst
  // each.
  std::vector<Key> keys;
  for (std::uint32_t n = 0; n < 10'000; ++n) keys.push_back(key_number(n));
  std::set<std::uint32_t> slots;
  for (const Key& key : keys) {
    const Inserted in = insert(table, key);
    ASSERT_EQ(in.outcome, Outcome::kInserted);
    ASSERT_TRUE(slots.insert(in.slot).second);
  }
  EXPECT_EQ(table.live(), keys.size());
  for (std::size_t at = 0; at < keys.size(); at += 32) {
    const void* pointers[32];
    Probe probes[32];
    const auto count = static_cast<std::uint32_t>(std::min<std::size_t>(32, keys.size() - at));
    for (std::uint32_t i = 0; i < count; ++i) pointers[i] = &keys[at + i];
    table.hash(pointers, count, probes);
    table.find(count, probes);
    table.resolve(pointers, count, 1, probes);
    for (std::uint32_t i = 0; i < count; ++i) {
      ASSERT_EQ(probes[i].found, Found::kHit);
      ASSERT_EQ(probes[i].direction, 0);
      ASSERT_EQ(table.entry(probes[i].slot).source_port, keys[at + i].source_port);
    }
  }
}

TEST(TableTags, flows_of_one_bucket_and_tag_are_told_apart) {
  Room room(32);
  TakeUp made;
  Table table(room.bytes(), options_of(32), made);
  // Two keys that agree in everything find() looks at: 2 bits of bucket, 16 of tag.
  std::map<std::uint64_t, std::uint32_t> seen;
  Key first, second;
  for (std::uint32_t n = 0;; ++n) {
    const Key key = key_number(n);
    const std::uint64_t hash = table.hasher()(&key);
    const auto [at, fresh] = seen.emplace((hash >> 48) << 2 | (hash & 3), n);
    if (fresh) continue;
    first = key_number(at->second);
    second = key;
    break;
  }
  const std::uint32_t first_slot = insert(table, first).slot;
  EXPECT_EQ(table.look_up(&second, 1).found, Found::kMiss);
  const Inserted in = insert(table, second);
  EXPECT_EQ(in.outcome, Outcome::kInserted);
  EXPECT_EQ(table.look_up(&first, 1).slot, first_slot);
  EXPECT_EQ(table.look_up(&second, 1).slot, in.slot);
  EXPECT_EQ(table.look_up(&second, 1).found, Found::kHit);
}

TEST(TableRaces, of_a_conversation_inserted_twice_the_lower_slot_stays) {
  Room room(100);
  TakeUp made;
  Table table(room.bytes(), options_of(100), made);
  const Key key = key_number(4);
  const std::uint64_t hash = table.hasher()(&key);
  // Another worker's insert that looked before ours was there: the same entry in another slot of the bucket.
  const auto publish_double = [&](std::uint32_t from, std::uint32_t to) {
    table.entry(to) = table.entry(from);
    table.detail(to) = table.detail(from);
    room.tags(table)[to] = room.tags(table)[from];
  };
  const std::uint32_t low = insert(table, key).slot;
  publish_double(low, low + 1);
  Inserted stays = Race::settle(table, hash, key.reply(), low + 1);
  EXPECT_EQ(stays.outcome, Outcome::kExisted) << "the higher one gives way";
  EXPECT_EQ(stays.slot, low);
  EXPECT_EQ(stays.direction, 1);
  EXPECT_EQ(room.tags(table)[low + 1], abi::kFlowTagRetired);

  publish_double(low, low + 2);
  stays = Race::settle(table, hash, key, low);
  EXPECT_EQ(stays.outcome, Outcome::kInserted)
      << "the lower one removes the other, which may have looked too early";
  EXPECT_EQ(stays.slot, low);
  EXPECT_EQ(room.tags(table)[low + 2], abi::kFlowTagRetired);
  EXPECT_EQ(table.look_up(&key, 1).slot, low);
}

TEST_F(TableTest, a_second_packet_of_a_burst_shares_the_flow) {
  const Key key = key_number(5);
  const Inserted first = insert(table, key);
  const Inserted again = insert(table, key.reply());
  EXPECT_EQ(again.outcome, Outcome::kExisted);
  EXPECT_EQ(again.slot, first.slot);
  EXPECT_EQ(again.direction, 1);
  EXPECT_EQ(table.live(), 1u);
}

TEST_F(TableTest, a_retired_slot_is_not_found_and_not_used_before_its_grace_period) {
  const Key key = key_number(6);
  const std::uint32_t slot = insert(table, key).slot;
  EXPECT_TRUE(table.remove(0, slot));
  EXPECT_FALSE(table.remove(0, slot));
  EXPECT_EQ(table.live(), 0u);
  EXPECT_EQ(table.look_up(&key, 1).found, Found::kMiss);

  Grace grace;
  table.reclaim(0, grace);
  EXPECT_EQ(grace.started, 1u);
  table.reclaim(0, grace);  // not over yet
  EXPECT_EQ(room.tags(table)[slot], abi::kFlowTagRetired);
  EXPECT_NE(insert(table, key).slot, slot);
  grace.over = true;
  table.reclaim(0, grace);
  EXPECT_EQ(room.tags(table)[slot], abi::kFlowTagFree);
}

TEST_F(TableTest, what_is_retired_during_a_grace_period_waits_for_the_next_one) {
  const std::uint32_t first = insert(table, key_number(1)).slot;
  const std::uint32_t second = insert(table, key_number(2)).slot;
  Grace grace;
  table.remove(0, first);
  table.reclaim(0, grace);
  table.remove(0, second);
  grace.over = true;
  table.reclaim(0, grace);
  EXPECT_EQ(room.tags(table)[first], abi::kFlowTagFree);
  EXPECT_EQ(room.tags(table)[second], abi::kFlowTagRetired);
  EXPECT_EQ(grace.started, 2u);
  table.reclaim(0, grace);
  EXPECT_EQ(room.tags(table)[second], abi::kFlowTagFree);
}

TEST_F(TableTest, another_generation_is_stale_until_it_is_judged_again) {
  const Key key = key_number(7);
  const std::uint32_t slot = insert(table, key, 4).slot;
  EXPECT_EQ(table.look_up(&key, 4).found, Found::kHit);
  const Probe newer = table.look_up(&key, 5);
  EXPECT_EQ(newer.found, Found::kStale);
  EXPECT_EQ(newer.slot, slot);
  table.restamp(slot, {5, {11, 22}}, {{3, 4}, 5, 6});
  EXPECT_EQ(table.look_up(&key, 4).found, Found::kStale)
      << "a worker that still holds the old image judges itself";
  const Probe judged = table.look_up(&key, 5);
  EXPECT_EQ(judged.found, Found::kHit);
  EXPECT_EQ(judged.in_port, 11);
  EXPECT_EQ(judged.out_port, 22);
  EXPECT_EQ(table.detail(slot).rule[0], 3u);
  EXPECT_EQ(table.detail(slot).rule[1], 4u);
  EXPECT_EQ(table.detail(slot).source_endpoint, 5u);
  EXPECT_EQ(table.detail(slot).destination_endpoint, 6u);
}

/// The short way says yes only where resolve() finds an established, current conversation that goes from the one port to the other.
/// An IPv4 packet of this key as it lies in a frame; TTL and checksum are `beyond` the key.
WireV4 wire_of(const Key& key, std::uint8_t beyond = 64) {
  std::uint8_t bytes[16] = {beyond, key.protocol, beyond, beyond};
  std::memcpy(bytes + 4, key.source.bytes.data() + 12, 4);
  std::memcpy(bytes + 8, key.destination.bytes.data() + 12, 4);
  bytes[12] = static_cast<std::uint8_t>(key.source_port >> 8);
  bytes[13] = static_cast<std::uint8_t>(key.source_port);
  bytes[14] = static_cast<std::uint8_t>(key.destination_port >> 8);
  bytes[15] = static_cast<std::uint8_t>(key.destination_port);
  return {_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes))};
}

TEST_F(TableTest, a_frame_hashes_as_its_key_does) {
  for (std::uint32_t n = 0; n < 5'000; ++n) {
    const Key key = key_number(n);
    if (!key.source.is_v4()) continue;
    EXPECT_EQ(table.hasher()(wire_of(key, static_cast<std::uint8_t>(n))), table.hasher()(&key));
    EXPECT_EQ(table.hasher()(wire_of(key.reply())), table.hasher()(&key));
  }
}

TEST_F(TableTest, what_surely_continues_resolves_to_the_same) {
  for (std::uint32_t n = 0; n < 500; ++n) {
    const Key key = key_number(n);
    const Inserted in = insert(table, key, 7);
    abi::FlowEntry& entry = table.entry(in.slot);
    entry.port[0] = 3;
    entry.port[1] = n % 5 == 0 ? 3 : 4;
    entry.last_seen_s = static_cast<std::uint16_t>(n);
    const Way there(7, 3, entry.port[1]), back(7, entry.port[1], 3);
    for (const Key& asked : {key, key.reply()}) {
      const Probe probe = table.look_up(&asked, 7);
      ASSERT_EQ(probe.found, Found::kHit);
      for (const auto& [in_port, out_port] : {std::pair(3, 4), {4, 3}, {3, 3}, {3, 9}, {9, 4}}) {
        std::size_t direction = 2;
        const bool right = in_port == probe.in_port && out_port == probe.out_port;
        const Way way(7, static_cast<std::uint16_t>(in_port), static_cast<std::uint16_t>(out_port));
        if (Lookup::continues(entry, wire_of(asked), way, direction)) {
          EXPECT_EQ(direction, probe.direction);
          EXPECT_TRUE(right && key.source.is_v4());
        } else if (key.source.is_v4() && entry.port[0] != entry.port[1]) {
          EXPECT_FALSE(right) << "the ports tell the directions apart";
        }
      }
    }
    if (!key.source.is_v4()) continue;
    std::size_t direction = 0;
    ASSERT_TRUE(Lookup::continues(entry, wire_of(key), there, direction));
    EXPECT_FALSE(Lookup::continues(entry, wire_of(key), {8, 3, entry.port[1]}, direction));
    EXPECT_EQ(Lookup::continues(entry, wire_of(key.reply()), back, direction),
              entry.port[0] != entry.port[1]);
    // Every bit of the packet's, and of the entry's but of what is said to be left out.
    for (std::size_t bit = 0; bit < 128; ++bit) {
      WireV4 other = wire_of(key);
      reinterpret_cast<std::uint8_t*>(&other)[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
      const bool beyond = bit < 8 || (bit >= 16 && bit < 32);
      EXPECT_EQ(Lookup::continues(entry, other, there, direction), beyond) << "bit " << bit;
    }
    for (std::size_t bit = 0; bit < 8 * 48; ++bit) {
      abi::FlowEntry other = entry;
      reinterpret_cast<std::uint8_t*>(&other)[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
      const bool left_out = bit < 8 * 12 || (bit >= 8 * 37 && bit < 8 * 40);
      EXPECT_EQ(Lookup::continues(other, wire_of(key), there, direction), left_out) << "bit " << bit;
    }
  }
}

TEST_F(TableTest, counters_carry_into_the_cold_line) {
  const std::uint32_t slot = insert(table, key_number(8)).slot;
  for (int i = 0; i < 3; ++i) table.touch(slot, 0, 2, 0x6000'0000u, 9);
  table.touch(slot, 1, 0xffff'ffffu, 1, 9);
  table.touch(slot, 1, 1, 1, 9);
  EXPECT_EQ(table.entry(slot).count[0].packets, 6u);
  EXPECT_EQ(table.detail(slot).packets_high[0], 0u);
  EXPECT_EQ(table.entry(slot).count[0].bytes, 0x2000'0000u);
  EXPECT_EQ(table.detail(slot).bytes_high[0], 1u);
  EXPECT_EQ(table.entry(slot).count[1].packets, 0u);
  EXPECT_EQ(table.detail(slot).packets_high[1], 1u);
  EXPECT_EQ(table.entry(slot).count[1].bytes, 2u);
  EXPECT_EQ(table.entry(slot).last_seen_s, 9u);
  // The short way changes nothing where it cannot do all.
  const abi::FlowEntry before = table.entry(slot);
  EXPECT_FALSE(account(table.entry(slot), 0, 1, 0xe000'0000u, 10));
  EXPECT_FALSE(account(table.entry(slot), 0, 0xffff'fffau, 1, 10));
  EXPECT_EQ(std::memcmp(&before, &table.entry(slot), sizeof before), 0);
  EXPECT_TRUE(account(table.entry(slot), 0, 0xffff'fff9u, 0xdfff'ffffu, 10));
  EXPECT_EQ(table.entry(slot).count[0].packets, 0xffff'ffffu);
  EXPECT_EQ(table.entry(slot).count[0].bytes, 0xffff'ffffu);
  EXPECT_EQ(table.entry(slot).last_seen_s, 10u);
}

TEST_F(TableTest, a_kept_slot_number_is_checked_before_use) {
  const Key key = key_number(9), reply = key.reply(), other = key_number(10);
  const std::uint64_t hash = table.hasher()(&key);
  const std::uint32_t slot = insert(table, key).slot;
  std::uint8_t direction = 9;
  EXPECT_TRUE(table.holds(slot, hash, &key, direction));
  EXPECT_EQ(direction, 0);
  EXPECT_TRUE(table.holds(slot, hash, &reply, direction));
  EXPECT_EQ(direction, 1);
  EXPECT_FALSE(table.holds(slot, table.hasher()(&other), &other, direction));
  EXPECT_FALSE(table.holds(kNoSlot, hash, &key, direction));
  table.remove(0, slot);
  EXPECT_FALSE(table.holds(slot, hash, &key, direction));
}

TEST(TableBounds, the_bound_is_exact_for_one_worker_and_returns_with_removal) {
  Room room(100);
  TakeUp made;
  Table table(room.bytes(), options_of(100), made);
  std::vector<std::uint32_t> slots;
  for (std::uint32_t n = 0; n < 100; ++n) {
    const Inserted in = insert(table, key_number(n));
    ASSERT_EQ(in.outcome, Outcome::kInserted) << n;
    table.entry(in.slot).state = abi::FlowState::kEstablished;
    slots.push_back(in.slot);
  }
  const Inserted over = insert(table, key_number(100));
  EXPECT_EQ(over.outcome, Outcome::kFull);
  EXPECT_FALSE(over.evicted);
  EXPECT_EQ(table.live(), 100u);
  table.remove(0, slots[40]);
  const Inserted again = insert(table, key_number(100));
  EXPECT_EQ(again.outcome, Outcome::kInserted);
  EXPECT_FALSE(again.evicted);
  table.entry(again.slot).state = abi::FlowState::kEstablished;
  EXPECT_EQ(insert(table, key_number(101)).outcome, Outcome::kFull);
}

TEST(TableBounds, established_flows_are_never_evicted_and_the_oldest_half_open_goes_first) {
  Room room(32);  // 64 slots: one chain covers the table
  TakeUp made;
  Table table(room.bytes(), options_of(32), made);
  std::vector<std::uint32_t> slots;
  for (std::uint32_t n = 0; n < 32; ++n) {
    slots.push_back(insert(table, key_number(n), 1, static_cast<std::uint16_t>(100 + n)).slot);
    table.entry(slots[n]).state = n % 2 ? abi::FlowState::kEstablished : abi::FlowState::kSynAck;
  }
  // All half-open ones give way to new flows that are established at once, then it is full.
  for (std::uint32_t n = 0; n < 16; ++n) {
    const Inserted in = insert(table, key_number(1000 + n), 1, 200);
    ASSERT_EQ(in.outcome, Outcome::kInserted) << n;
    EXPECT_TRUE(in.evicted);
    table.entry(in.slot).state = abi::FlowState::kClosing;
    reclaim_all(table);
  }
  EXPECT_EQ(insert(table, key_number(2000), 1, 200).outcome, Outcome::kFull);
  for (std::uint32_t n = 0; n < 32; ++n) {
    const Key key = key_number(n);
    EXPECT_EQ(table.look_up(&key, 1).found, n % 2 ? Found::kHit : Found::kMiss) << n;
  }
}

TEST(TableBounds, within_a_bucket_the_oldest_half_open_goes_first) {
  Room room(32);
  TakeUp made;
  Table table(room.bytes(), options_of(32), made);
  // Keys of one first bucket of the four.
  std::vector<Key> keys;
  const Key lead = key_number(0);
  for (std::uint32_t n = 0; keys.size() < 10; ++n) {
    const Key key = key_number(n);
    if ((table.hasher()(&key) & 3) == (table.hasher()(&lead) & 3)) keys.push_back(key);
  }
  for (std::uint16_t i = 0; i < 8; ++i) insert(table, keys[i], 1, static_cast<std::uint16_t>(50 - i));
  std::uint32_t filler = 0;
  while (table.live() < 32) {
    const Key key = key_number(5000 + filler++);
    if ((table.hasher()(&key) & 3) != (table.hasher()(&lead) & 3)) insert(table, key, 1, 1);
  }
  EXPECT_TRUE(insert(table, keys[8], 1, 60).evicted);
  EXPECT_EQ(table.look_up(&keys[7], 1).found, Found::kMiss);
  EXPECT_EQ(table.look_up(&keys[6], 1).found, Found::kHit);
  // A finished one goes before any half-open one, however young.
  table.entry(table.look_up(&keys[0], 1).slot).state = abi::FlowState::kClosed;
  EXPECT_TRUE(insert(table, keys[9], 1, 60).evicted);
  EXPECT_EQ(table.look_up(&keys[0], 1).found, Found::kMiss);
  EXPECT_EQ(table.look_up(&keys[6], 1).found, Found::kHit);
}

TEST(TableChains, an_overflowed_bucket_stays_searched_across_deletes) {
  Room room(1000);
  TakeUp made;
  Table table(room.bytes(), options_of(1000), made);
  std::vector<Key> keys;  // of one first bucket
  const std::uint64_t mask = table.buckets() - 1;
  for (std::uint32_t n = 0; keys.size() < 40; ++n) {
    const Key key = key_number(n);
    if ((table.hasher()(&key) & mask) == 5) keys.push_back(key);
  }
  std::vector<std::uint32_t> slots;
  for (const Key& key : keys) slots.push_back(insert(table, key).slot);
  for (std::uint32_t i = 0; i < 40; ++i) EXPECT_EQ(slots[i] / 16 == 5, i < 16) << i;
  // The first bucket empties; those beyond it are still found, and new ones do not hide them.
  for (std::uint32_t i = 0; i < 16; ++i) table.remove(0, slots[i]);
  reclaim_all(table);
  for (std::uint32_t i = 0; i < 40; ++i)
    EXPECT_EQ(table.look_up(&keys[i], 1).found, i < 16 ? Found::kMiss : Found::kHit) << i;
  EXPECT_EQ(insert(table, keys[20]).outcome, Outcome::kExisted);
  EXPECT_EQ(insert(table, keys[0]).slot / 16, 5u);
  for (std::uint32_t i = 16; i < 40; ++i) EXPECT_TRUE(table.remove(0, slots[i]));
  reclaim_all(table);
  EXPECT_EQ(table.live(), 1u);
  EXPECT_EQ(table.look_up(&keys[30], 1).found, Found::kMiss);
}

TEST(TableAge, silent_flows_end_after_their_states_timeout) {
  Room room(1000);
  TakeUp made;
  Table table(room.bytes(), options_of(1000), made);
  const Timeouts timeouts;
  const Key tcp = key_number(1), udp = key_number(2), busy = key_number(5);
  const std::uint32_t tcp_slot = insert(table, tcp, 1, 65'530).slot;
  const std::uint32_t udp_slot = insert(table, udp, 1, 65'530).slot;
  const std::uint32_t busy_slot = insert(table, busy, 1, 65'530).slot;
  table.entry(tcp_slot).state = abi::FlowState::kEstablished;
  table.touch(busy_slot, 0, 1, 1, 30);  // the clock's 16 bits have wrapped
  std::vector<std::uint32_t> ended;
  const auto note = [&](std::uint32_t slot, const abi::FlowEntry&, const abi::FlowDetail&) {
    ended.push_back(slot);
  };
  Swept swept = table.age(0, 24, table.share(0), timeouts, note);
  EXPECT_EQ(swept.ended, 0u) << "30 s exactly, and a clock slightly behind, are no silence";
  EXPECT_EQ(swept.live, 3u);
  swept = table.age(0, 25, table.share(0), timeouts, note);
  EXPECT_EQ(ended, std::vector<std::uint32_t>{udp_slot});
  swept = table.age(0, static_cast<std::uint16_t>(65'530 + 21'600), table.share(0), timeouts, note);
  EXPECT_EQ(ended, (std::vector<std::uint32_t>{udp_slot, busy_slot}));
  swept = table.age(0, static_cast<std::uint16_t>(65'530 + 21'601), table.share(0), timeouts, note);
  EXPECT_EQ(swept.ended, 1u);
  EXPECT_EQ(table.live(), 0u);
}

TEST(TableAge, workers_share_the_whole_table_without_overlap) {
  Room room(1000);
  TakeUp made;
  Table table(room.bytes(), options_of(1000, 3), made);
  for (std::uint32_t n = 0; n < 900; ++n) insert(table, key_number(n), 1, 0, n % 3);
  std::uint32_t seen = 0, shares = 0;
  for (std::uint32_t worker = 0; worker < 3; ++worker) {
    shares += table.share(worker);
    for (std::uint32_t i = 0; i < table.share(worker); ++i) seen += table.age(worker, 1, 1, Timeouts{}).live;
  }
  EXPECT_EQ(shares, table.buckets());
  EXPECT_EQ(seen, 900u);
}

}  // namespace
}  // namespace bulkhead::flow
