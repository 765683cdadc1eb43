#include "tools/ctl/nearest.h"

#include <algorithm>
#include <set>
#include <vector>

#include "policies/load/authorization_policy.h"
#include "tools/ctl/explain.h"

namespace bulkhead::ctl {
namespace {

/// Whether a rule is one that admits in this way.
bool admits(const image::View& view, std::uint32_t number, Admission by) {
  const image::Rule& rule = view.rules[number];
  if (by == Admission::kAllowed) return rule.verdict == image::Verdict::kAllow;
  return rule.verdict == image::Verdict::kPass && view.policies[rule.policy].tier == image::kMeshTier &&
         view.policy_text(rule.name) != policies::kOtherwiseRule;
}

/// The rule by which `side` admits a class of peers on a class of ports; 0: none does.
std::uint32_t admitting(const image::View& view, const Side& side, std::uint32_t peer, std::uint32_t ports,
                        Admission by) {
  if (by == Admission::kMesh) {
    const std::uint32_t rule = image::passed(view, side.direction, side.subject, peer, ports).mesh;
    return rule != 0 && admits(view, rule, by) ? rule : 0;
  }
  const image::Decision decision = image::decide(view, side.direction, side.subject, peer, ports);
  return (decision & image::kAllowBit) != 0 ? decision & ~image::kAllowBit : 0;
}

/// The ports of each allow rule in the row of `side` and the column of its peer, the asked protocol first.
struct PortsOfRule {
  std::uint32_t rule;
  std::string text;  // "tcp/80, tcp/443, udp/1000-2000"
  bool same_protocol;
};

constexpr std::size_t kRangesShown = 8;

std::vector<PortsOfRule> ports_from_this_peer(const image::View& view, const Side& side,
                                              image::ProtocolSlot asked, Admission by) {
  struct Ranges {
    std::uint32_t rule;
    std::string text;
    std::size_t count;
    bool same_protocol;
  };
  std::vector<Ranges> rules;
  const auto add = [&](std::uint32_t rule, image::ProtocolSlot slot, std::uint32_t first,
                       std::uint32_t last) {
    auto known = std::find_if(rules.begin(), rules.end(), [&](const Ranges& r) { return r.rule == rule; });
    if (known == rules.end()) known = rules.insert(rules.end(), {rule, "", 0, false});
    known->same_protocol |= slot == asked;
    if (++known->count > kRangesShown + 1) return;
    if (known->count == kRangesShown + 1) {
      known->text += ", ...";
      return;
    }
    const std::uint32_t top = slot >= image::kIcmp ? 255 : 65535;
    known->text += (known->text.empty() ? "" : ", ") + std::string(protocol_name(slot));
    if (first != 0 || last != top)
      known->text += "/" + std::to_string(first) + (first == last ? "" : "-" + std::to_string(last));
  };
  // The asked protocol is looked through first, so that its ports are the ones a cut list shows.
  std::vector<image::ProtocolSlot> slots = {asked};
  for (std::uint32_t slot = 0; slot < image::kProtocolSlots; ++slot)
    if (slot != asked) slots.push_back(static_cast<image::ProtocolSlot>(slot));
  for (const image::ProtocolSlot slot : slots) {
    const std::uint32_t top = slot >= image::kIcmp ? 255 : 65535;
    std::uint32_t open_rule = 0, open_first = 0;
    for (std::uint32_t port = 0; port <= top + 1; ++port) {
      std::uint32_t rule = 0;
      if (port <= top) {
        const std::uint32_t ports = image::port_class(view, slot, static_cast<std::uint16_t>(port));
        rule = admitting(view, side, side.peer, ports, by);
      }
      if (rule == open_rule) continue;
      if (open_rule != 0) add(open_rule, slot, open_first, port - 1);
      open_rule = rule;
      open_first = port;
    }
  }
  std::stable_sort(rules.begin(), rules.end(),
                   [](const Ranges& a, const Ranges& b) { return a.same_protocol > b.same_protocol; });
  std::vector<PortsOfRule> found;
  for (const Ranges& r : rules) found.push_back({r.rule, r.text, r.same_protocol});
  return found;
}

std::set<std::string> label_set(const image::View& view, std::uint32_t identity) {
  std::set<std::string> labels;
  const std::string_view text = view.labels_of_identity(identity);
  for (std::size_t from = 0; from < text.size();) {
    const std::size_t comma = std::min(text.find(',', from), text.size());
    labels.emplace(text.substr(from, comma - from));
    from = comma + 1;
  }
  labels.insert("namespace " + std::string(view.namespace_of_identity(identity)));
  return labels;
}

std::size_t difference(const std::set<std::string>& a, const std::set<std::string>& b) {
  std::vector<std::string> differing;
  std::set_symmetric_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(differing));
  return differing.size();
}

struct Admits {
  std::uint32_t rule = 0;
  std::uint32_t like = 0;  // an identity that it admits
};

/// The rule that admits, on the asked port, the peer that is most like this one.
Admits rule_for_other_peers(const image::View& view, const Side& side, std::uint32_t ports, Admission by) {
  const std::uint32_t columns = view.policy->peer_classes[side.direction];
  std::vector<std::uint32_t> rules(columns);
  for (std::uint32_t peer = 0; peer < columns; ++peer) rules[peer] = admitting(view, side, peer, ports, by);

  Admits nearest;
  std::size_t least = SIZE_MAX;
  const auto own = side.peer_identity != 0 ? label_set(view, side.peer_identity) : std::set<std::string>{};
  std::set<std::pair<std::uint32_t, std::uint32_t>> seen;
  for (std::uint64_t i = 1; i < view.policy->records.count; ++i) {
    const image::Record record = view.record(i);
    if (record.flags == 0) continue;  // a free place
    const std::uint32_t rule = rules[record.peer[side.direction]];
    if (rule == 0 || !seen.emplace(rule, record.identity).second) continue;
    // A world peer resembles another address block more than any pod.
    const std::size_t differs = (record.identity == 0) != (side.peer_identity == 0) ? SIZE_MAX - 1
                                : record.identity == 0                              ? 0
                                                       : difference(own, label_set(view, record.identity));
    if (differs < least || (differs == least && rule < nearest.rule)) {
      least = differs;
      nearest = {rule, record.identity};
    }
  }
  if (nearest.rule != 0) return nearest;
  // A peer that no record of this node belongs to may still have a column.
  const auto any = std::find_if(rules.begin(), rules.end(), [](std::uint32_t rule) { return rule != 0; });
  return any != rules.end() ? Admits{*any, 0} : Admits{};
}

std::string who_it_is(const image::View& view, const Side& side) {
  if (side.peer_identity == 0) return side.peer_name + " is outside every endpoint";
  const std::string labels(view.labels_of_identity(side.peer_identity));
  const std::string in(view.namespace_of_identity(side.peer_identity));
  return side.peer_name + " is " + (labels.empty() ? "without labels" : labels) +
         (in.empty() ? "" : " in namespace " + in);
}

}  // namespace

