// A plausible image made from a seed: what tests, fuzzers and benches look things up in.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "dataplane/image/builder.h"
#include "dataplane/image/query.h"

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

/// An endpoint before it has a place.
struct Named {
  std::string name, id;
  std::vector<abi::Address> addresses;
  std::uint32_t port = 0;
  std::uint64_t port_key = 0;
  std::uint32_t flags = kEndpointOther;
};

/// An address of the `owner`-th endpoint, from 1; 0: nobody with a name.
struct Owned {
  abi::Address address;
  Profile profile = 0;
  std::uint32_t owner = 0;
};

/// An identity before it has a place; all in namespace shop.
struct Who {
  std::array<std::uint8_t, 16> id{};
  std::string labels;
};

struct Tables {
  PolicyTables policy;  // whose profiles name identities by their order, from 1
  std::vector<Who> identities;
  std::vector<Named> endpoints;  // all in namespace shop
  std::vector<Owned> bound;
  std::uint32_t shards = 0;  // 0: as many as shards_for() wants
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
    for (std::uint32_t i = 1; i <= shape_.identities; ++i) {
      Who& who = tables_.identities.emplace_back();
      for (std::uint8_t& byte : who.id) byte = static_cast<std::uint8_t>(random_());
      who.labels = "app=web,tier=" + std::to_string(i);
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

  static constexpr std::uint32_t kWorlds = 3;

  /// Three worlds, and a profile for each identity.
  void make_records() {
    PolicyTables& p = tables_.policy;
    for (std::uint32_t i = 0; i < kWorlds; ++i)
      p.worlds.push_back(
          {0, 0, {kNoSubject, kNoSubject}, {shape_.classes + i, shape_.classes + 2 - i}, kRecordWorld});
    for (std::uint32_t i = 0; i < shape_.identities; ++i) {
      const std::uint32_t one = i % shape_.classes;
      Profile profile = random_();
      if (profile == 0) profile = 1;
      p.profiles.push_back({profile, i + 1, {one, shape_.classes - 1 - one}, {one, one}, kRecordEndpoint});
    }
    p.world_v4 = 0;
    p.world_v6 = 1;
  }

  void make_endpoints() {
    for (std::uint32_t i = 1; i <= shape_.endpoints; ++i) {
      const Record& record = tables_.policy.profiles[(i - 1) % shape_.identities];
      Named named{
          "web-" + std::to_string(i), "id-web-" + std::to_string(i), {endpoint_v4(i), endpoint_v6(i)}};
      for (const abi::Address& address : named.addresses)
        tables_.bound.push_back({address, record.profile, i});
      named.port_key = random_();
      if (i <= shape_.local) {
        named.port = i;
        named.flags = kEndpointLocal;
      }
      tables_.endpoints.push_back(std::move(named));
    }
  }

  /// Nested ones among them, in both families.
  void make_blocks() {
    PolicyTables& b = tables_.policy;
    for (std::uint32_t i = 0; i < shape_.blocks; ++i) {
      BlockRecord block;
      const bool v4 = i % 2 == 0;
      const std::uint32_t bits = 1 + i / 2 * 7 % (v4 ? 32 : 128);
      block.prefix_bits = static_cast<std::uint8_t>(v4 ? 96 + bits : bits);
      abi::Address base = v4 ? abi::address_v4(0x0a00'0000u ^ below(1u << 24)) : endpoint_v6(below(1u << 24));
      for (std::uint32_t bit = block.prefix_bits; bit < 128; ++bit)
        base.bytes[bit / 8] = static_cast<std::uint8_t>(base.bytes[bit / 8] & ~(0x80u >> bit % 8));
      block.base = base;
      block.record = below(kWorlds);
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
  std::vector<std::vector<std::byte>> shards;

  Sections sections() const {
    Sections all{policy, {}};
    for (const auto& shard : shards) all.shards.push_back(shard);
    return all;
  }
  std::size_t bytes() const {
    std::size_t sum = policy.size();
    for (const auto& shard : shards) sum += shard.size();
    return sum;
  }
  bool operator==(const Image&) const = default;
};

inline std::uint32_t shard_count(const Tables& tables) {
  return tables.shards != 0 ? tables.shards : shards_for(tables.bound.size());
}

/// The number of the `index`-th endpoint, from 0.
inline std::vector<std::uint32_t> numbers_of(const Tables& tables, std::vector<ShardTables>& shards) {
  const std::uint32_t count = shard_count(tables);
  shards.resize(count);
  std::vector<std::vector<std::pair<std::uint64_t, std::uint32_t>>> members(count);
  for (std::uint32_t i = 0; i < tables.endpoints.size(); ++i) {
    const std::uint64_t hash = endpoint_hash(tables.endpoints[i].id);
    members[shard_of_hash(hash, count - 1)].emplace_back(hash, i);
  }
  std::vector<std::uint32_t> numbers(tables.endpoints.size());
  for (std::uint32_t shard = 0; shard < count; ++shard) {
    std::sort(members[shard].begin(), members[shard].end(), [&](const auto& a, const auto& b) {
      return std::tuple(static_cast<std::uint32_t>(a.first), tables.endpoints[a.second].id) <
             std::tuple(static_cast<std::uint32_t>(b.first), tables.endpoints[b.second].id);
    });
    std::vector<std::uint64_t> hashes;
    for (const auto& [hash, index] : members[shard]) hashes.push_back(hash);
    const Places places = find_places(hashes).value();
    shards[shard].shard = shard;
    shards[shard].shards = count;
    shards[shard].endpoint_table = places.table;
    for (std::size_t i = 0; i < members[shard].size(); ++i) {
      const Named& named = tables.endpoints[members[shard][i].second];
      shards[shard].endpoints.push_back({"shop", named.name, named.id, named.port_key, named.port,
                                         named.flags, named.addresses, places.place[i]});
      numbers[members[shard][i].second] = shard << kEndpointPlaceBits | places.place[i];
    }
  }
  return numbers;
}

/// Likewise of identities; requires that the shards are there.
inline std::vector<std::uint32_t> place_identities(const Tables& tables, std::vector<ShardTables>& shards) {
  std::vector<std::uint32_t> numbers(tables.identities.size());
  for (ShardTables& shard : shards) {
    std::vector<std::pair<std::uint32_t, std::uint32_t>> members;
    for (std::uint32_t i = 0; i < numbers.size(); ++i)
      if (const std::uint64_t hash = identity_hash(tables.identities[i].id);
          shard_of_hash(hash, shard.shards - 1) == shard.shard)
        members.emplace_back(static_cast<std::uint32_t>(hash), i);
    std::sort(members.begin(), members.end());
    std::vector<std::uint64_t> hashes;
    for (const auto& [hash, index] : members) hashes.push_back(hash);
    const Places places = find_places(hashes).value();
    shard.identity_table = places.table;
    for (std::size_t i = 0; i < members.size(); ++i) {
      const Who& who = tables.identities[members[i].second];
      shard.identities.push_back({who.id, who.labels, "shop", places.place[i]});
      numbers[members[i].second] = shard.shard << kEndpointPlaceBits | places.place[i];
    }
  }
  return numbers;
}

inline std::vector<ShardTables> shard_tables(const Tables& tables) {
  std::vector<ShardTables> shards;
  const std::vector<std::uint32_t> numbers = numbers_of(tables, shards);
  for (const Owned& owned : tables.bound)
    shards[shard_of_hash(slot_hash(0, owned.address), static_cast<std::uint32_t>(shards.size() - 1))]
        .bound.push_back({owned.address, owned.profile, owned.owner == 0 ? 0 : numbers[owned.owner - 1]});
  return shards;
}

/// The tables must be buildable.
inline Image build(const Tables& tables) {
  Image image;
  std::vector<ShardTables> shards = shard_tables(tables);
  const std::vector<std::uint32_t> numbers = place_identities(tables, shards);
  PolicyTables policy = tables.policy;
  for (Record& record : policy.profiles)
    if (record.identity - 1 < numbers.size()) record.identity = numbers[record.identity - 1];
  image.policy = std::get<0>(build_policy(policy));
  for (const ShardTables& shard : shards) image.shards.push_back(std::get<0>(build_shard(shard)));
  return image;
}

/// As `bulkheadctl` reads and writes it.
inline std::vector<std::byte> file_of(const Image& image) {
  return join_file(image.sections());
}

}  // namespace bulkhead::image::sample
