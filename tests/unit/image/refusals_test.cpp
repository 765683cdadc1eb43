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
  BindingHeader& binding() { return *reinterpret_cast<BindingHeader*>(image_.binding.data()); }

  Identity& identity(std::size_t i) { return element<Identity>(image_.policy, policy().identities, i); }
  Policy& object(std::size_t i) { return element<Policy>(image_.policy, policy().policies, i); }
  Rule& rule(std::size_t i) { return element<Rule>(image_.policy, policy().rules, i); }
  SubjectClass& subject(std::uint32_t direction, std::size_t i) {
    return element<SubjectClass>(image_.policy, policy().subjects[direction], i);
  }
  Record& record(std::size_t i) { return element<Record>(image_.binding, binding().records, i); }
  AddressSlot& slot(std::size_t i) { return element<AddressSlot>(image_.binding, binding().slots, i); }
  Endpoint& endpoint(std::size_t i) { return element<Endpoint>(image_.binding, binding().endpoints, i); }

  void resize_policy(std::string_view table, std::uint64_t count) {
    image_.policy = sample::resize_table<PolicyHeader>(image_.policy, table, count);
  }
  void resize_binding(std::string_view table, std::uint64_t count) {
    image_.binding = sample::resize_table<BindingHeader>(image_.binding, table, count);
  }

  void expect(const std::string& reason, const std::function<void()>& damage) {
    image_ = fresh_;
    damage();
    const auto result = validate(image_.policy, image_.binding, false);
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
  const std::uint64_t end = policy().governing.offset + policy().governing.count * sizeof(std::uint32_t);
  ASSERT_NE(end % kTableAlign, 0u);
  expect("policy section: padding before table strings is not zero",
         [&] { image_.policy[end] = std::byte{1}; });
  expect("policy section, table strings: " + std::to_string(policy().strings.count) +
             " elements do not fit into " + std::to_string(end) + " bytes",
         [&] {
           policy().bytes = end;
           image_.policy.resize(end);
           image_.policy.shrink_to_fit();
         });
  const std::size_t too_many = kSectionBytesMax + 64;
  void* memory = mmap(nullptr, too_many, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  const auto result = validate({static_cast<const std::byte*>(memory), too_many}, fresh_.binding);
  EXPECT_EQ(std::get<Refusal>(result).reason, "policy section: 1073741888 bytes, expected " +
                                                  std::to_string(sizeof(PolicyHeader)) + " to 1073741824");
  munmap(memory, too_many);
}

TEST_F(Refusals, of_policy_table_sizes) {
  expect("policy section, table page_of: 1535 elements, expected 1536",
         [&] { resize_policy("page_of", 1535); });
  expect("policy section, table pages: 3073 elements, expected a multiple of 256",
         [&] { resize_policy("pages", 3073); });
  expect("policy section, table matrix[ingress]: 131 elements, expected 130",
         [&] { resize_policy("matrix[ingress]", 131); });
  expect("policy section, table verdicts: 71 elements, expected 72", [&] { resize_policy("verdicts", 71); });
  expect("policy section, table subjects[egress]: 9 elements, expected 10",
         [&] { resize_policy("subjects[egress]", 9); });
  for (const char* table : {"identities", "policies", "rules"})
    expect("policy section: identities, policies or rules lacks its none entry",
           [&] { resize_policy(table, 0); });
}

TEST_F(Refusals, of_names) {
  const auto identity_reason = "policy section, table identities, index 2: a string ends beyond the table";
  expect(identity_reason, [&] { identity(2).labels = kBeyond; });
  expect(identity_reason, [&] { identity(2).namespace_name = kBeyond; });
  for (StringRef Policy::*name : {&Policy::kind, &Policy::namespace_name, &Policy::name, &Policy::file})
    expect("policy section, table policies, index 3: a string ends beyond the table",
           [&] { object(3).*name = kBeyond; });
  for (StringRef Rule::*name : {&Rule::name, &Rule::peers, &Rule::ports})
    expect("policy section, table rules, index 4: a string ends beyond the table",
           [&] { rule(4).*name = kBeyond; });
  for (StringRef Endpoint::*name : {&Endpoint::namespace_name, &Endpoint::name, &Endpoint::id})
    expect("binding section, table endpoints, index 5: a string ends beyond the table",
           [&] { endpoint(5).*name = kBeyond; });
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
  expect("binding section, table records: lacks its none entry", [&] { resize_binding("records", 0); });
  expect("binding section, table records, index 4: unknown flags", [&] { record(4).flags = 4; });
  expect("binding section, table records, index 4: peer class 13, but there are 13",
         [&] { record(4).peer[1] = 13; });
  expect("binding section, table records, index 4: subject class 10, but there are 10",
         [&] { record(4).subject[0] = 10; });
}

TEST_F(Refusals, of_slots) {
  const std::string count = std::to_string(binding().slots.count - 1);
  expect("binding section, table slots: " + count + " elements, expected a power of two plus 16",
         [&] { resize_binding("slots", binding().slots.count - 1); });
  expect("binding section, table slots: 16 elements, expected a power of two plus 16",
         [&] { resize_binding("slots", 16); });
  expect("binding section, table slots, index 3: reserved field is not zero", [&] { slot(3).reserved = 1; });
  std::size_t unused = 0;
  while (slot(unused).record != 0) ++unused;
  const std::string at = "binding section, table slots, index " + std::to_string(unused);
  expect(at + ": names an address but no record", [&] { slot(unused).endpoint = 1; });
  expect(at + ": names an address but no record", [&] { slot(unused).address.bytes[0] = 1; });
}

TEST_F(Refusals, of_slots_that_hide_behind_others) {
  // A run of two: the second is lost when the first is cleared, or when it carries the same address.
  std::size_t second = 1;
  const std::uint64_t mask = binding().slots.count - kProbesMax - 1;
  const auto home = [&](std::size_t i) { return slot_hash(binding().slot_seed, slot(i).address) & mask; };
  while (slot(second).record == 0 || home(second) == second || home(second) != home(second - 1)) ++second;
  const std::string reason = "binding section, table slots, index " + std::to_string(second) + ": address " +
                             text(slot(second).address) + " cannot be found there";
  expect(reason, [&] { slot(second - 1) = {}; });
  expect(reason, [&] { slot(second - 1).address = slot(second).address; });
}

TEST_F(Refusals, of_slots_that_are_too_far_from_home) {
  std::size_t from = 0;
  while (slot(from).record == 0) ++from;
  const std::uint64_t home =
      slot_hash(binding().slot_seed, slot(from).address) & (binding().slots.count - kProbesMax - 1);
  expect("binding section, table slots, index " + std::to_string(home + kProbesMax) + ": address " +
             text(slot(from).address) + " is at home in slot " + std::to_string(home),
         [&] {
           const AddressSlot moved = slot(from);
           for (std::size_t i = 0; i < binding().slots.count; ++i) slot(i) = {};
           slot(home + kProbesMax) = moved;
         });
}

TEST_F(Refusals, of_tries) {
  const std::uint64_t nodes = binding().trie.count / kTrieEntries;
  expect("binding section, table trie: " + std::to_string(nodes * kTrieEntries + 1) +
             " elements, expected a multiple of 256",
         [&] { resize_binding("trie", nodes * kTrieEntries + 1); });
  expect("binding section, table trie, index " + std::to_string(nodes * kTrieEntries) + ": node " +
             std::to_string(nodes) + " has no parent before it",
         [&] { resize_binding("trie", (nodes + 1) * kTrieEntries); });
  const std::string there = ", but there are " + std::to_string(nodes) + " nodes";
  expect("binding section, table trie: roots 10000 and 1" + there, [&] { binding().trie_root_v4 = 10'000; });
  expect("binding section, table trie: roots 0 and 10000" + there, [&] { binding().trie_root_v6 = 10'000; });
  expect("binding section, table trie: roots 0 and 0" + there, [&] { binding().trie_root_v6 = 0; });
}

TEST_F(Refusals, of_endpoints) {
  const std::string none = "binding section, table endpoints: lacks its none entry";
  expect(none, [&] { resize_binding("endpoints", 0); });
  expect(none, [&] { endpoint(0).port = 500; });
  expect("binding section, table endpoints, index 5: identity 11, but there are 11",
         [&] { endpoint(5).identity = 11; });
  expect("binding section, table endpoints, index 5: flags 3, expected none, local or node",
         [&] { endpoint(5).flags = kEndpointLocal | kEndpointNode; });
  expect("binding section, table endpoints, index 5: an endpoint is local if, and only if, it has a port",
         [&] { endpoint(5).port = 0; });
  expect("binding section, table endpoints, index 5: reserved field is not zero",
         [&] { endpoint(5).reserved = 1; });
}

TEST_F(Refusals, of_files) {
  const std::size_t second = (fresh_.policy.size() + kSectionAlign - 1) / kSectionAlign * kSectionAlign;
  const auto resize = [](std::size_t bytes) { return [bytes](auto& file) { file.resize(bytes); }; };
  const auto set_bytes = [](std::size_t section, std::uint64_t bytes) {
    return [=](auto& file) {
      std::memcpy(&file[section + offsetof(PolicyHeader, bytes)], &bytes, sizeof bytes);
    };
  };
  const std::string size = std::to_string(sample::file_of(fresh_).size());
  expect_file("image file: 100 bytes, too short", resize(100));
  expect_file("image file: does not start with the magic of an image",
              [](auto& file) { file[0] ^= std::byte{1}; });
  expect_file("image file: its policy section says 18446744073709551615 bytes, but there are " + size,
              set_bytes(0, ~std::uint64_t{0}));
  expect_file("image file: lacks its binding section", resize(fresh_.policy.size()));
  expect_file("image file: lacks its binding section", resize(second + sizeof(BindingHeader) - 1));
  expect_file("image file: its binding section says 18446744073709551615 bytes, but there are " +
                  std::to_string(sample::file_of(fresh_).size() - second),
              set_bytes(second, ~std::uint64_t{0}));
  ASSERT_LT(fresh_.policy.size(), second);
  const std::string more = "image file: holds more than two sections and their padding";
  expect_file(more, [&](auto& file) { file[second - 1] = std::byte{1}; });
  expect_file(more, [&](auto& file) { file.back() = std::byte{1}; });
  expect_file(more, [&](auto& file) { file.resize(file.size() + kSectionAlign); });
}

}  // namespace
}  // namespace bulkhead::image
