#include "controlplane/analysis/prove.h"

#include <algorithm>

namespace bulkhead::analysis {
namespace {

End chosen_members(const Space& space,
                   const std::function<bool(const AddressClass&, const Member&)>& chosen) {
  End end;
  for (const AddressClass& each : space.addresses()) {
    AddressClass part{{each.record[kBefore], each.record[kAfter]}, each.v4, {}, {}};
    for (const Member& member : each.members)
      if (chosen(each, member)) part.members.push_back(member);
    if (!part.members.empty()) end.push_back(std::move(part));
  }
  return end;
}

std::optional<PortRange> overlap(const PortRange& a, const PortRange& b) {
  if (a.slot != b.slot || a.last < b.first || b.last < a.first) return std::nullopt;
  return PortRange{a.slot, std::max(a.first, b.first), std::min(a.last, b.last)};
}

bool of_family(image::ProtocolSlot slot, bool v4) {
  return slot != (v4 ? image::kIcmpV6 : image::kIcmp);
}

std::uint32_t set_of(PortSets& sets, const std::vector<std::vector<PortRange>>& parts) {
  std::vector<std::uint64_t> words(sets.words());
  for (std::size_t i = 0; i < parts.size(); ++i)
    if (!parts[i].empty()) words[i / 64] |= std::uint64_t{1} << i % 64;
  return sets.intern(words);
}

}  // namespace

std::vector<std::vector<PortRange>> cut(const Space& space, const std::vector<PortRange>& ports,
                                        std::optional<bool> v4) {
  std::vector<std::vector<PortRange>> parts(space.ports().size());
  for (std::size_t i = 0; i < parts.size(); ++i)
    for (const PortRange& range : space.ports()[i].ranges)
      for (const PortRange& asked : ports)
        if (const auto both = overlap(range, asked); both && (!v4 || of_family(range.slot, *v4)))
          parts[i].push_back(*both);
  return parts;
}

End everybody(const Space& space) {
  return space.addresses();
}

End world(const Space& space) {
  End end;
  for (const AddressClass& each : space.addresses()) {
    AddressClass part = each;
    part.members.clear();
    if (!part.blocks.empty()) end.push_back(std::move(part));
  }
  return end;
}

End within(const Space& space, const Block& block) {
  End end = chosen_members(
      space, [&](const AddressClass&, const Member& member) { return block.contains(member.address); });
  for (const AddressClass& each : space.addresses()) {
    AddressClass part{{each.record[kBefore], each.record[kAfter]}, each.v4, {}, {}};
    for (const Block& mine : each.blocks) {
      // Of two blocks that meet, one lies in the other.
      const Block& inner = mine.prefix_bits >= block.prefix_bits ? mine : block;
      const Block& outer = mine.prefix_bits >= block.prefix_bits ? block : mine;
      if (each.v4 != block.base.is_v4() || !outer.contains(inner.base)) continue;
      if (const auto free = space.free_address(inner.base, inner.prefix_bits))
        part.blocks.push_back({inner.base, inner.prefix_bits, *free});
    }
    if (!part.blocks.empty()) end.push_back(std::move(part));
  }
  return end;
}

End endpoints(const Space& space, const std::function<bool(std::uint32_t)>& chosen) {
  return chosen_members(space, [&](const AddressClass&, const Member& member) {
    return member.endpoint[kAfter] != 0 && chosen(member.endpoint[kAfter]);
  });
}

std::optional<Refutation> refute(const Space& space, const Claim& claim, std::size_t& pairs) {
  pairs = 0;
  Verdicts verdicts(space);
  std::vector<std::vector<PortRange>> parts[2];  // by family
  std::uint32_t asked[2];
  for (const bool v4 : {false, true}) {
    parts[v4] = cut(space, claim.ports, claim.allow ? std::optional(v4) : std::nullopt);
    asked[v4] = set_of(verdicts.sets(), parts[v4]);
  }
  for (const AddressClass& from : claim.from)
    for (const AddressClass& to : claim.to) {
      if (from.v4 != to.v4) continue;
      const std::uint32_t allowed = verdicts.allowed(kAfter, from, to);
      const std::uint32_t meant = asked[from.v4];
      const std::uint32_t against =
          claim.allow ? verdicts.sets().without(meant, allowed) : verdicts.sets().both(meant, allowed);
      ++pairs;
      if (against == PortSets::kNone) continue;
      const auto pair = apart(from, to);
      if (!pair) {
        --pairs;
        continue;
      }
      std::vector<PortRange> ranges;
      for (const std::uint32_t number : verdicts.sets().classes(against))
        ranges.insert(ranges.end(), parts[from.v4][number].begin(), parts[from.v4][number].end());
      const PortRange port = witness_port(joined(std::move(ranges)), from.v4);
      const Packet packet{pair->source, pair->destination, port.slot, port.first};
      return Refutation{packet, judge(space.view(kAfter), packet)};
    }
  return std::nullopt;
}

}  // namespace bulkhead::analysis