Value nearest_rule(const image::View& view, const Side& side, const Port& port, Admission by) {
  const std::uint32_t ports = image::port_class(view, port.slot, port.number);
  const bool ingress = side.direction == image::kIngress;
  const std::string asked = port_text(port);
  const auto result = [&](const char* lacks, std::uint32_t rule) {
    return Value{{"lacks", lacks},
                 {"rule", rule_value(view, rule)},
                 {"ports", nullptr},
                 {"like", nullptr},
                 {"words", ""}};
  };
  const auto from_it = ports_from_this_peer(view, side, port.slot, by);
  const auto by_port = [&](const PortsOfRule& found) {
    Value nearest = result("port", found.rule);
    nearest["ports"] = found.text;
    nearest["words"] =
        "it allows " + found.text + (ingress ? " from " : " to ") + side.peer_name + ", not " + asked;
    return nearest;
  };
  if (!from_it.empty() && from_it[0].same_protocol) return by_port(from_it[0]);

  if (const Admits admits = rule_for_other_peers(view, side, ports, by); admits.rule != 0) {
    Value nearest = result("peer", admits.rule);
    nearest["like"] = identity_value(view, admits.like);
    nearest["words"] = std::string(ingress ? "it admits " : "it allows to reach ") +
                       nearest["rule"]["peers"].get<std::string>() + " on " + asked + "; " +
                       who_it_is(view, side);
    return nearest;
  }
  if (!from_it.empty()) return by_port(from_it[0]);

  const image::SubjectClass& subject = view.subjects[side.direction][side.subject];
  for (std::uint32_t i = 0; i < subject.rules_count; ++i) {
    const std::uint32_t rule = view.governing[subject.rules_first + i];
    if (!admits(view, rule, by)) continue;
    if ((view.policies[view.rules[rule].policy].options & image::kAuditedPolicy) != 0) continue;
    Value nearest = result("neither", rule);
    nearest["words"] = std::string(ingress ? "it admits " : "it allows to reach ") +
                       nearest["rule"]["peers"].get<std::string>() + " on " +
                       nearest["rule"]["ports"].get<std::string>() + ": neither this peer nor " + asked;
    return nearest;
  }
  return nullptr;
}

}  // namespace bulkhead::ctl
