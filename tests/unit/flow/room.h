// What the tests of this room share: keys, a table over plain memory, a grace period that the test ends.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <memory>

#include "dataplane/flow/table.h"

namespace bulkhead::flow {

struct alignas(64) Key {
  abi::Address source, destination;
  std::uint16_t source_port = 0, destination_port = 0;
  std::uint8_t protocol = 6;
  std::uint8_t beyond[27] = {};  // never part of a key

  Key reply() const {
    Key key = *this;
    std::swap(key.source, key.destination);
    std::swap(key.source_port, key.destination_port);
    return key;
  }
};
static_assert(offsetof(Key, protocol) == kKeyBytes - 1);

/// The n-th of many different keys, over both families and several protocols.
inline Key key_number(std::uint32_t n) {
  Key key;
  key.source = abi::address_v4(0x0a000000u + n % 5000);
  key.destination = abi::address_v4(0x0a800000u + n / 5000 % 300);
  if (n % 3 == 0) key.source.bytes[0] = key.destination.bytes[0] = 0xfd;
  key.source_port = static_cast<std::uint16_t>(1024 + n % 60000);
  key.destination_port = static_cast<std::uint16_t>(n / 60000 + 1);
  key.protocol = n % 2 ? 6 : 17;
  return key;
}

/// Zeroed memory of a table's size.
class Room {
 public:
  explicit Room(std::uint64_t flows_max) : bytes_(geometry(flows_max).bytes) {
    data_.reset(static_cast<std::byte*>(std::aligned_alloc(4096, bytes_)));
    std::memset(data_.get(), 0, bytes_);
  }
  std::span<std::byte> bytes() { return {data_.get(), bytes_}; }
  std::uint16_t* tags(const Table& table) {
    return reinterpret_cast<std::uint16_t*>(data_.get() + geometry(table.flows_max()).tags_offset);
  }

 private:
  struct Free {
    void operator()(std::byte* at) const { std::free(at); }
  };
  std::uint64_t bytes_;
  std::unique_ptr<std::byte, Free> data_;
};

inline TableOptions options_of(std::uint64_t flows_max, std::uint32_t workers = 1) {
  TableOptions options;
  options.flows_max = flows_max;
  options.workers = workers;
  options.hash_seed[0] = 0x1234567890abcdef;
  options.hash_seed[1] = 0xfedcba0987654321;
  options.hash_seed[2] = 0x0f1e2d3c4b5a6978;
  options.hash_seed[3] = 0x8796a5b4c3d2e1f0;
  options.boot_id[3] = 7;
  options.boottime_s = 1000;
  return options;
}

/// Ends grace periods when told to.
struct Grace {
  bool over = false;
  std::uint64_t started = 0;
  std::uint64_t start() { return ++started; }
  bool done(std::uint64_t) const { return over; }
};

inline Inserted insert(Table& table, const Key& key, std::uint32_t generation = 1, std::uint16_t now_s = 0,
                       std::uint32_t worker = 0) {
  NewFlow flow{};
  flow.key = &key;
  flow.stamp = {generation, {10, 20}};
  flow.now_s = now_s;
  return table.insert(worker, table.hasher()(&key), flow);
}

inline void reclaim_all(Table& table, std::uint32_t worker = 0) {
  Grace grace{true};
  for (int i = 0; i < 3; ++i) table.reclaim(worker, grace);
}

}  // namespace bulkhead::flow
