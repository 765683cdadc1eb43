// The slow way to every answer of this room: ask packet after packet, near every edge that a table has.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <variant>
#include <vector>

#include "controlplane/analysis/compare.h"
#include "controlplane/compile/compile.h"
#include "dataplane/image/validate.h"
#include "tests/property/scenario.h"
#include "tests/unit/image/sample.h"

namespace bulkhead::analysis::every_packet {

/// Owns the bytes that `view` points into.
struct Image {
  image::sample::Image bytes;
  image::View view;
};

inline Image validated(image::sample::Image bytes) {
  Image image{std::move(bytes), {}};
  auto checked = image::validate(image.bytes.sections());
  if (const auto* refusal = std::get_if<image::Refusal>(&checked)) ADD_FAILURE() << refusal->reason;
  image.view = std::get<image::View>(checked);
  return image;
}

inline Image build(const image::sample::Tables& tables) {
  return validated(image::sample::build(tables));
}

inline Image compiled(const property::Scenario& scenario) {
  auto output = compile::compile({.cluster = scenario.cluster,
                                  .policies = scenario.policies,
                                  .posture = scenario.posture,
                                  .node = {.name = scenario.local_node},
                                  .subjects = scenario.subjects});
  if (const auto* refusal = std::get_if<compile::Refusal>(&output)) ADD_FAILURE() << refusal->reason;
  const auto& made = std::get<compile::Output>(output).image;
  image::sample::Image bytes{*made.policy, {}};
  for (const image::SectionBytes& shard : made.shards) bytes.shards.push_back(*shard);
  return validated(std::move(bytes));
}

/// All members, and in and around every block: its first, second, middle and last address and its neighbours.
inline std::vector<abi::Address> addresses(const Space& space) {
  std::vector<abi::Address> found;
  for (const AddressClass& each : space.addresses()) {
    for (const Member& member : each.members) found.push_back(member.address);
    for (const Block& block : each.blocks) {
      abi::Address last = block.base;
      for (std::uint32_t bit = block.prefix_bits; bit < 128; ++bit)
        last.bytes[bit / 8] = static_cast<std::uint8_t>(last.bytes[bit / 8] | 0x80u >> bit % 8);
      found.insert(found.end(), {block.base, block.free, last});
      abi::Address before = block.base, after = last;
      for (std::size_t byte = 16; byte-- > 0 && before.bytes[byte]-- == 0;) {
      }
      for (std::size_t byte = 16; byte-- > 0 && ++after.bytes[byte] == 0;) {
      }
      for (const abi::Address& neighbour : {before, after})
        if (neighbour.is_v4() == each.v4) found.push_back(neighbour);
    }
  }
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  // A mapped address is no IPv6 address; everything else that is not mapped is.
  return found;
}

/// One for each port class and more: the ends of every range, thinned out evenly.
inline std::vector<PortRange> ports(const Space& space, std::size_t most) {
  std::vector<PortRange> found;
  for (const PortClass& each : space.ports()) {
    found.push_back({each.ranges[0].slot, each.ranges[0].first, each.ranges[0].first});
    found.push_back({each.ranges.back().slot, each.ranges.back().last, each.ranges.back().last});
  }
  std::vector<PortRange> thinned;
  for (std::size_t i = 0; i < found.size(); i += 1 + found.size() / most) thinned.push_back(found[i]);
  return thinned;
}

inline bool contains(const AddressClass& each, const Space& space, const abi::Address& address) {
  if (each.v4 != address.is_v4()) return false;
  if (std::any_of(each.members.begin(), each.members.end(),
                  [&](const Member& member) { return member.address == address; }))
    return true;
  for (const AddressClass& other : space.addresses())
    for (const Member& member : other.members)
      if (member.address == address) return false;
  return std::any_of(each.blocks.begin(), each.blocks.end(),
                     [&](const Block& block) { return block.contains(address); });
}

/// The one class that an address is in.
inline std::uint32_t class_of(const Space& space, const abi::Address& address) {
  std::vector<std::uint32_t> found;
  for (std::uint32_t i = 0; i < space.addresses().size(); ++i)
    if (contains(space.addresses()[i], space, address)) found.push_back(i);
  EXPECT_EQ(found.size(), 1u);
  return found.empty() ? 0 : found[0];
}

inline bool contains(const std::vector<PortRange>& ranges, image::ProtocolSlot slot, std::uint16_t port) {
  return std::any_of(ranges.begin(), ranges.end(), [&](const PortRange& range) {
    return range.slot == slot && range.first <= port && port <= range.last;
  });
}

}  // namespace bulkhead::analysis::every_packet
