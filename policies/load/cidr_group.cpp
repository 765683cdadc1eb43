#include "policies/load/cidr_group.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "policies/load/ends.h"
#include "policies/load/objects.h"

namespace bulkhead::policies {
namespace {

/// No block has such a prefix.
constexpr std::uint8_t kPlace = 0xff;

bool is_place(const IpBlock& block) {
  return block.block.prefix_bits == kPlace;
}

/// What a copy costs: a block's exceptions count like blocks.
std::size_t weight(const std::vector<IpBlock>& blocks) {
  std::size_t sum = blocks.size();
  for (const IpBlock& block : blocks) sum += block.except.size();
  return sum;
}

class Resolver {
 public:
  Resolver(std::vector<CidrGroup>& groups, std::vector<Error>& errors) : errors_(errors) {
    for (CidrGroup& group : groups) groups_.emplace(group.name, Entry{&group, false, false});
  }

  void run() {
    for (auto& [name, entry] : groups_) resolve(entry);
  }

  /// nullptr where there is none, which is reported elsewhere.
  const CidrGroup* find(const std::string& name) const {
    const auto found = groups_.find(name);
    return found != groups_.end() ? found->second.group : nullptr;
  }

  std::vector<std::string_view> names() const {
    std::vector<std::string_view> all;
    for (const auto& [name, entry] : groups_) all.push_back(name);
    return all;
  }

 private:
  struct Entry {
    CidrGroup* group;
    bool begun, done;
  };

  /// Puts the blocks of the groups in it into their places. A group in itself stays without them.
  void resolve(Entry& entry) {
    if (entry.done) return;
    CidrGroup& group = *entry.group;
    entry.begun = true;
    way_.push_back(group.name);
    std::vector<IpBlock> blocks;
    for (const IpBlock& block : group.blocks) {
      if (!is_place(block)) {
        blocks.push_back(block);
        continue;
      }
      const auto inner = groups_.find(block.group);
      if (inner == groups_.end()) continue;
      if (inner->second.begun && !inner->second.done) {
        fail(group, "found the group in itself: " + circle(block.group) + ", expected none");
        continue;
      }
      if (way_.size() >= kGroupDepthMax) {
        fail(group, "found groups in groups deeper than " + std::to_string(kGroupDepthMax));
        continue;
      }
      resolve(inner->second);
      const auto& more = inner->second.group->blocks;
      filled_ += weight(more);
      if (filled_ <= kFilledBlocksMax)
        blocks.insert(blocks.end(), more.begin(), more.end());
      else
        fail(group, "found more than " + std::to_string(kFilledBlocksMax) +
                        " blocks where groups lie in groups, expected fewer in all");
    }
    std::sort(blocks.begin(), blocks.end());
    blocks.erase(std::unique(blocks.begin(), blocks.end()), blocks.end());
    if (blocks.size() > kGroupBlocksMax) {
      fail(group, "found " + std::to_string(blocks.size()) + " blocks in the group, expected at most " +
                      std::to_string(kGroupBlocksMax));
      blocks.clear();
    }
    group.blocks = std::move(blocks);
    way_.pop_back();
    entry.done = true;
  }

  std::string circle(const std::string& name) const {
    std::string text;
    for (auto at = std::find(way_.begin(), way_.end(), name); at != way_.end(); ++at) text += *at + " -> ";
    return text + name;
  }

  void fail(const CidrGroup& group, std::string message) {
    if (++told_ > Report::kErrorsMax + 1) return;
    if (told_ > Report::kErrorsMax) message = kMoreErrors;
    errors_.push_back({group.origin, "spec.blocks", std::move(message)});
  }

