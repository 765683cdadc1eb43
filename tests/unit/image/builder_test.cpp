#include "dataplane/image/builder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/unit/image/sample.h"

namespace bulkhead::image {
namespace {

using sample::Image;
using sample::Shape;
using sample::Tables;

View view_of(const Image& image) {
  const auto result = validate(image.policy, image.binding);
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

std::uint32_t record_of_blocks(const BindingTables& tables, const abi::Address& address) {
  const BlockRecord* best = nullptr;
  for (const BlockRecord& block : tables.blocks)
    if (contains(block, address) && (best == nullptr || best->prefix_bits < block.prefix_bits)) best = &block;
  if (best != nullptr) return best->record;
  return address.is_v4() ? tables.world_record_v4 : tables.world_record_v6;
}

TEST(Builder, same_tables_make_the_same_bytes) {
  const Image first = sample::build(sample::make_tables());
  const Image second = sample::build(sample::make_tables());
  EXPECT_EQ(first.policy, second.policy);
  EXPECT_EQ(first.binding, second.binding);
}

TEST(Builder, order_of_addresses_and_blocks_does_not_matter) {
  Tables tables = sample::make_tables();
  const Image first = sample::build(tables);
  std::reverse(tables.binding.bound.begin(), tables.binding.bound.end());
  std::reverse(tables.binding.blocks.begin(), tables.binding.blocks.end());
  EXPECT_EQ(first.binding, sample::build(tables).binding);
}

TEST(Builder, every_change_changes_the_digest) {
  Tables tables = sample::make_tables();
  const Digest before = image_digest(view_of(sample::build(tables)));
  tables.policy.verdicts[0] ^= tables.policy.verdicts[0] & ~kAllowBit ? 0 : kAllowBit;
  tables.policy.rules[1].line += 1;
  EXPECT_NE(before, image_digest(view_of(sample::build(tables))));
}

TEST(Builder, every_address_is_bound_as_it_was_given) {
  for (const std::uint32_t endpoints : {0u, 1u, 7u, 8u, 100u, 20'000u}) {
    Shape shape;
    shape.endpoints = endpoints;
    shape.local = std::min(endpoints, 100u);
    const Tables tables = sample::make_tables(shape);
    const Image image = sample::build(tables);
    const View view = view_of(image);
    for (const BoundAddress& bound : tables.binding.bound) {
      const Bound found = bind(view, bound.address);
      ASSERT_EQ(found.record, bound.record);
      ASSERT_EQ(found.endpoint, bound.endpoint);
    }
    EXPECT_EQ(bind(view, v4(192, 0, 2, 1)).endpoint, 0u);
  }
}

TEST(Builder, another_seed_parts_addresses_that_crowd_one_home) {
  Tables tables = sample::make_tables();
  tables.binding.bound.clear();
  constexpr std::uint64_t kMask = 63;  // 17 to 32 addresses
  for (std::uint32_t i = 0; tables.binding.bound.size() <= kProbesMax; ++i)
    if ((slot_hash(0, sample::endpoint_v4(i)) & kMask) == 5)
      tables.binding.bound.push_back({sample::endpoint_v4(i), 4, 0});
  const Image image = sample::build(tables);
  const View view = view_of(image);
  EXPECT_EQ(view.slot_mask, kMask);
  EXPECT_EQ(view.binding->slot_seed, 1u);
  for (const BoundAddress& bound : tables.binding.bound) EXPECT_EQ(bind(view, bound.address).record, 4u);
}

TEST(Builder, address_table_stays_at_most_half_full_but_not_much_larger) {
  Shape shape;
  shape.endpoints = 50'000;
  const View view = view_of(sample::build(sample::make_tables(shape)));
  EXPECT_EQ(view.slot_mask + 1, 262'144u);  // 100,000 addresses
}

TEST(Builder, longest_block_wins_in_both_families) {
  Shape shape;
  shape.blocks = 256;  // every prefix length
  const Tables tables = sample::make_tables(shape);
  const Image image = sample::build(tables);
  const View view = view_of(image);
  std::mt19937_64 random(7);
  for (const BlockRecord& block : tables.binding.blocks)
    for (int i = 0; i < 64; ++i) {
      // Near the block: its base with some of the lower bits, or one of the upper ones, changed.
      abi::Address address = block.base;
      const std::uint64_t bit = (block.base.is_v4() ? 96 : 0) + random() % (block.base.is_v4() ? 32 : 128);
      if (i != 0)
        address.bytes[bit / 8] = static_cast<std::uint8_t>(address.bytes[bit / 8] ^ (0x80 >> bit % 8));
      if (i > 32) address.bytes[15] = static_cast<std::uint8_t>(random());
      const bool bound = std::any_of(tables.binding.bound.begin(), tables.binding.bound.end(),
                                     [&](const BoundAddress& one) { return one.address == address; });
      if (bound) continue;
      ASSERT_EQ(bind(view, address).record, record_of_blocks(tables.binding, address));
    }
}

TEST(Builder, whole_family_block_replaces_that_family_only) {
  Tables tables = sample::make_tables();
  tables.binding.blocks = {{v4(0, 0, 0, 0), 96, 3}};
  const Image only_v4 = sample::build(tables);
  EXPECT_EQ(bind(view_of(only_v4), v4(1, 2, 3, 4)).record, 3u);
  EXPECT_EQ(bind(view_of(only_v4), abi::Address{{0x20, 1}}).record, tables.binding.world_record_v6);
  tables.binding.blocks = {{abi::Address{}, 0, 3}};
  const Image only_v6 = sample::build(tables);
  EXPECT_EQ(bind(view_of(only_v6), v4(1, 2, 3, 4)).record, tables.binding.world_record_v4);
  EXPECT_EQ(bind(view_of(only_v6), abi::Address{{0x20, 1}}).record, 3u);
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
          const Record& sender = tables.binding.records[source.record];
          const Record& receiver = tables.binding.records[destination.record];
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

TEST(Builder, duplicate_address_is_refused_by_name) {
  Tables tables = sample::make_tables();
  tables.binding.bound.push_back({sample::endpoint_v4(2), 4, 5});
  EXPECT_EQ(reason_of(build_binding(tables.binding, {})),
            "address 10.0.0.2 is bound twice, to shop/web-2 and to shop/web-5");
}

TEST(Builder, port_with_two_owners_is_refused_by_name) {
  Tables tables = sample::make_tables();
  tables.binding.endpoints[5].port = 2;
  EXPECT_EQ(reason_of(build_binding(tables.binding, {})),
            "port 2 is claimed by two endpoints, shop/web-2 and shop/web-5");
}

TEST(Builder, too_large_a_section_is_refused_with_its_largest_table) {
  const Tables tables = sample::make_tables();
  EXPECT_EQ(reason_of(build_policy(tables.policy, {10'000})).substr(0, 26), "the policy section needs 1");
  EXPECT_NE(reason_of(build_policy(tables.policy, {10'000}))
                .find("more than the bound of 10000; its largest table is pages with 6144 bytes"),
            std::string::npos);
  EXPECT_NE(reason_of(build_binding(tables.binding, {}, {10'000})).find("its largest table is trie"),
            std::string::npos);
  EXPECT_NE(reason_of(build_binding(tables.binding, {}, {1'000})).find("its largest table is slots"),
            std::string::npos);
  EXPECT_NE(reason_of(build_binding(tables.binding, {}, {5'000})).find("trie with 12 address blocks"),
            std::string::npos);
  const std::size_t exact = sample::build(tables).policy.size();
  EXPECT_EQ(reason_of(build_policy(tables.policy, {exact})), "not refused");
  EXPECT_NE(reason_of(build_policy(tables.policy, {exact - 1})), "not refused");
}

TEST(Builder, tables_that_break_the_format_end_the_process) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Tables tables = sample::make_tables();
  tables.policy.matrix[kEgress][3] = tables.policy.rule_sets;
  EXPECT_DEATH((void)build_policy(tables.policy), "table matrix\\[egress\\], index 3: rule set 12");
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
