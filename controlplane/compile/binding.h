// Addresses, endpoints and identities in shards, each rebuilt only where something in it changed.
//
// Owners are put in and taken out by the key of put(); build() gives the sections, the same bytes whatever the order in
// which things came to be as they are. An owner stands in the shard of its first address, an identity in the one that its id chooses, each at
// a place that follows from its id: image/format.h. One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "controlplane/compile/compile.h"
#include "controlplane/identity/identity.h"
#include "dataplane/image/builder.h"

namespace bulkhead::compile {

class Binding {
 public:
  struct Owner {
    std::string_view namespace_name, name, id;
    std::uint64_t port_key = 0;
    std::uint32_t port = 0;
    std::uint32_t flags = image::kEndpointOther;  // 0: its addresses are nobody's with a name
  };
  struct Address {
    abi::Address address;
    image::Profile profile = 0;
  };

  /// From here to end(), everybody is put in again, and who is not goes. About so many addresses will come.
  void begin(std::size_t addresses);
  void end();

  struct Identity {
    identity::Id id;
    const policies::Labels* labels = nullptr;
    std::string_view namespace_name;
  };
  /// Where in numbers() its number is, from settle() until it is removed.
  std::uint32_t put(const Identity& identity);
  void remove(const identity::Id& id);

  std::span<const std::uint32_t> numbers() const { return numbers_; }

  /// In place of what had this key, if anything; who is as he was costs no shard. `key` is unlike any other owner's.
  void put(std::string key, const Owner& owner, std::span<const Address> addresses);
  void remove(const std::string& key);

  /// The key of an address's owner; null where nobody has it.
  const std::string* owner(const abi::Address& address);
  bool anybody_in(const policies::AddressBlock& block) const;

  /// Gives everybody his place. True where an identity that had one has another. Throws Refused where a shard is full.
  bool settle();
  /// Every shard; those without a change are the very bytes of before. Throws Refused with the builder's reason; the
  /// next build() then tries again. Requires settle() after the latest change.
  std::vector<image::SectionBytes> build(std::uint64_t section_bytes_max);

 private:
  struct Entry {
    const std::string* key = nullptr;  // of entries_
    std::string text;                  // what the owner's names point into
    Owner owner;
    std::uint64_t hash = 0;
    std::uint32_t place = 0;  // in its shard; 0: not placed yet, or without a name
    std::uint64_t round = 0;  // the latest in which it was put
    std::vector<abi::Address> addresses;
    std::vector<image::Profile> profiles;
  };
  struct Named {
    identity::Id id;
    std::string labels, namespace_name;
    std::uint32_t index = 0;  // into numbers_
    std::uint64_t round = 0;
  };
  struct Held {
    abi::Address address;
    Entry* entry = nullptr;   // whose
    std::uint32_t which = 0;  // of its addresses
  };
  struct Shard {
    std::vector<Entry*> endpoints;                // with names; in the order of their places
    std::vector<Named*> identities;               // in the order of their places
    std::vector<Held> addresses;                  // any order
    std::uint32_t table = 0, identity_table = 1;  // places
    bool moved = true, identities_moved = true;   // places are to be worked out
    bool dirty = true;                            // bytes are to be made
    image::SectionBytes bytes;
  };

  static bool is_as(const Entry& entry, const Owner& owner, std::span<const Address> addresses);
  /// In which those of one shard stand.
  static std::tuple<std::uint32_t, std::string_view, std::string_view, std::string_view> order_of(
      const Entry& entry);
  static std::tuple<std::uint32_t, identity::Id> order_of(const Named& identity);
  Shard& shard_of(const abi::Address& address);
  std::uint32_t home_of(const Entry& entry) const;
  std::uint32_t number_of(const Entry& entry) const;
  void enter(Entry& entry);
  void leave(Entry& entry);
  void divide(std::uint32_t shards);
  void place(Shard& shard);
  bool place_identities(Shard& shard);
  Shard& shard_of(const identity::Id& id);
  void enter(Named& identity);
  void forget(const Named& identity);

  std::unordered_map<std::string, std::unique_ptr<Entry>> entries_;
  std::unordered_map<identity::Id, std::unique_ptr<Named>, identity::IdHash> identities_;
  std::vector<std::uint32_t> numbers_, free_numbers_;
  std::vector<Shard> shards_ = std::vector<Shard>(1);
  std::size_t address_count_ = 0;
  std::uint64_t round_ = 0;
};

}  // namespace bulkhead::compile