  std::map<std::string, Entry> groups_;
  std::vector<std::string> way_;  // groups begun, outermost first
  std::vector<Error>& errors_;
  std::size_t told_ = 0, filled_ = 0;
};

/// A group's blocks, instead of its place. Counts them in `filled_blocks`, and stops at kFilledBlocksMax.
void fill(std::vector<Peer>& peers, const Resolver& groups, std::size_t& filled_blocks) {
  const auto place = [](const Peer& peer) {
    const auto* block = std::get_if<IpBlock>(&peer);
    return block != nullptr && is_place(*block);
  };
  if (std::none_of(peers.begin(), peers.end(), place)) return;
  std::vector<Peer> filled;
  for (Peer& peer : peers) {
    if (!place(peer)) {
      filled.push_back(std::move(peer));
      continue;
    }
    const std::string& name = std::get<IpBlock>(peer).group;
    const CidrGroup* group = groups.find(name);
    filled_blocks += group != nullptr ? weight(group->blocks) : 0;
    if (group != nullptr && filled_blocks <= kFilledBlocksMax)
      for (IpBlock block : group->blocks) {
        block.group = name;
        filled.emplace_back(std::move(block));
      }
  }
  peers = std::move(filled);
}

}  // namespace

IpBlock read_ip_block(Fields& fields) {
  IpBlock result;
  refuse_null(fields, {"cidr", "except"});
  const auto block = fields.optional("cidr").block();
  result.block = block.value_or(AddressBlock{});
  for (const auto& item : fields.optional("except").list()) {
    const auto hole = item.block();
    if (!hole || !block) continue;
    if (!contains(*block, *hole) || *block == *hole)
      item.fail("found " + quoted(format(*hole)) + ", expected a smaller block within " + format(*block));
    result.except.push_back(*hole);
  }
  return result;
}

IpBlock named_group(const Value& name) {
  IpBlock place;
  place.block.prefix_bits = kPlace;
  if (const auto text = name.nonempty_text()) {
    place.group = *text;
    name.refer(*text);
  }
  return place;
}

void read_cidr_group(const Value& spec, CidrGroup& group) {
  Fields fields = spec.fields();
  const Value blocks = fields.required("blocks");
  const auto items = blocks.list();
  if (blocks.is_list() && items.empty())
    blocks.fail("found an empty list, expected at least one block: a rule about nobody is hardly meant");
  for (const auto& item : items) {
    Fields entry = item.fields();
    if (!entry.valid()) continue;
    refuse_null(entry, {"group"});
    const bool named = entry.has("group"), written = entry.has("cidr");
    if (named == written || (named && entry.has("except"))) {
      item.fail(named ? "found group beside cidr or except, expected it alone"
                      : "found neither cidr nor group, expected one of them");
      entry.accept({"cidr", "group", "except"});
      continue;
    }
    group.blocks.push_back(named ? named_group(entry.optional("group")) : read_ip_block(entry));
  }
}

void fill_groups(PolicySet& set, std::span<const Reference> references, std::vector<Error>& errors) {
  Resolver groups(set.groups, errors);
  groups.run();
  const auto names = groups.names();
  std::size_t told = 0;
  for (const Reference& reference : references) {
    if (groups.find(reference.name) != nullptr) continue;
    if (++told > Report::kErrorsMax) {
      errors.push_back({reference.origin, "", std::string(kMoreErrors)});
      return;
    }
    constexpr std::size_t kComparedMax = 200'000;
    errors.push_back({reference.origin, reference.path,
                      "found the group " + quoted(reference.name) + ", which no CidrGroup of these files is" +
                          (told * names.size() <= kComparedMax ? did_you_mean(reference.name, names) : "")});
  }
  if (references.empty()) return;
  std::size_t filled = 0;
  for (Policy& policy : set.policies)
    for (Clause& clause : policy.clauses)
      for (Rule& rule : clause.rules) fill(rule.peers, groups, filled);
  for (Invariant& invariant : set.invariants)
    for (Demand& demand : invariant.demands) {
      fill(demand.from, groups, filled);
      fill(demand.to, groups, filled);
    }
  if (filled > kFilledBlocksMax)
    errors.push_back({references[0].origin, references[0].path,
                      "found " + std::to_string(filled) +
                          " blocks where groups are named, expected at most " +
                          std::to_string(kFilledBlocksMax) + " in all"});
}

}  // namespace bulkhead::policies
