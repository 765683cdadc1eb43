// Who somebody is: a set of labels in a namespace, a service account, and the number derived from them.
//
// The number is a function of these alone, so every node arrives at the same one without asking anybody:
// the first 16 bytes of SHA-256 over a canonical, injective encoding. Two label sets with one number are
// found when they meet in one Table and reported, never merged.
//
//   encoding: bytes(namespace) namespace, then for each label in key order bytes(key) key bytes(value) value,
//   then, where there is one, bytes(service account) service account: it alone makes the number of texts even
//   where bytes() is the length as 4 bytes, little-endian
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "policies/model/cluster.h"

namespace bulkhead::identity {

struct Id {
  std::array<std::uint8_t, 16> bytes{};
  auto operator<=>(const Id&) const = default;
};

/// It is a hash already.
struct IdHash {
  std::size_t operator()(const Id& id) const;
};

/// Injective: equal encodings mean equal namespace, labels and service account. Appends to `out`, so that a caller can reuse
/// it.
void encode(std::string_view namespace_name, const policies::Labels& labels, std::string_view service_account,
            std::string& out);
std::string encode(std::string_view namespace_name, const policies::Labels& labels,
                   std::string_view service_account = {});

/// The number of an encoding.
Id identify(std::string_view encoding);

/// "app=web,tier=front" in key order; empty for no labels.
std::string text(const policies::Labels& labels);

/// 32 lower-case hexadecimal digits.
std::string hex(const Id& id);

/// All identities of one generation, in order of first use.
class Table {
 public:
  struct Entry {
    Id id;
    std::string encoding;
  };
  struct Result {
    std::uint32_t index = 0;                 // of the entry with this encoding
    std::optional<std::uint32_t> collision;  // another entry has the same number: the new one was not added
  };
  using Hash = Id (*)(std::string_view);

  /// Another hash is for tests: nobody can make SHA-256 collide.
  explicit Table(Hash hash = identify) : hash_(hash) {}

  Result intern(std::string_view encoding);
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  Hash hash_;
  std::vector<Entry> entries_;
  std::unordered_map<std::string, std::uint32_t> by_encoding_;
  std::unordered_map<Id, std::uint32_t, IdHash> by_id_;
};

}  // namespace bulkhead::identity
