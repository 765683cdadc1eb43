#include "dataplane/image/validate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>

#include "tests/unit/image/probe.h"
#include "tests/unit/image/reshape.h"
#include "tests/unit/image/sample.h"

namespace bulkhead::image {
namespace {

using sample::Image;

std::string reason_of(const Image& image, bool check_digests = false) {
  const auto result = validate(image.sections(), check_digests);
  const auto* refusal = std::get_if<Refusal>(&result);
  return refusal ? refusal->reason : "not refused";
}

template <class T>
T& element(std::vector<std::byte>& section, const TableRef& ref, std::size_t index) {
  return reinterpret_cast<T*>(section.data() + ref.offset)[index];
}

class Validate : public testing::Test {
 protected:
  PolicyHeader& policy() { return *reinterpret_cast<PolicyHeader*>(image_.policy.data()); }
  ShardHeader& shard() { return *reinterpret_cast<ShardHeader*>(image_.shards[0].data()); }

  template <class T>
  T& at(std::size_t index, TableRef PolicyHeader::*ref) {
    return element<T>(image_.policy, policy().*ref, index);
  }
  template <class T>
  T& at(std::size_t index, TableRef ShardHeader::*ref) {
    return element<T>(image_.shards[0], shard().*ref, index);
  }
  std::string reason() { return reason_of(image_); }

  std::size_t occupied_slot() {
    std::size_t i = 0;
    while (at<AddressSlot>(i, &ShardHeader::slots).profile == 0) ++i;
    return i;
  }

