// One damage, one reason: each of the validator's sentences is provoked here.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <functional>
#include <string>

#include "tests/unit/image/reshape.h"
#include "tests/unit/image/sample.h"

namespace bulkhead::image {
namespace {

using sample::Image;

constexpr StringRef kBeyond{0, 0x7fff'ffff};

class Refusals : public testing::Test {
 protected:
  PolicyHeader& policy() { return *reinterpret_cast<PolicyHeader*>(image_.policy.data()); }
  ShardHeader& shard() { return *reinterpret_cast<ShardHeader*>(image_.shards[0].data()); }

  Identity& identity(std::size_t i) { return element<Identity>(image_.shards[0], shard().identities, i); }
  Policy& object(std::size_t i) { return element<Policy>(image_.policy, policy().policies, i); }
  Rule& rule(std::size_t i) { return element<Rule>(image_.policy, policy().rules, i); }
  SubjectClass& subject(std::uint32_t direction, std::size_t i) {
    return element<SubjectClass>(image_.policy, policy().subjects[direction], i);
  }
  std::uint32_t& matrix(std::uint32_t direction, std::size_t i) {
    return element<std::uint32_t>(image_.policy, policy().matrix[direction], i);
  }
  std::uint32_t& verdict_page(std::size_t i) {
    return element<std::uint32_t>(image_.policy, policy().verdict_pages, i);
  }
  PackedRecord& record(std::size_t i) { return element<PackedRecord>(image_.policy, policy().records, i); }
  Meaning& meaning(std::size_t i) { return element<Meaning>(image_.policy, policy().meanings, i); }
  AddressSlot& slot(std::size_t i) { return element<AddressSlot>(image_.shards[0], shard().slots, i); }
  Endpoint& endpoint(std::size_t i) { return element<Endpoint>(image_.shards[0], shard().endpoints, i); }

  void resize_policy(std::string_view table, std::uint64_t count) {
    image_.policy = sample::resize_table<PolicyHeader>(image_.policy, table, count);
  }
  void resize_shard(std::string_view table, std::uint64_t count) {
    image_.shards[0] = sample::resize_table<ShardHeader>(image_.shards[0], table, count);
  }

  void expect(const std::string& reason, const std::function<void()>& damage) {
    image_ = fresh_;
    damage();
    const auto result = validate(image_.sections(), false);
    const auto* refusal = std::get_if<Refusal>(&result);
    EXPECT_EQ(refusal ? refusal->reason : "not refused", reason);
  }

  void expect_file(const std::string& reason, const std::function<void(std::vector<std::byte>&)>& damage) {
    std::vector<std::byte> file = sample::file_of(fresh_);
    damage(file);
    const std::vector<std::byte> exact(file.begin(), file.end());
    const auto result = split_file(exact);
    const auto* refusal = std::get_if<Refusal>(&result);
    EXPECT_EQ(refusal ? refusal->reason : "not refused", reason);
  }

  const Image fresh_ = sample::build(sample::make_tables());
  Image image_ = fresh_;
  const std::size_t local_ = element<std::uint32_t>(image_.shards[0], shard().locals, 0);

 private:
  template <class T>
  static T& element(std::vector<std::byte>& section, const TableRef& ref, std::size_t index) {
    return reinterpret_cast<T*>(section.data() + ref.offset)[index];
  }
};

TEST_F(Refusals, of_a_frame) {
  const std::string bytes = std::to_string(fresh_.policy.size());
  const std::string longer = std::to_string(fresh_.policy.size() + 64);
  expect("policy section: " + longer + " bytes, but its tables end at " + bytes, [&] {
    image_.policy.resize(image_.policy.size() + 64);
    policy().bytes += 64;
  });
  const std::uint64_t end = policy().isolating.offset + policy().isolating.count * sizeof(std::uint32_t);
  ASSERT_NE(end % kTableAlign, 0u);
  expect("policy section: padding before table governing is not zero",
         [&] { image_.policy[end] = std::byte{1}; });
  expect("policy section, table governing: " + std::to_string(policy().governing.count) +
             " elements do not fit into " + std::to_string(end) + " bytes",
         [&] {
           policy().bytes = end;
           image_.policy.resize(end);
           image_.policy.shrink_to_fit();
         });
  const std::size_t too_many = kSectionBytesMax + 64;
  void* memory = mmap(nullptr, too_many, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  const auto result = validate({{static_cast<const std::byte*>(memory), too_many}, fresh_.sections().shards});
  EXPECT_EQ(std::get<Refusal>(result).reason, "policy section: 1073741888 bytes, expected " +
                                                  std::to_string(sizeof(PolicyHeader)) + " to 1073741824");
  munmap(memory, too_many);
}

TEST_F(Refusals, of_policy_table_sizes) {
  expect("policy section, table page_of: 1535 elements, expected 1536",
         [&] { resize_policy("page_of", 1535); });
  expect("policy section, table pages: 3073 elements, expected a multiple of 256",
         [&] { resize_policy("pages", 3073); });
  expect("policy section, table matrix[ingress]: 21 elements, expected 20",
         [&] { resize_policy("matrix[ingress]", 21); });
  const std::uint64_t cells = policy().cells.count;
  expect("policy section, table cells: " + std::to_string(cells + 1) + " elements, expected a multiple of 8",
         [&] { resize_policy("cells", cells + 1); });
  const std::string cell_pages = std::to_string(cells / kCellPage);
  expect(
      "policy section, table matrix[egress], index 2: page " + cell_pages + ", but there are " + cell_pages,
      [&] { matrix(kEgress, 2) = static_cast<std::uint32_t>(cells / kCellPage); });
  const std::uint64_t pages = policy().verdicts.count / kVerdictPage;
  for (const std::uint64_t count : {11, 13})
    expect("policy section, table verdict_pages: " + std::to_string(count) + " elements, expected 12",
           [&] { resize_policy("verdict_pages", count); });
  expect("policy section, table verdicts: " + std::to_string(pages * kVerdictPage - 1) +
             " elements, expected a multiple of 16",
         [&] { resize_policy("verdicts", pages * kVerdictPage - 1); });
  const std::string there = std::to_string(pages);
  expect("policy section, table verdict_pages, index 3: page " + there + ", but there are " + there,
         [&] { verdict_page(3) = static_cast<std::uint32_t>(pages); });
  expect("policy section, table subjects[egress]: 9 elements, expected 10",
         [&] { resize_policy("subjects[egress]", 9); });
  for (const char* table : {"policies", "rules"})
    expect("policy section: policies or rules lacks its none entry", [&] { resize_policy(table, 0); });
}

TEST_F(Refusals, of_names) {
  const auto identity_reason = "shard, table identities, index 2: a string ends beyond the table";
  expect(identity_reason, [&] { identity(2).labels = kBeyond; });
  expect(identity_reason, [&] { identity(2).namespace_name = kBeyond; });
  for (StringRef Policy::*name : {&Policy::kind, &Policy::namespace_name, &Policy::name, &Policy::file})
    expect("policy section, table policies, index 3: a string ends beyond the table",
           [&] { object(3).*name = kBeyond; });
  for (StringRef Rule::*name : {&Rule::name, &Rule::peers, &Rule::ports})
    expect("policy section, table rules, index 4: a string ends beyond the table",
           [&] { rule(4).*name = kBeyond; });
  for (StringRef Endpoint::*name : {&Endpoint::namespace_name, &Endpoint::name, &Endpoint::id})
    expect("shard, table endpoints, index " + std::to_string(local_) + ": a string ends beyond the table",
           [&] { endpoint(local_).*name = kBeyond; });
}

TEST_F(Refusals, of_policy_values) {
  expect("policy section, table policies, index 3: unknown tier", [&] { object(3).tier = kPolicyTiers; });
  expect("policy section, table rules, index 4: reserved field is not zero", [&] { rule(4).reserved = 1; });
  expect("policy section, table rules, index 4: unknown verdict", [&] { rule(4).verdict = Verdict{3}; });
  expect("policy section, table subjects[egress], index 1: unknown posture",
         [&] { subject(kEgress, 1).posture = Verdict{2}; });
  expect("policy section, table subjects[egress], index 1: reserved field is not zero",
         [&] { subject(kEgress, 1).reserved = 1; });
  expect("policy section, table subjects[egress], index 1: unknown options",
         [&] { subject(kEgress, 1).options = kKeepEstablished | kResetEstablished; });
  expect("policy section, table policies, index 3: unknown options",
         [&] { object(3).options = kKeepEstablished | kResetEstablished; });
  expect("policy section, table subjects[egress], index 1: unknown options",
         [&] { subject(kEgress, 1).options = kAuditedPolicy; });
  expect("policy section, table subjects[egress], index 1: its isolating policies end beyond the table",
         [&] { subject(kEgress, 1).audited_count = 0xffff; });
  expect("policy section, table subjects[ingress], index 1: its governing rules end beyond the table",
         [&] { subject(kIngress, 1).rules_count = 31; });
}

TEST_F(Refusals, of_records) {
  const std::string homes = std::to_string(policy().record_homes);
  const auto sized = [&](std::uint64_t count) {
    return "policy section, table records: " + std::to_string(count) + " elements for " + homes +
           " homes, expected one or more and 17 places more";
  };
  expect("policy section, table records: " + std::to_string(policy().records.count) +
             " elements for 0 homes, expected one or more and 17 places more",
         [&] { policy().record_homes = 0; });
  expect("policy section: record_factor 2, expected an odd number", [&] { policy().record_factor = 2; });
  expect(sized(0), [&] { resize_policy("records", 0); });
  expect(sized(policy().record_homes + kProbesMax),
         [&] { resize_policy("records", policy().record_homes + kProbesMax); });
  std::size_t used = 1;
  while (record(used).meaning == 0) ++used;
  std::size_t unused = 1;
  while (record(unused).meaning != 0) ++unused;
  const std::size_t world = 1 + policy().record_homes + kProbesMax;
  const auto at = [](std::size_t i) {
    return "policy section, table records, index " + std::to_string(i) + ": ";
  };
  const std::string meanings = std::to_string(policy().meanings.count);
  expect(at(used) + "meaning " + meanings + ", but there are " + meanings,
         [&] { record(used).meaning = static_cast<std::uint32_t>(policy().meanings.count); });
  for (const std::size_t place : {std::size_t{0}, unused}) {
    expect(at(place) + "a free place that is not zero", [&] { record(place).profile = 7; });
    expect(at(place) + "a free place that is not zero", [&] { record(place).identity = 0x7fff'ffff; });
  }
  expect(at(0) + "the none entry has a meaning", [&] { record(0) = record(used); });
  expect(at(world) + "free, where the trie's are expected", [&] { record(world) = {}; });
  expect(at(world) + "an owner's among the trie's", [&] { record(world) = record(used); });
  expect(at(used) + "world among the profiles", [&] { record(used).meaning = record(world).meaning; });
  const std::uint64_t home =
      1 + record_home(record(used).profile, policy().record_factor, policy().record_homes);
  const std::size_t far = home + kProbesMax < world ? home + kProbesMax : home - 1;
  expect(at(far) + "its profile is at home at " + std::to_string(home), [&] {
    const PackedRecord moved = record(used);
    for (std::size_t i = 1; i < world; ++i) record(i) = {};
    record(far) = moved;
  });
  expect(at(home + 1) + "its profile stands before it", [&] {
    const PackedRecord twice = record(used);
    for (std::size_t i = 1; i < world; ++i) record(i) = {};
    record(home) = record(home + 1) = twice;
  });
}

TEST_F(Refusals, of_meanings) {
  const std::string none = "policy section, table meanings: lacks its none entry";
  expect(none, [&] { resize_policy("meanings", 0); });
  expect(none, [&] { meaning(0).peer[1] = 1; });
  const std::string at = "policy section, table meanings, index 2: ";
  for (const std::uint32_t flags : {0u, 8u}) expect(at + "unknown flags", [&] { meaning(2).flags = flags; });
  expect(at + "peer class 13, but there are 13", [&] { meaning(2).peer[1] = 13; });
  expect(at + "subject class 10, but there are 10", [&] { meaning(2).subject[0] = 10; });
}

TEST_F(Refusals, of_slots) {
  const std::string count = std::to_string(shard().slots.count - 1);
  expect("shard, table slots: " + count + " elements, expected a power of two plus 16",
         [&] { resize_shard("slots", shard().slots.count - 1); });
  expect("shard, table slots: 16 elements, expected a power of two plus 16",
         [&] { resize_shard("slots", 16); });
  expect("shard, table slots, index 3: reserved field is not zero", [&] { slot(3).reserved = 1; });
  std::size_t unused = 0;
  while (slot(unused).profile != 0) ++unused;
  const std::string at = "shard, table slots, index " + std::to_string(unused);
  expect(at + ": names an address but no profile", [&] { slot(unused).endpoint = 1; });
  expect(at + ": names an address but no profile", [&] { slot(unused).address.bytes[0] = 1; });
}

TEST_F(Refusals, of_slots_that_hide_behind_others) {
  // A run of two: the second is lost when the first is cleared, or when it carries the same address.
  std::size_t second = 1;
  const std::uint64_t mask = shard().slots.count - kProbesMax - 1;
  const auto home = [&](std::size_t i) { return slot_hash(shard().slot_seed, slot(i).address) & mask; };
  while (slot(second).profile == 0 || home(second) == second || home(second) != home(second - 1)) ++second;
  const std::string reason = "shard, table slots, index " + std::to_string(second) + ": address " +
                             text(slot(second).address) + " cannot be found there";
  expect(reason, [&] { slot(second - 1) = {}; });
  expect(reason, [&] { slot(second - 1).address = slot(second).address; });
}

TEST_F(Refusals, of_slots_that_are_too_far_from_home) {
  std::size_t from = 0;
  while (slot(from).profile == 0) ++from;
  const std::uint64_t home =
      slot_hash(shard().slot_seed, slot(from).address) & (shard().slots.count - kProbesMax - 1);
  expect("shard, table slots, index " + std::to_string(home + kProbesMax) + ": address " +
             text(slot(from).address) + " is at home in slot " + std::to_string(home),
         [&] {
           const AddressSlot moved = slot(from);
           for (std::size_t i = 0; i < shard().slots.count; ++i) slot(i) = {};
           slot(home + kProbesMax) = moved;
         });
}

TEST_F(Refusals, of_tries) {
  const std::uint64_t nodes = policy().trie.count / kTrieEntries;
  expect("policy section, table trie: " + std::to_string(nodes * kTrieEntries + 1) +
             " elements, expected a multiple of 256",
         [&] { resize_policy("trie", nodes * kTrieEntries + 1); });
  expect("policy section, table trie, index " + std::to_string(nodes * kTrieEntries) + ": node " +
             std::to_string(nodes) + " has no parent before it",
         [&] { resize_policy("trie", (nodes + 1) * kTrieEntries); });
  const std::string there = ", but there are " + std::to_string(nodes) + " nodes";
  expect("policy section, table trie: roots 10000 and 1" + there, [&] { policy().trie_root_v4 = 10'000; });
  expect("policy section, table trie: roots 0 and 10000" + there, [&] { policy().trie_root_v6 = 10'000; });
  expect("policy section, table trie: roots 0 and 0" + there, [&] { policy().trie_root_v6 = 0; });
}

TEST_F(Refusals, of_endpoints) {
  const std::string none = "shard, table endpoints: lacks its none entry";
  expect("shard, table endpoints: 0 elements, expected a power of two up to 65536",
         [&] { resize_shard("endpoints", 0); });
  expect(none, [&] { endpoint(0).flags = kEndpointOther; });
  const std::string at = "shard, table endpoints, index " + std::to_string(local_) + ": ";
  expect(at + "flags 3, expected local, node or other",
         [&] { endpoint(local_).flags = kEndpointLocal | kEndpointNode; });
  expect(at + "an endpoint is local if, and only if, it has a port", [&] { endpoint(local_).port = 0; });
  const std::uint64_t locals = shard().locals.count;
  expect("shard, table locals, index " + std::to_string(locals) + ": endpoint 0 is not of this node",
         [&] { resize_shard("locals", locals + 1); });
}

TEST_F(Refusals, of_identities) {
  expect("shard, table identities: 0 elements, expected a power of two up to 65536",
         [&] { resize_shard("identities", 0); });
  expect("shard, table identities: lacks its none entry", [&] { identity(0).id[15] = 1; });
}

TEST_F(Refusals, of_shard_numbers) {
  expect("shard: is number 1 of 1, expected a power of two up to 512", [&] { shard().shard = 1; });
  expect("shard: is number 0 of 3, expected a power of two up to 512", [&] { shard().shards = 3; });
  expect("shard: slot_seed 4294967296, expected less than 2^32",
         [&] { shard().slot_seed = std::uint64_t{1} << 32; });
  expect("shard: is number 0 of 1024, expected a power of two up to 512", [&] { shard().shards = 1024; });
  expect("image: shard 0 of 1 is number 0 of 2", [&] {
    sample::Tables tables = sample::make_tables();
    tables.shards = 2;
    image_ = sample::build(tables);
    image_.shards.pop_back();
  });
}

TEST_F(Refusals, of_files) {
  const std::size_t second = (fresh_.policy.size() + kSectionAlign - 1) / kSectionAlign * kSectionAlign;
  const auto resize = [](std::size_t bytes) { return [bytes](auto& file) { file.resize(bytes); }; };
  const auto set_bytes = [](std::size_t section, std::uint64_t bytes) {
    return [=](auto& file) {
      std::memcpy(&file[section + offsetof(PolicyHeader, bytes)], &bytes, sizeof bytes);
    };
  };
  const std::size_t size = sample::file_of(fresh_).size();
  expect_file("image file: ends before its policy section", resize(100));
  expect_file("image file: its policy section does not start with the magic of an image",
              [](auto& file) { file[0] ^= std::byte{1}; });
  expect_file(
      "image file: its policy section says 18446744073709551615 bytes, but there are " + std::to_string(size),
      set_bytes(0, ~std::uint64_t{0}));
  expect_file("image file: its policy section says 0 bytes, but there are " + std::to_string(size),
              set_bytes(0, 0));
  expect_file("image file: ends before its shard 0", resize(fresh_.policy.size()));
  expect_file("image file: ends before its shard 0", resize(second + sizeof(ShardHeader) - 1));
  expect_file("image file: its shard 0 says 18446744073709551615 bytes, but there are " +
                  std::to_string(size - second),
              set_bytes(second, ~std::uint64_t{0}));
  ASSERT_LT(fresh_.policy.size(), second);
  expect_file("image file: padding behind its policy section is not zero",
              [&](auto& file) { file[second - 1] = std::byte{1}; });
  expect_file("image file: padding behind its shard 0 is not zero",
              [&](auto& file) { file.back() = std::byte{1}; });
  expect_file("image file: holds more than 1 shard",
              [&](auto& file) { file.resize(file.size() + kSectionAlign); });
}

}  // namespace
}  // namespace bulkhead::image
