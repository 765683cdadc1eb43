#include "controlplane/analysis/party.h"

#include <algorithm>
#include <map>
#include <set>

#include "policies/model/address.h"

namespace bulkhead::analysis {
namespace {

Standing standing_of(const image::View& view, std::uint32_t record_number) {
  const image::Record record = view.record(record_number);
  if ((record.flags & image::kRecordNode) != 0) return {PartyKind::kNode, "", ""};
  if (record.identity == 0) return {};
  const std::string labels(view.labels_of_identity(record.identity));
  return {PartyKind::kIdentity, labels.empty() ? "no labels" : labels,
          std::string(view.namespace_of_identity(record.identity))};
}

using Key = std::pair<Standing, Standing>;

Key key_of(const Space& space, const AddressClass& each) {
  return {standing_of(space.view(kBefore), each.record[kBefore]),
          standing_of(space.view(kAfter), each.record[kAfter])};
}

std::string text(const Standing& standing) {
  switch (standing.kind) {
    case PartyKind::kNode:
      return "nodes";
    case PartyKind::kWorld:
      return "world";
    case PartyKind::kIdentity:
      break;
  }
  return standing.name + (standing.namespace_name.empty() ? "" : " in namespace " + standing.namespace_name);
}

std::string listed(const std::vector<Block>& blocks) {
  std::vector<std::string> words;
  for (const Block& block : blocks) words.push_back(block_text(block));
  return line(words, 8);
}

std::string endpoint_text(const image::View& view, std::uint32_t number) {
  const std::string home(view.namespace_of(number));
  return (home.empty() ? "" : home + "/") + std::string(view.name_of(number));
}

std::string member_text(const Space& space, const Member& member) {
  for (const std::uint32_t side : {kAfter, kBefore})
    if (member.endpoint[side] != 0)
      return endpoint_text(space.view(side), member.endpoint[side]) + " (" + address_text(member.address) +
             ")";
  return address_text(member.address);
}

}  // namespace

std::vector<Party> parties(const Space& space, const std::vector<std::uint32_t>& address_classes) {
  struct Gathered {
    Party party;
    std::size_t classes[2] = {}, all[2] = {};  // by family
    std::vector<Block> others[2];
  };
  std::map<Key, Gathered> found;
  const auto& classes = space.addresses();
  for (const std::uint32_t number : address_classes) {
    const AddressClass& each = classes[number];
    Gathered& gathered = found[key_of(space, each)];
    ++gathered.classes[each.v4];
    gathered.party.members.insert(gathered.party.members.end(), each.members.begin(), each.members.end());
    gathered.party.blocks.insert(gathered.party.blocks.end(), each.blocks.begin(), each.blocks.end());
  }
  const std::set<std::uint32_t> meant(address_classes.begin(), address_classes.end());
  for (std::uint32_t number = 0; number < classes.size(); ++number) {
    const auto at = found.find(key_of(space, classes[number]));
    if (at == found.end()) continue;
    ++at->second.all[classes[number].v4];
    if (!meant.contains(number)) {
      auto& others = at->second.others[classes[number].v4];
      others.insert(others.end(), classes[number].blocks.begin(), classes[number].blocks.end());
    }
  }
  std::vector<Party> result;
  for (auto& [key, gathered] : found) {
    Party& party = gathered.party;
    party.standing[kBefore] = key.first;
    party.standing[kAfter] = key.second;
    const bool all_v6 = gathered.classes[0] == gathered.all[0],
               all_v4 = gathered.classes[1] == gathered.all[1];
    party.whole = all_v4 && all_v6;
    party.whole_v4 = !party.whole && all_v4 && gathered.classes[0] == 0;
    party.whole_v6 = !party.whole && all_v6 && gathered.classes[1] == 0;
    for (const bool v4 : {true, false})
      if (gathered.classes[v4] != 0)
        party.except.insert(party.except.end(), gathered.others[v4].begin(), gathered.others[v4].end());
    std::sort(party.members.begin(), party.members.end(),
              [](const Member& a, const Member& b) { return a.address < b.address; });
    result.push_back(std::move(party));
  }
  std::stable_sort(result.begin(), result.end(), [](const Party& a, const Party& b) {
    const auto place = [](const Party& p) {
      return std::min(p.standing[kBefore].kind, p.standing[kAfter].kind);
    };
    return place(a) < place(b);
  });
  return result;
}

std::string text(const Space& space, const Party& party) {
  const Standing &before = party.standing[kBefore], &after = party.standing[kAfter];
  std::string words = text(after.kind == PartyKind::kWorld ? before : after);
  if (before != after && before.kind != PartyKind::kWorld && after.kind != PartyKind::kWorld)
    words += ", was " + text(before);
  else if (before != after)
    words += after.kind == PartyKind::kWorld ? " (gone)" : " (new)";
  const bool one_node = before.kind == PartyKind::kNode && before == after && party.members.size() == 1;
  if (one_node) return "node " + member_text(space, party.members[0]);
  if (party.whole) return words;
  if (party.whole_v4) return words + " (IPv4)";
  if (party.whole_v6) return words + " (IPv6)";
  std::vector<std::string> parts;
  for (const Member& member : party.members) parts.push_back(member_text(space, member));
  if (party.blocks.empty()) return words + " at " + line(parts, 4);
  if (party.except.size() < party.blocks.size()) {
    const bool v4 =
        std::any_of(party.blocks.begin(), party.blocks.end(), [](const Block& b) { return b.base.is_v4(); });
    const bool v6 =
        std::any_of(party.blocks.begin(), party.blocks.end(), [](const Block& b) { return !b.base.is_v4(); });
    return words + (v4 && v6 ? "" : v4 ? " (IPv4)" : " (IPv6)") + " except " + listed(party.except);
  }
  return (before == after ? "" : words + " at ") + listed(party.blocks);
}

std::vector<std::string> summary(const Space& space, const std::vector<Party>& all) {
  // How many identities there are, of all and of each namespace, as both images know them.
  std::set<Key> everyone;
  for (const AddressClass& each : space.addresses()) {
    const Key key = key_of(space, each);
    if (key.first.kind == PartyKind::kIdentity && key.first == key.second) everyone.insert(key);
  }
  std::map<std::string, std::size_t> homes, meant;
  for (const Key& key : everyone) ++homes[key.second.namespace_name];
  std::size_t total = 0;
  const auto plain = [](const Party& party) {
    return party.whole && party.standing[kAfter].kind == PartyKind::kIdentity &&
           party.standing[kBefore] == party.standing[kAfter];
  };
  for (const Party& party : all)
    if (plain(party)) ++meant[party.standing[kAfter].namespace_name], ++total;
  std::vector<std::string> words;
  std::set<std::string> said;
  const bool everybody = total == everyone.size() && total > 1;
  if (everybody) words.emplace_back("every endpoint");
  for (const Party& party : all) {
    const std::string& home = party.standing[kAfter].namespace_name;
    if (plain(party) && everybody) continue;
    if (plain(party) && !home.empty() && meant[home] == homes[home] && meant[home] > 1) {
      if (said.insert(home).second) words.push_back("every endpoint in namespace " + home);
      continue;
    }
    words.push_back(text(space, party));
  }
  return words;
}

std::string line(const std::vector<std::string>& words, std::size_t most) {
  std::string joined;
  for (std::size_t i = 0; i < words.size() && i < most; ++i) joined += (i == 0 ? "" : ", ") + words[i];
  if (words.size() > most) joined += " and " + std::to_string(words.size() - most) + " more";
  return joined;
}

std::string address_text(const abi::Address& address) {
  return policies::format(address.bytes);
}

std::string block_text(const Block& block) {
  return policies::format(policies::AddressBlock{block.base.bytes, block.prefix_bits});
}

std::string_view slot_name(image::ProtocolSlot slot) {
  static constexpr std::string_view kNames[] = {"tcp", "udp", "sctp", "icmp", "icmpv6", "proto"};
  return kNames[slot];
}

std::string port_text(const PortRange& range) {
  if (range.first == 0 && range.last == ports_of(range.slot) - 1)
    return range.slot == image::kOtherProtocol ? "every other protocol" : std::string(slot_name(range.slot));
  return std::string(slot_name(range.slot)) + "/" + std::to_string(range.first) +
         (range.first == range.last ? "" : "-" + std::to_string(range.last));
}

std::string ports_text(const std::vector<PortRange>& ranges, std::size_t most) {
  if (is_everything(ranges)) return "every port";
  std::vector<std::string> words;
  for (const PortRange& range : ranges) words.push_back(port_text(range));
  return line(words, most);
}

std::string who(const image::View& view, const abi::Address& address) {
  const image::Bound bound = image::bind(view, address);
  return bound.endpoint == 0 ? address_text(address) : endpoint_text(view, bound.endpoint);
}

std::string packet_text(const image::View& view, const Packet& packet) {
  const auto end = [&](const abi::Address& address) {
    const std::string name = who(view, address), bare = address_text(address);
    return name == bare ? bare : name + " (" + bare + ")";
  };
  return end(packet.source) + " -> " + end(packet.destination) + " " +
         port_text({packet.slot, packet.port, packet.port});
}

namespace {

std::string policy_text(const image::View& view, const image::Policy& policy) {
  const auto part = [&](image::StringRef ref) { return std::string(view.policy_text(ref)); };
  return part(policy.kind) + " " +
         (policy.namespace_name.bytes == 0 ? "" : part(policy.namespace_name) + "/") + part(policy.name);
}

std::string place_text(const image::View& view, const image::Policy& policy, std::uint32_t line) {
  return " (" + std::string(view.policy_text(policy.file)) + ":" +
         std::to_string(line != 0 ? line : policy.line) + ")";
}

}  // namespace

std::string rule_text(const image::View& view, std::uint32_t number) {
  const image::Rule& rule = view.rules[number];
  const image::Policy& policy = view.policies[rule.policy];
  return policy_text(view, policy) + ", rule '" + std::string(view.policy_text(rule.name)) + "'" +
         place_text(view, policy, rule.line);
}

std::string answer_text(const image::View& view, const Packet& packet, const image::Judgement& answer) {
  if (answer.allowed()) {
    if (answer.rule == 0 && answer.egress_rule == 0)
      return "allowed without a rule: no policy isolates either end, or an endpoint meets its own node";
    std::string words = "allowed by " + rule_text(view, answer.rule != 0 ? answer.rule : answer.egress_rule);
    // The edge of a SegmentationPolicy is one rule at both ends.
    if (answer.rule != 0 && answer.egress_rule != 0)
      if (const std::string sender = rule_text(view, answer.egress_rule);
          sender != rule_text(view, answer.rule))
        words += ", and at the sender by " + sender;
    return words;
  }
  const std::string end = answer.direction == image::kEgress ? " at the sender" : " at the receiver";
  if (answer.rule != 0) return "denied" + end + " by " + rule_text(view, answer.rule);
  const abi::Address& address = answer.direction == image::kEgress ? packet.source : packet.destination;
  const std::uint32_t subject = view.record(image::bind(view, address).record).subject[answer.direction];
  if (answer.fate != abi::Fate::kDeniedDefault || subject == image::kNoSubject)
    return "denied" + end + " by the posture: no policy speaks of it";
  const image::Policy& policy =
      view.policies[view.isolating[view.subjects[answer.direction][subject].isolating_first]];
  return "denied" + end + " by default: isolated by " + policy_text(view, policy) +
         place_text(view, policy, policy.line);
}

}  // namespace bulkhead::analysis
