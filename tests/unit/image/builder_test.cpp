#include "dataplane/image/builder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "dataplane/image/layout.h"
#include "tests/unit/image/sample.h"

namespace bulkhead::image {
namespace {

using sample::Image;
using sample::Shape;
using sample::Tables;

View view_of(const Image& image) {
  const auto result = validate(image.sections());
  if (const auto* refusal = std::get_if<Refusal>(&result)) ADD_FAILURE() << refusal->reason;
  return std::get<View>(result);
}

std::string reason_of(const std::variant<std::vector<std::byte>, Refusal>& result) {
  const auto* refusal = std::get_if<Refusal>(&result);
  return refusal ? refusal->reason : "not refused";
}

abi::Address v4(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d) {
  return abi::address_v4(std::uint32_t{a} << 24 | std::uint32_t{b} << 16 | std::uint32_t{c} << 8 | d);
}

bool contains(const BlockRecord& block, const abi::Address& address) {
  for (std::uint32_t bit = 0; bit < block.prefix_bits; ++bit)
    if (((block.base.bytes[bit / 8] ^ address.bytes[bit / 8]) & (0x80 >> bit % 8)) != 0) return false;
  return (block.prefix_bits >= 96 && block.base.is_v4()) == address.is_v4();
}

/// Into the worlds.
std::uint32_t world_of(const PolicyTables& tables, const abi::Address& address) {
  const BlockRecord* best = nullptr;
  for (const BlockRecord& block : tables.blocks)
    if (contains(block, address) && (best == nullptr || best->prefix_bits < block.prefix_bits)) best = &block;
  if (best != nullptr) return best->record;
  return address.is_v4() ? tables.world_v4 : tables.world_v6;
}

std::uint32_t first_world(const View& view) {
  return static_cast<std::uint32_t>(1 + view.policy->record_homes + kProbesMax);
}

TEST(Builder, same_tables_make_the_same_bytes) {
  const Image first = sample::build(sample::make_tables());
  const Image second = sample::build(sample::make_tables());
  EXPECT_EQ(first, second);
}

TEST(Builder, order_of_addresses_and_blocks_does_not_matter) {
  Tables tables = sample::make_tables();
  const Image first = sample::build(tables);
  std::reverse(tables.bound.begin(), tables.bound.end());
  std::reverse(tables.policy.blocks.begin(), tables.policy.blocks.end());
  std::reverse(tables.policy.profiles.begin(), tables.policy.profiles.end());
  EXPECT_EQ(first, sample::build(tables));
}

TEST(Builder, every_change_changes_the_digest) {
  Tables tables = sample::make_tables();
  const Digest before = image_digest(view_of(sample::build(tables)));
  tables.policy.verdicts[0] ^= tables.policy.verdicts[0] & ~kAllowBit ? 0 : kAllowBit;
  tables.policy.rules[1].line += 1;
  EXPECT_NE(before, image_digest(view_of(sample::build(tables))));
}

TEST(Builder, digests_of_image_after_image_are_what_each_has_alone) {
  ImageDigests digests;
  for (const std::uint32_t endpoints : {5'000u, 5'001u, 5'000u, 3u, 5'001u}) {
    Shape shape;
    shape.endpoints = endpoints;
    const Image image = sample::build(sample::make_tables(shape));
    const View view = view_of(image);
    EXPECT_EQ(digests.of(view), image_digest(view)) << endpoints;
    EXPECT_EQ(digests.of(view), image_digest(view)) << "again";
  }
}

TEST(Builder, every_address_is_bound_as_it_was_given) {
  for (const std::uint32_t endpoints : {0u, 1u, 7u, 8u, 100u, 20'000u}) {
    Shape shape;
    shape.endpoints = endpoints;
    shape.local = std::min(endpoints, 100u);
    const Tables tables = sample::make_tables(shape);
    const Image image = sample::build(tables);
    const View view = view_of(image);
    EXPECT_EQ(view.shard_mask + 1, shards_for(tables.bound.size()));
    for (const sample::Owned& owned : tables.bound) {
      const Bound found = bind(view, owned.address);
      ASSERT_EQ(view.record(found.record).profile, owned.profile);
      ASSERT_EQ(view.name_of(found.endpoint), tables.endpoints[owned.owner - 1].name);
      ASSERT_EQ(view.id_of(found.endpoint), tables.endpoints[owned.owner - 1].id);
    }
    std::uint32_t seen = 0, local = 0;
    view.for_each_endpoint([&](std::uint32_t) { ++seen; });
    view.for_each_local([&](std::uint32_t number) { local += view.endpoint(number).port != 0 ? 1 : 0; });
    EXPECT_EQ(seen, endpoints);
    EXPECT_EQ(local, shape.local);
    EXPECT_EQ(bind(view, v4(192, 0, 2, 1)).endpoint, 0u);
  }
}

TEST(Builder, another_seed_parts_addresses_that_crowd_one_home) {
  Tables tables = sample::make_tables();
  tables.bound.clear();
  tables.endpoints.clear();
  const Profile profile = tables.policy.profiles[3].profile;
  constexpr std::uint64_t kMask = 63;  // 17 to 32 addresses
  for (std::uint32_t i = 0; tables.bound.size() <= kProbesMax; ++i)
    if ((slot_hash(0, sample::endpoint_v4(i)) & kMask) == 5)
      tables.bound.push_back({sample::endpoint_v4(i), profile, 0});
  const Image image = sample::build(tables);
  const View view = view_of(image);
  EXPECT_EQ(view.shards[0].slots.mask, kMask);
  EXPECT_EQ(view.shards[0].header->slot_seed, 1u);
  for (const sample::Owned& owned : tables.bound)
    EXPECT_EQ(view.record(bind(view, owned.address).record).profile, profile);
}

TEST(Builder, another_factor_parts_profiles_that_crowd_one_home) {
  Tables tables = sample::make_tables();
  const Record one = tables.policy.profiles[0];
  for (Profile i = 1; i <= kProbesMax + 4; ++i) {
    tables.policy.profiles.push_back(one);
    tables.policy.profiles.back().profile = 0x1234'5678'0000'0000u | i;
  }
  const Image image = sample::build(tables);
  const View view = view_of(image);
  EXPECT_NE(view.record_factor, 1u);
  EXPECT_EQ(view.record_homes, tables.policy.profiles.size() * 3 / 2);
  for (const Record& record : tables.policy.profiles) {
    const std::uint32_t found = record_of(view, record.profile);
    ASSERT_NE(found, 0u);
    EXPECT_EQ(view.labels_of_identity(view.record(found).identity),
              tables.identities[record.identity - 1].labels);
  }
  EXPECT_EQ(record_of(view, 0x1234'5678'9abc'def0u), 0u);
}

TEST(Builder, rule_sets_that_differ_about_one_port_share_the_other_pages) {
  Shape shape;
  shape.port_classes = 20;
  Tables tables = sample::make_tables(shape);
  PolicyTables& p = tables.policy;
  for (std::uint32_t set = 1; set < p.rule_sets; ++set)
    std::copy_n(p.verdicts.begin(), p.port_classes, p.verdicts.begin() + set * p.port_classes);
  for (std::uint32_t set = 0; set < p.rule_sets; ++set)
    p.verdicts[set * p.port_classes + 9] = set % 2 == 0 ? kAllowBit : 0;
  const Image image = sample::build(tables);
  const View view = view_of(image);
  EXPECT_EQ(view.policy->verdicts.count, 3 * kVerdictPage);
  for (std::uint32_t set = 0; set < p.rule_sets; ++set)
    for (std::uint32_t port = 0; port < p.port_classes; ++port)
      ASSERT_EQ(answer(view, set, port), p.verdicts[set * p.port_classes + port]) << set << ", " << port;
}

TEST(Builder, profile_that_the_policy_section_does_not_know_is_denied) {
  Tables tables = sample::make_tables();
  tables.bound[0].profile = 0x1234'5678'9abc'def0u;
  const Image image = sample::build(tables);
  const View view = view_of(image);
  const Bound stranger = bind(view, tables.bound[0].address), other = bind(view, sample::endpoint_v4(2));
  EXPECT_EQ(stranger.record, 0u);
  EXPECT_EQ(judge(view, stranger, other, kTcp, 80).fate, abi::Fate::kUnidentified);
  EXPECT_EQ(judge(view, other, stranger, kTcp, 80).fate, abi::Fate::kUnidentified);
}

/// What makes the cost of a change follow its size.
TEST(Builder, another_endpoint_leaves_nearly_every_shard_as_it_is) {
  Shape shape;
  shape.endpoints = 20'000;
  Tables tables = sample::make_tables(shape);
  const Image before = sample::build(tables);
  ASSERT_EQ(before.shards.size(), kShardsMax);
  tables.endpoints.push_back({"new", "id-new", {v4(172, 16, 0, 1), abi::Address{{0xfc, 1}}}});
  for (const abi::Address& address : tables.endpoints.back().addresses)
    tables.bound.push_back(
        {address, tables.policy.profiles[0].profile, static_cast<std::uint32_t>(tables.endpoints.size())});
  const Image after = sample::build(tables);
  EXPECT_EQ(before.policy, after.policy);
  std::size_t changed = 0;
  for (std::size_t i = 0; i < before.shards.size(); ++i) changed += before.shards[i] != after.shards[i];
  EXPECT_GE(changed, 1u);
  EXPECT_LE(changed, 12u) << "its own, its addresses', and those of a few that moved up a place";
}

TEST(Builder, address_table_stays_at_most_half_full_but_not_much_larger) {
  Shape shape;
  shape.endpoints = 50'000;
  const View view = view_of(sample::build(sample::make_tables(shape)));
  std::uint64_t slots = 0;
  for (std::uint32_t shard = 0; shard <= view.shard_mask; ++shard)
    slots += view.shards[shard].slots.mask + std::uint64_t{1};
  EXPECT_GE(slots, 200'000u);  // 100,000 addresses
  EXPECT_LE(slots, 300'000u);
}

TEST(Builder, longest_block_wins_in_both_families) {
  Shape shape;
  shape.blocks = 256;  // every prefix length
  const Tables tables = sample::make_tables(shape);
  const Image image = sample::build(tables);
  const View view = view_of(image);
  std::mt19937_64 random(7);
  for (const BlockRecord& block : tables.policy.blocks)
    for (int i = 0; i < 64; ++i) {
      // Near the block: its base with some of the lower bits, or one of the upper ones, changed.
      abi::Address address = block.base;
      const std::uint64_t bit = (block.base.is_v4() ? 96 : 0) + random() % (block.base.is_v4() ? 32 : 128);
      if (i != 0)
        address.bytes[bit / 8] = static_cast<std::uint8_t>(address.bytes[bit / 8] ^ (0x80 >> bit % 8));
      if (i > 32) address.bytes[15] = static_cast<std::uint8_t>(random());
      const bool bound = std::any_of(tables.bound.begin(), tables.bound.end(),
                                     [&](const sample::Owned& one) { return one.address == address; });
      if (bound) continue;
      ASSERT_EQ(bind(view, address).record, first_world(view) + world_of(tables.policy, address));
    }
}

TEST(Builder, whole_family_block_replaces_that_family_only) {
  Tables tables = sample::make_tables();
  tables.policy.blocks = {{v4(0, 0, 0, 0), 96, 2}};
  const Image only_v4 = sample::build(tables);
  const View v4_view = view_of(only_v4);
  const std::uint32_t first = first_world(v4_view);
  EXPECT_EQ(bind(v4_view, v4(1, 2, 3, 4)).record, first + 2);
  EXPECT_EQ(bind(v4_view, abi::Address{{0x20, 1}}).record, first + tables.policy.world_v6);
  tables.policy.blocks = {{abi::Address{}, 0, 2}};
  const Image only_v6 = sample::build(tables);
  EXPECT_EQ(bind(view_of(only_v6), v4(1, 2, 3, 4)).record, first + tables.policy.world_v4);
  EXPECT_EQ(bind(view_of(only_v6), abi::Address{{0x20, 1}}).record, first + 2);
}

TEST(Builder, judgement_is_what_the_tables_say) {
  const Tables tables = sample::make_tables();
  const Image image = sample::build(tables);
  const View view = view_of(image);
  const PolicyTables& p = tables.policy;
  const auto decision = [&](std::uint32_t direction, const Record& subject, const Record& peer,
                            std::uint32_t port_class) {
    if (subject.subject[direction] == kNoSubject) return kAllowBit;
    const std::size_t cell =
        std::size_t{subject.subject[direction]} * p.peer_classes[direction] + peer.peer[direction];
    return p.verdicts[std::size_t{p.matrix[direction][cell]} * p.port_classes + port_class];
  };
  std::set<abi::Fate> fates;
  for (std::uint32_t from = 0; from <= 20; ++from)
    for (std::uint32_t to = 0; to <= 20; ++to)
      for (const std::uint16_t port : {0, 1, 80, 255, 256, 443, 0xffff})
        for (std::uint32_t slot = 0; slot < kProtocolSlots; ++slot) {
          const Bound source = bind(view, sample::endpoint_v4(from));
          const Bound destination = bind(view, sample::endpoint_v6(to));
          const Judgement judgement = judge(view, source, destination, ProtocolSlot{slot}, port);
          fates.insert(judgement.fate);
          if (from == to && from != 0) {
            ASSERT_TRUE(judgement.allowed());
            continue;
          }
          const std::uint32_t ports = p.pages[p.page_of[slot * 256 + port / 256] * kPageEntries + port % 256];
          const Record sender = view.record(source.record);
          const Record receiver = view.record(destination.record);
          const Decision egress = decision(kEgress, sender, receiver, ports);
          const Decision ingress = decision(kIngress, receiver, sender, ports);
          ASSERT_EQ(judgement.allowed(), (egress & ingress & kAllowBit) != 0);
          if (judgement.allowed()) {
            ASSERT_EQ(judgement.rule, ingress & ~kAllowBit);
            ASSERT_EQ(judgement.egress_rule, egress & ~kAllowBit);
          } else {
            ASSERT_EQ(judgement.direction, (egress & kAllowBit) == 0 ? kEgress : kIngress);
            ASSERT_EQ(judgement.fate == abi::Fate::kDeniedPolicy, judgement.rule != 0);
          }
        }
  EXPECT_EQ(fates.size(), 4u);  // allowed and every kind of denial occurred
}

TEST(Builder, duplicate_address_is_refused) {
  ShardTables shard = sample::shard_tables(sample::make_tables())[0];
  shard.bound.push_back(shard.bound[3]);
  EXPECT_EQ(reason_of(build_shard(shard)), "address " + text(shard.bound[3].address) + " is bound twice");
}

TEST(Builder, port_with_two_owners_is_no_image) {
  Tables tables = sample::make_tables();
  tables.endpoints[4].port = 2;
  const auto result = validate(sample::build(tables).sections());
  const std::string reason = std::get<Refusal>(result).reason;
  EXPECT_EQ(reason.find("image: port 2 is claimed by two endpoints, shop/web-"), 0u) << reason;
}

TEST(Builder, too_large_a_section_is_refused_with_its_largest_table) {
  const Tables tables = sample::make_tables();
  EXPECT_NE(reason_of(build_policy(tables.policy, {5'000})).find("trie with 12 address blocks"),
            std::string::npos);
  const ShardTables shard = sample::shard_tables(tables)[0];
  EXPECT_NE(reason_of(build_shard(shard, {1'000})).find("its largest table is slots"), std::string::npos);
  const std::size_t exact = sample::build(tables).policy.size();
  EXPECT_EQ(reason_of(build_policy(tables.policy, {exact})), "not refused");
  EXPECT_EQ(
      reason_of(build_policy(tables.policy, {exact - 1}))
          .find("the policy section needs " + std::to_string(exact) + " bytes, more than the bound of " +
                std::to_string(exact - 1) + "; its largest table is trie with "),
      0u);
}

TEST(Builder, tables_that_break_the_format_make_what_the_reader_refuses) {
  Tables tables = sample::make_tables();
  tables.policy.matrix[kEgress][3] = tables.policy.rule_sets;
  const Image image = sample::build(tables);
  const auto read = validate(image.sections());
  ASSERT_TRUE(std::holds_alternative<Refusal>(read));
  EXPECT_NE(std::get<Refusal>(read).reason.find(": rule set 12, but there are 12"), std::string::npos);
}

TEST(StringTable, equal_strings_are_stored_once) {
  StringTable strings;
  const StringRef empty = strings.add("");
  const StringRef first = strings.add("app");
  const StringRef second = strings.add("tier");
  const StringRef again = strings.add("app");
  EXPECT_EQ(empty.bytes, 0u);
  EXPECT_EQ(first.offset, again.offset);
  EXPECT_EQ(second.offset, 3u);
  EXPECT_EQ(strings.bytes().size(), 7u);
}

TEST(Hex, prints_the_bytes_in_order) {
  Digest digest{};
  digest.bytes[0] = 0xab;
  digest.bytes[31] = 0x01;
  EXPECT_EQ(hex(digest), "ab" + std::string(60, '0') + "01");
}

}  // namespace
}  // namespace bulkhead::image
