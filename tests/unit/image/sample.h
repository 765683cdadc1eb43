// A plausible image made from a seed: what tests, fuzzers and benches look things up in.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "dataplane/image/builder.h"

namespace bulkhead::image::sample {

/// Two addresses each: 10.x.y.z and fd00::x:y:z. Ports 1, 2, 3, ... belong to the first `local` of them.
struct Shape {
  std::uint32_t endpoints = 20;
  std::uint32_t local = 8;
  std::uint32_t identities = 10;
  std::uint32_t classes = 10;  // at most identities: more share a class
  std::uint32_t rules = 30;
  std::uint32_t rule_sets = 12;
  std::uint32_t port_classes = 6;
  std::uint32_t blocks = 12;
  std::uint64_t seed = 1;
};

struct Tables {
  PolicyTables policy;
  BindingTables binding;
};

inline abi::Address endpoint_v4(std::uint32_t endpoint) {
  return abi::address_v4(0x0a00'0000u + endpoint);
}

inline abi::Address endpoint_v6(std::uint32_t endpoint) {
  abi::Address address;
  address.bytes[0] = 0xfd;
  for (int i = 0; i < 4; ++i) address.bytes[12 + i] = static_cast<std::uint8_t>(endpoint >> (24 - 8 * i));
  return address;
}

class Maker {
 public:
  explicit Maker(const Shape& shape) : shape_(shape), random_(shape.seed) {}

  Tables make() {
    make_names();
    make_ports();
    make_classes();
    make_records();
    make_endpoints();
    make_blocks();
    return std::move(tables_);
  }

 private:
  std::uint32_t below(std::uint64_t bound) { return static_cast<std::uint32_t>(random_() % bound); }

  void make_names() {
    PolicyTables& p = tables_.policy;
    p.identities.resize(1);
    for (std::uint32_t i = 1; i <= shape_.identities; ++i) {
      Identity identity{};
      for (std::uint8_t& byte : identity.id) byte = static_cast<std::uint8_t>(random_());
      identity.labels = p.strings.add("app=web,tier=" + std::to_string(i));
      identity.namespace_name = p.strings.add("shop");
      p.identities.push_back(identity);
    }
    p.policies.resize(1);
    p.rules.resize(1);
    for (std::uint32_t i = 1; i <= shape_.rules; ++i) {
      if (i % 4 == 1)
        p.policies.push_back({p.strings.add("NetworkPolicy"), p.strings.add("shop"),
                              p.strings.add("allow-" + std::to_string(i)), p.strings.add("shop.yaml"), i, 0});
      const auto policy = static_cast<std::uint32_t>(p.policies.size() - 1);
      p.rules.push_back({policy, below(kDirections), below(4) == 0 ? Verdict::kDeny : Verdict::kAllow, i, 5,
                         p.strings.add("ingress[0]"), p.strings.add("everyone"), p.strings.add("tcp/443"),
                         0});
      p.governing.push_back(i);
    }
    for (std::uint32_t i = 1; i < p.policies.size(); ++i) p.isolating.push_back(i);
  }

  /// Page 0 of each protocol has ports of their own, all higher ports share one page a protocol.
  void make_ports() {
    PolicyTables& p = tables_.policy;
    p.port_classes = shape_.port_classes;
    for (std::uint32_t slot = 0; slot < kProtocolSlots; ++slot) {
      for (std::uint32_t page = 0; page < 256; ++page)
        p.page_of.push_back(static_cast<std::uint16_t>(2 * slot + (page != 0)));
      for (std::uint32_t i = 0; i < kPageEntries; ++i)
        p.pages.push_back(static_cast<std::uint16_t>(below(p.port_classes)));
      p.pages.insert(p.pages.end(), kPageEntries, static_cast<std::uint16_t>(below(p.port_classes)));
    }
  }

  void make_classes() {
    PolicyTables& p = tables_.policy;
    p.rule_sets = shape_.rule_sets;
    for (std::uint64_t i = 0; i < std::uint64_t{p.rule_sets} * p.port_classes; ++i) {
      const std::uint32_t rule = below(p.rules.size());
      const bool allow = rule != 0 ? p.rules[rule].verdict == Verdict::kAllow : below(2) != 0;
      p.verdicts.push_back(rule | (allow ? kAllowBit : 0));
    }
    for (std::uint32_t direction = 0; direction < kDirections; ++direction) {
      p.subject_classes[direction] = shape_.classes;
      p.peer_classes[direction] = shape_.classes + 3;
      p.matrix[direction].resize(std::uint64_t{p.subject_classes[direction]} * p.peer_classes[direction]);
      for (std::uint32_t& rule_set : p.matrix[direction]) rule_set = below(p.rule_sets);
      for (std::uint32_t i = 0; i < p.subject_classes[direction]; ++i) {
        const std::uint32_t isolating = below(p.isolating.size() + 1);
        const std::uint32_t governing = below(p.governing.size() + 1);
        p.subjects[direction].push_back(
            {0, isolating, 0, governing, below(2) ? Verdict::kAllow : Verdict::kDeny, 0});
      }
    }
  }

  /// Records 1, 2 and 3 are worlds; an identity's record follows them.
  void make_records() {
    BindingTables& b = tables_.binding;
    b.records.resize(1);
    for (std::uint32_t i = 0; i < 3; ++i)
      b.records.push_back({0, {kNoSubject, kNoSubject}, {shape_.classes + i, shape_.classes + 2 - i}, 0});
    for (std::uint32_t i = 0; i < shape_.identities; ++i) {
      const std::uint32_t one = i % shape_.classes;
      b.records.push_back({i + 1, {one, shape_.classes - 1 - one}, {one, one}, kRecordEndpoint});
    }
    b.world_record_v4 = 1;
    b.world_record_v6 = 2;
  }

  void make_endpoints() {
    BindingTables& b = tables_.binding;
    b.endpoints.resize(1);
    for (std::uint32_t i = 1; i <= shape_.endpoints; ++i) {
      const std::uint32_t identity = 1 + (i - 1) % shape_.identities;
      const auto first = static_cast<std::uint32_t>(b.addresses.size());
      for (const abi::Address& address : {endpoint_v4(i), endpoint_v6(i)}) {
        b.addresses.push_back(address);
        b.bound.push_back({address, 3 + identity, i});
      }
      const std::string name = "web-" + std::to_string(i);
      const bool local = i <= shape_.local;
      b.endpoints.push_back({b.strings.add("shop"), b.strings.add(name), b.strings.add("id-" + name),
                             random_(), local ? i : 0, identity, local ? std::uint32_t{kEndpointLocal} : 0,
                             first, 2, 0});
    }
  }

  /// Nested ones among them, in both families.
  void make_blocks() {
    BindingTables& b = tables_.binding;
    for (std::uint32_t i = 0; i < shape_.blocks; ++i) {
      BlockRecord block;
      const bool v4 = i % 2 == 0;
      const std::uint32_t bits = 1 + i / 2 * 7 % (v4 ? 32 : 128);
      block.prefix_bits = static_cast<std::uint8_t>(v4 ? 96 + bits : bits);
      abi::Address base = v4 ? abi::address_v4(0x0a00'0000u ^ below(1u << 24)) : endpoint_v6(below(1u << 24));
      for (std::uint32_t bit = block.prefix_bits; bit < 128; ++bit)
        base.bytes[bit / 8] = static_cast<std::uint8_t>(base.bytes[bit / 8] & ~(0x80u >> bit % 8));
      block.base = base;
      block.record = 1 + below(3);
      const auto same = [&](const BlockRecord& other) {
        return other.prefix_bits == block.prefix_bits && other.base == block.base;
      };
      if (std::none_of(b.blocks.begin(), b.blocks.end(), same)) b.blocks.push_back(block);
    }
  }

  Shape shape_;
  std::mt19937_64 random_;
  Tables tables_;
};

inline Tables make_tables(const Shape& shape = {}) {
  return Maker(shape).make();
}

struct Image {
  std::vector<std::byte> policy;
  std::vector<std::byte> binding;
};

inline Digest digest_of(std::span<const std::byte> policy) {
  return reinterpret_cast<const PolicyHeader*>(policy.data())->digest;
}

/// The tables must be buildable.
inline Image build(const Tables& tables) {
  Image image;
  image.policy = std::get<0>(build_policy(tables.policy));
  image.binding = std::get<0>(build_binding(tables.binding, digest_of(image.policy)));
  return image;
}

/// As `bulkheadctl` reads and writes it: each section padded to kSectionAlign.
inline std::vector<std::byte> file_of(const Image& image) {
  std::vector<std::byte> file;
  for (const std::vector<std::byte>* section : {&image.policy, &image.binding}) {
    file.insert(file.end(), section->begin(), section->end());
    file.resize((file.size() + kSectionAlign - 1) / kSectionAlign * kSectionAlign);
  }
  return file;
}

}  // namespace bulkhead::image::sample