  Image image_ = sample::build(sample::make_tables());
};

TEST_F(Validate, what_the_builder_made_is_accepted) {
  EXPECT_EQ(reason_of(image_, true), "not refused");
}

TEST_F(Validate, every_flipped_byte_is_refused) {
  for (std::vector<std::byte>* section : {&image_.policy, &image_.shards[0]})
    for (std::size_t i = 0; i < section->size(); ++i) {
      (*section)[i] ^= std::byte{0x40};
      ASSERT_NE(reason_of(image_, true), "not refused") << "byte " << i;
      (*section)[i] ^= std::byte{0x40};
    }
}

TEST_F(Validate, every_flipped_byte_is_refused_or_harmless_without_digests) {
  std::mt19937_64 random(3);
  std::size_t accepted = 0;
  for (std::vector<std::byte>* section : {&image_.policy, &image_.shards[0]})
    for (std::size_t i = 0; i < section->size(); ++i) {
      const auto flip = static_cast<std::byte>(1u << random() % 8);
      (*section)[i] ^= flip;
      const auto result = validate(image_.sections(), false);
      if (const View* view = std::get_if<View>(&result)) {
        ++accepted;
        ASSERT_TRUE(sample::answers_stay_inside(*view, random(), 4)) << "byte " << i;
      }
      (*section)[i] ^= flip;
    }
  EXPECT_GT(accepted, 100u);  // strings and verdicts may change
}

TEST_F(Validate, every_truncation_is_refused) {
  for (std::size_t bytes = 0; bytes < image_.policy.size(); bytes += 61) {
    const std::vector<std::byte> cut(image_.policy.begin(), image_.policy.begin() + static_cast<long>(bytes));
    ASSERT_TRUE(std::holds_alternative<Refusal>(validate({cut, image_.sections().shards}, false)));
  }
  const std::vector<std::byte>& whole = image_.shards[0];
  for (std::size_t bytes = 0; bytes < whole.size(); bytes += 61) {
    const std::vector<std::byte> cut(whole.begin(), whole.begin() + static_cast<long>(bytes));
    ASSERT_TRUE(std::holds_alternative<Refusal>(validate({image_.policy, {cut}}, false)));
  }
}

TEST_F(Validate, sections_that_are_swapped_missing_or_out_of_order_are_refused) {
  std::swap(image_.policy, image_.shards[0]);
  EXPECT_EQ(reason(), "policy section: is of kind 2, expected 1");
  std::swap(image_.policy, image_.shards[0]);
  image_.shards.push_back(image_.shards[0]);
  EXPECT_EQ(reason(), "image: shard 0 of 2 is number 0 of 1");
  image_.shards.clear();
  EXPECT_EQ(reason(), "image: has no shard");
  sample::Tables tables = sample::make_tables();
  tables.shards = 4;
  image_ = sample::build(tables);
  EXPECT_EQ(reason_of(image_, true), "not refused");
  std::swap(image_.shards[1], image_.shards[2]);
  EXPECT_EQ(reason(), "image: shard 1 of 4 is number 2 of 4");
}

TEST_F(Validate, address_in_another_shard_than_its_own_is_refused) {
  sample::Tables tables = sample::make_tables();
  tables.shards = 4;
  image_ = sample::build(tables);
  shard().shard = 1;
  EXPECT_NE(reason().find("belongs to shard 0"), std::string::npos) << reason();
}

TEST_F(Validate, bytes_that_do_not_start_on_an_8_byte_boundary_are_refused) {
  std::vector<std::byte> shifted(image_.policy.size() + 4);
  std::copy(image_.policy.begin(), image_.policy.end(), shifted.begin() + 4);
  const auto result = validate({std::span(shifted).subspan(4), image_.sections().shards}, false);
  EXPECT_EQ(std::get<Refusal>(result).reason, "policy section: does not start on an 8-byte boundary");
}

TEST_F(Validate, unknown_header_values_are_refused) {
  policy().version = 1;
  EXPECT_EQ(reason(), "policy section: format version 1, expected " + std::to_string(kFormatVersion));
  policy().version = kFormatVersion;
  policy().magic += 1;
  EXPECT_EQ(reason(), "policy section: does not start with the magic of an image");
  policy().magic -= 1;
  policy().bytes += 64;
  EXPECT_NE(reason().find("says"), std::string::npos);
}

TEST_F(Validate, counts_whose_product_or_sum_overflows_are_refused) {
  policy().matrix[kIngress].count = ~std::uint64_t{0} / 4 + 2;
  EXPECT_NE(reason().find("table matrix[ingress]: 4611686018427387905 elements do not fit"),
            std::string::npos);
  image_ = sample::build(sample::make_tables());
  policy().subject_classes[kEgress] = 0x8000'0000u;
  policy().peer_classes[kEgress] = 0x8000'0000u;
  EXPECT_NE(reason().find("table matrix[egress]"), std::string::npos);
  image_ = sample::build(sample::make_tables());
  element<SubjectClass>(image_.policy, policy().subjects[kIngress], 2).isolating_first = 0xffff'ffffu;
  EXPECT_EQ(reason(),
            "policy section, table subjects[ingress], index 2: its isolating policies end beyond the table");
  image_ = sample::build(sample::make_tables());
  at<Rule>(3, &PolicyHeader::rules).name = {0xffff'fff0u, 0xffff'fff0u};
  EXPECT_EQ(reason(), "policy section, table rules, index 3: a string ends beyond the table");
}

TEST_F(Validate, moved_tables_are_refused) {
  shard().endpoints.offset = shard().slots.offset;
  EXPECT_NE(reason().find("table endpoints: lies at byte"), std::string::npos);
}

TEST_F(Validate, non_zero_padding_is_refused) {
  const std::size_t end = policy().strings.offset + policy().strings.count;
  ASSERT_LT(end, image_.policy.size());
  image_.policy[end] = std::byte{1};
  EXPECT_EQ(reason(), "policy section: padding at the end is not zero");
}

TEST_F(Validate, policy_indexes_out_of_range_are_refused) {
  const auto check = [&](const std::function<void()>& damage, const std::string& expected) {
    image_ = sample::build(sample::make_tables());
    damage();
    EXPECT_EQ(reason(), expected);
  };
  check([&] { at<std::uint16_t>(300, &PolicyHeader::page_of) = 12; },
        "policy section, table page_of, index 300: page 12, but there are 12");
  check([&] { at<std::uint16_t>(7, &PolicyHeader::pages) = 6; },
        "policy section, table pages, index 7: port class 6, but there are 6");
  check([&] { element<std::uint32_t>(image_.policy, policy().cells, 9) = 12; },
        "policy section, table cells, index 9: rule set 12, but there are 12");
  check([&] { at<Decision>(5, &PolicyHeader::verdicts) = kAllowBit | 31; },
        "policy section, table verdicts, index 5: rule 31, but there are 31");
  check([&] { at<Rule>(4, &PolicyHeader::rules).policy = 9; },
        "policy section, table rules, index 4: policy 9, but there are 9");
  check([&] { at<Rule>(4, &PolicyHeader::rules).direction = 2; },
        "policy section, table rules, index 4: unknown direction");
  check([&] { at<std::uint32_t>(1, &PolicyHeader::isolating) = 9; },
        "policy section, table isolating, index 1: policy 9, but there are 9");
  check([&] { at<std::uint32_t>(1, &PolicyHeader::governing) = 31; },
        "policy section, table governing, index 1: rule 31, but there are 31");
}

TEST_F(Validate, decision_that_contradicts_its_rule_is_refused) {
  std::size_t i = 0;
  while ((at<Decision>(i, &PolicyHeader::verdicts) & ~kAllowBit) == 0) ++i;
  at<Decision>(i, &PolicyHeader::verdicts) ^= kAllowBit;
  EXPECT_NE(reason().find("decides otherwise than its rule"), std::string::npos);
}

TEST_F(Validate, who_passed_is_checked_like_who_decided) {
  auto tables = sample::make_tables();
  PolicyTables& p = tables.policy;
  Rule pass = p.rules[1];
  pass.verdict = Verdict::kPass;
  p.rules.push_back(pass);
  const auto last = static_cast<std::uint32_t>(p.rules.size() - 1);
  p.passed_of.assign(p.rule_sets, 1);
  p.passed.resize(std::size_t{2} * p.port_classes);
  p.passed[7].platform = p.passed[8].baseline = p.passed[9].mesh = last;
  p.policies[2].tier = kBaselineTier;
  const auto check = [&](const std::function<void()>& damage, const std::string& expected) {
    image_ = sample::build(tables);
    damage();
    EXPECT_EQ(reason(), expected);
  };
  check([] {}, "not refused");
  check([&] { at<Passed>(7, &PolicyHeader::passed).platform = last + 1; },
        "policy section, table passed, index 7: rule 32, but there are 32");
  check([&] { at<Passed>(8, &PolicyHeader::passed).baseline = last - 1; },
        "policy section, table passed, index 8: its rule 30 does not pass");
  check([&] { at<Passed>(9, &PolicyHeader::passed).mesh = last - 1; },
        "policy section, table passed, index 9: its rule 30 does not pass");
  check([&] { at<Decision>(5, &PolicyHeader::verdicts) = last; },
        "policy section, table verdicts, index 5: decides otherwise than its rule 31");
  image_ = sample::build(tables);
  image_.policy = sample::resize_table<PolicyHeader>(image_.policy, "passed", 11);
  EXPECT_EQ(reason(), "policy section, table passed: 11 elements, expected 6");
  image_ = sample::build(tables);
  image_.policy = sample::resize_table<PolicyHeader>(image_.policy, "passed_of", 11);
  EXPECT_EQ(reason(), "policy section, table passed_of: 11 elements, expected 12");
  check([&] { at<std::uint32_t>(3, &PolicyHeader::passed_of) = 2; },
        "policy section, table passed_of, index 3: row 2, but there are 2");
}

TEST_F(Validate, audited_decisions_are_checked_like_the_others) {
  auto tables = sample::make_tables();
  PolicyTables& p = tables.policy;
  p.policies[2].options = kAuditedPolicy;
  p.audited_of.assign(p.rule_sets, 0);
  p.audited_of[4] = 2;
  p.audited.assign(p.verdicts.begin(), p.verdicts.begin() + 2 * p.port_classes);
  const auto check = [&](const std::function<void()>& damage, const std::string& expected) {
    image_ = sample::build(tables);
    damage();
    EXPECT_EQ(reason(), expected);
  };
  check([] {}, "not refused");
  check([&] { at<std::uint32_t>(3, &PolicyHeader::audited_of) = 14; },
        "policy section, table audited_of, index 3: row 14, but there are 14");
  image_ = sample::build(tables);
  image_.policy = sample::resize_table<PolicyHeader>(image_.policy, "audited_of", 11);
  EXPECT_EQ(reason(), "policy section, table audited_of: 11 elements, expected 12");
}

TEST_F(Validate, what_records_and_endpoints_say_is_checked) {
  std::size_t used = 1;
  while (at<PackedRecord>(used, &PolicyHeader::records).meaning == 0) ++used;
  std::size_t endpoint = 1, remote = 1;
  while (at<Endpoint>(endpoint, &ShardHeader::endpoints).port == 0) ++endpoint;
  while (at<Endpoint>(remote, &ShardHeader::endpoints).flags != kEndpointOther) ++remote;
  const auto check = [&](const std::function<void()>& damage, const std::string& expected) {
    image_ = sample::build(sample::make_tables());
    damage();
    EXPECT_EQ(reason(), expected);
  };
  check([&] { at<Meaning>(1, &PolicyHeader::meanings).subject[1] = 10; },
        "policy section, table meanings, index 1: subject class 10, but there are 10");
  check([&] { at<Meaning>(1, &PolicyHeader::meanings).peer[0] = 13; },
        "policy section, table meanings, index 1: peer class 13, but there are 13");
  check([&] { at<PackedRecord>(used, &PolicyHeader::records).profile = 0; },
        "policy section, table records, index " + std::to_string(used) + ": an owner's among the trie's");
  const std::string local = "shard, table endpoints, index " + std::to_string(endpoint) + ": ";
  const std::string other = "shard, table endpoints, index " + std::to_string(remote) + ": ";
  check([&] { at<Endpoint>(endpoint, &ShardHeader::endpoints).port = 1024; },
        local + "port 1024, expected less than 1024");
  check([&] { at<Endpoint>(endpoint, &ShardHeader::endpoints).flags = kEndpointOther; },
        local + "an endpoint is local if, and only if, it has a port");
  check([&] { at<Endpoint>(endpoint, &ShardHeader::endpoints).addresses_count = 100; },
        local + "its addresses end beyond the table");
  check([&] { at<Endpoint>(remote, &ShardHeader::endpoints).flags = kEndpointNode; },
        other + "is of this node, but table locals leaves it out");
  check([&] { at<Endpoint>(0, &ShardHeader::endpoints).flags = kEndpointOther; },
        "shard, table endpoints: lacks its none entry");
}

TEST_F(Validate, address_slots_that_a_lookup_would_miss_are_refused) {
  const std::size_t used = occupied_slot();
  at<AddressSlot>(used, &ShardHeader::slots).address.bytes[3] ^= 1;
  EXPECT_NE(reason().find("table slots, index"), std::string::npos);

  image_ = sample::build(sample::make_tables());
  at<AddressSlot>(used, &ShardHeader::slots).profile = 0;
  EXPECT_NE(reason().find("names an address but no profile"), std::string::npos);

  image_ = sample::build(sample::make_tables());
  shard().slot_seed += 1;
  EXPECT_NE(reason().find("is at home in slot"), std::string::npos);
}

TEST_F(Validate, endpoint_number_beyond_the_table_is_nobody) {
  const std::size_t used = occupied_slot();
  at<AddressSlot>(used, &ShardHeader::slots).endpoint = 0xffff'ffffu;
  const auto result = validate(image_.sections(), false);
  const View& view = std::get<View>(result);
  EXPECT_TRUE(sample::bound_reads(view, bind(view, at<AddressSlot>(used, &ShardHeader::slots).address)));
}

TEST_F(Validate, tries_that_are_not_trees_are_refused) {
  const auto trie_is_refused = [&](const std::function<void(std::uint32_t*)>& damage) {
    image_ = sample::build(sample::make_tables());
    damage(&at<std::uint32_t>(0, &PolicyHeader::trie));
    return reason().find("policy section, table trie") == 0;
  };
  EXPECT_TRUE(trie_is_refused([](std::uint32_t* entries) { entries[0] = kTrieChildBit; }));      // itself
  EXPECT_TRUE(trie_is_refused([](std::uint32_t* entries) { entries[0] = kTrieChildBit | 1; }));  // a root
  EXPECT_TRUE(trie_is_refused([](std::uint32_t* entries) { entries[0] = kTrieChildBit | 2; }));  // adopted
  EXPECT_TRUE(
      trie_is_refused([](std::uint32_t* entries) { entries[0] = kTrieChildBit | 10'000; }));  // nowhere
  EXPECT_TRUE(trie_is_refused([](std::uint32_t* entries) { entries[0] = 0; }));               // no record
  EXPECT_TRUE(trie_is_refused([](std::uint32_t* entries) { entries[0] = 1; }));
  EXPECT_TRUE(trie_is_refused([&](std::uint32_t*) { policy().trie_root_v4 = 10'000; }));
  EXPECT_TRUE(trie_is_refused([&](std::uint32_t*) { policy().trie_root_v6 = policy().trie_root_v4; }));
}

TEST_F(Validate, trie_deeper_than_an_address_is_refused) {
  sample::Tables tables = sample::make_tables();
  tables.policy.blocks = {{sample::endpoint_v4(0x010203), 128, 1}};
  image_ = sample::build(tables);
  ASSERT_EQ(reason(), "not refused");
  policy().trie_root_v4 = 1;  // three levels below what is now entered at byte 0, and the v6 root at byte 12
  policy().trie_root_v6 = 0;
  EXPECT_EQ(reason(), "not refused");
  tables.policy.blocks = {{sample::endpoint_v6(0x010203), 128, 1}};
  image_ = sample::build(tables);
  policy().trie_root_v4 = 1;
  policy().trie_root_v6 = 0;
  EXPECT_NE(reason().find("may not have the child"), std::string::npos);
}

TEST_F(Validate, file_is_split_into_its_sections) {
  const std::vector<std::byte> file = sample::file_of(image_);
  ASSERT_EQ(file.size() % kSectionAlign, 0u);
  const auto split = std::get<Sections>(split_file(file));
  EXPECT_TRUE(std::ranges::equal(split.policy, image_.policy));
  ASSERT_EQ(split.shards.size(), 1u);
  EXPECT_TRUE(std::ranges::equal(split.shards[0], image_.shards[0]));
  sample::Tables tables = sample::make_tables();
  tables.shards = 8;
  const Image many = sample::build(tables);
  const std::vector<std::byte> large = sample::file_of(many);
  const auto parts = std::get<Sections>(split_file(large));
  ASSERT_EQ(parts.shards.size(), 8u);
  for (std::size_t i = 0; i < 8; ++i) EXPECT_TRUE(std::ranges::equal(parts.shards[i], many.shards[i]));
}

TEST_F(Validate, file_with_less_or_more_than_its_sections_is_refused) {
  std::vector<std::byte> file = sample::file_of(image_);
  for (std::size_t bytes = 0; bytes < file.size() - kSectionAlign; bytes += 61)
    ASSERT_TRUE(std::holds_alternative<Refusal>(split_file(std::span(file).first(bytes))));
  file.back() = std::byte{1};
  EXPECT_TRUE(std::holds_alternative<Refusal>(split_file(file)));
  file.back() = std::byte{0};
  file.resize(file.size() + kSectionAlign);
  EXPECT_TRUE(std::holds_alternative<Refusal>(split_file(file)));
}

TEST_F(Validate, empty_cluster_is_an_image) {
  sample::Tables tables;
  PolicyTables& p = tables.policy;
  p.page_of.resize(kProtocolSlots * 256);
  p.pages.resize(kPageEntries);
  p.port_classes = 1;
  p.policies.resize(1);
  p.rules.resize(1);
  p.worlds = {{0, 0, {kNoSubject, kNoSubject}, {0, 0}, kRecordWorld}};
  image_ = sample::build(tables);
  ASSERT_EQ(reason_of(image_, true), "not refused");
  const View view = std::get<View>(validate(image_.sections()));
  EXPECT_TRUE(sample::answers_stay_inside(view, 1, 100));
}

}  // namespace
}  // namespace bulkhead::image
