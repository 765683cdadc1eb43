// Questions about whole images: not "may this packet pass?" but "is there any packet that ...?".
//
// An image tells apart far fewer things than there are packets. Two images together still do: every address leads
// to one record in each, every (protocol, port) to one port class in each. What leads to the same pair is judged
// alike by both, whatever the packet. So a walk over all pairs of *address classes* and all *port classes* has
// asked about every packet there is, and an answer comes with a packet that shows it.
//
//   space.h     the partition of addresses and ports that two images make together
//   verdicts.h  what each image allows between two address classes, as a set of port classes
//   compare.h   all packets that two images judge differently
//   invariants.h, crowd.h  whether a candidate keeps its invariants
//   prove.h     whether a claim holds for every packet, or one that refutes it
//   matrix.h    who may talk to whom
//   redundancy.h, lint.h  rules without effect, and what policies say and cannot mean
//   party.h     address classes in words: who they are
//
// A packet goes between addresses of one family. An endpoint always reaches itself, whatever the tables say: which
// addresses belong to one endpoint is therefore part of the space. Nothing here opens a file or asks a process; a
// Space refers to its views, which must outlive it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "dataplane/image/query.h"

namespace bulkhead::analysis {

/// The two images of a comparison. Questions about one image give it twice.
enum Side : std::uint32_t { kBefore, kAfter, kSides };

/// An address that at least one of the images binds by itself.
struct Member {
  abi::Address address;
  std::uint32_t endpoint[kSides];  // 0: nobody's there
};

/// A block of addresses, less those that are members.
struct Block {
  abi::Address base;
  std::uint8_t prefix_bits;  // of 128; an IPv4 /24 is 120
  abi::Address free;         // an address in it that is no member: there is one
  bool contains(const abi::Address& address) const;
};

/// Addresses of one family that lead to one record in each image. Not empty.
struct AddressClass {
  std::uint32_t record[kSides];
  bool v4;
  std::vector<Member> members;  // by address
  std::vector<Block> blocks;    // by base; disjoint
};

struct PortRange {
  image::ProtocolSlot slot;
  std::uint16_t first, last;  // inclusive
  bool operator==(const PortRange&) const = default;
};

struct PortClass {
  std::uint32_t number[kSides];
  std::vector<PortRange> ranges;  // by slot, then port
};

/// The numbers that are ports in a slot: types of ICMP and protocol numbers have eight bits. Numbers of protocols
/// that have a slot of their own never reach the last one.
constexpr std::uint32_t ports_of(image::ProtocolSlot slot) {
  return slot < image::kIcmp ? 65536 : 256;
}
constexpr bool reaches(image::ProtocolSlot slot, std::uint32_t port) {
  return slot != image::kOtherProtocol ||
         image::protocol_slot(static_cast<std::uint8_t>(port)) == image::kOtherProtocol;
}

class Space {
 public:
  Space(const image::View& before, const image::View& after);

  const image::View& view(std::uint32_t side) const { return *views_[side]; }
  const std::vector<AddressClass>& addresses() const { return addresses_; }
  const std::vector<PortClass>& ports() const { return ports_; }

  /// A block's address that is no member, preferably one that could be a host's.
  std::optional<abi::Address> free_address(const abi::Address& base, std::uint8_t prefix_bits) const;

  /// The ports of a set of port classes, joined where they touch.
  std::vector<PortRange> ranges(const std::vector<std::uint32_t>& port_classes) const;

 private:
  void divide_ports();
  void add_members();
  void add_blocks(bool v4);

  const image::View* views_[kSides];
  std::vector<abi::Address> bound_;  // sorted
  std::vector<AddressClass> addresses_;
  std::vector<PortClass> ports_;
};

/// Sorted and joined where they touch.
std::vector<PortRange> joined(std::vector<PortRange> ranges);

/// True for all protocols and ports there are.
bool is_everything(const std::vector<PortRange>& ranges);

}  // namespace bulkhead::analysis
