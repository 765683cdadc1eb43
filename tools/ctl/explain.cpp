#include "tools/ctl/explain.h"

#include <algorithm>
#include <set>
#include <vector>

#include "tools/ctl/selecting.h"

namespace bulkhead::ctl {
namespace {

using image::Decision;
using image::kAllowBit;

/// One end's judgement: its subject class looks at the other end's peer class.
struct Side {
  std::uint32_t direction;
  std::uint32_t subject;
  std::uint32_t peer;
  std::uint32_t peer_identity;
  std::uint32_t flags;  // image::RecordFlags of the end
  std::string end_name, peer_name;
};

std::uint32_t rule_of(Decision decision) {
  return (decision & kAllowBit) != 0 ? decision & ~kAllowBit : 0;
}

std::string at(const Value& object) {
  const std::string file = object["file"].get<std::string>();
  return file.empty() ? "" : " (" + file + ":" + std::to_string(object["line"].get<std::uint32_t>()) + ")";
}

/// The ports of each allow rule in the row of `side` and the column of its peer, the asked protocol first.
struct PortsOfRule {
  std::uint32_t rule;
  std::string text;  // "tcp/80, tcp/443, udp/1000-2000"
  bool same_protocol;
};

constexpr std::size_t kRangesShown = 8;

std::vector<PortsOfRule> ports_from_this_peer(const image::View& view, const Side& side,
                                              image::ProtocolSlot asked) {
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
        rule = rule_of(image::decide(view, side.direction, side.subject, side.peer, ports));
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
Admits rule_for_other_peers(const image::View& view, const Side& side, std::uint32_t ports) {
  const std::uint32_t columns = view.policy->peer_classes[side.direction];
  std::vector<std::uint32_t> rules(columns);
  for (std::uint32_t peer = 0; peer < columns; ++peer)
    rules[peer] = rule_of(image::decide(view, side.direction, side.subject, peer, ports));

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

Value nearest_rule(const image::View& view, const Side& side, const Port& port, std::uint32_t ports) {
  const bool ingress = side.direction == image::kIngress;
  const std::string asked = port_text(port);
  const auto result = [&](const char* lacks, std::uint32_t rule) {
    return Value{{"lacks", lacks},
                 {"rule", rule_value(view, rule)},
                 {"ports", nullptr},
                 {"like", nullptr},
                 {"words", ""}};
  };
  const auto from_it = ports_from_this_peer(view, side, port.slot);
  const auto by_port = [&](const PortsOfRule& found) {
    Value nearest = result("port", found.rule);
    nearest["ports"] = found.text;
    nearest["words"] =
        "it allows " + found.text + (ingress ? " from " : " to ") + side.peer_name + ", not " + asked;
    return nearest;
  };
  if (!from_it.empty() && from_it[0].same_protocol) return by_port(from_it[0]);

  if (const Admits admits = rule_for_other_peers(view, side, ports); admits.rule != 0) {
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
    if (view.rules[rule].verdict != image::Verdict::kAllow) continue;
    if ((view.policies[view.rules[rule].policy].options & image::kAuditedPolicy) != 0) continue;
    Value nearest = result("neither", rule);
    nearest["words"] = std::string(ingress ? "it admits " : "it allows to reach ") +
                       nearest["rule"]["peers"].get<std::string>() + " on " +
                       nearest["rule"]["ports"].get<std::string>() + ": neither this peer nor " + asked;
    return nearest;
  }
  return nullptr;
}

/// ", after ..., rule '...' passed it on": for each rule of `side` that did.
std::string passed_words(const Value& side) {
  std::string words;
  for (const Value& rule : side["passed"]) words += (words.empty() ? ", after " : " and ") + rule_text(rule);
  return words.empty() ? words : words + " passed it on";
}

std::string why(const Value& side, const std::string& end, const char* direction, bool governed) {
  const bool allowed = side["allowed"].get<bool>();
  if (!side["rule"].is_null() && side["rule"]["tier"] == "quarantine")
    return "denied: " + rule_text(side["rule"]);
  if (!side["rule"].is_null())
    return std::string(allowed ? "allowed by " : "denied by ") + rule_text(side["rule"]);
  const bool isolated = !side["isolated_by"].empty();
  if (allowed) {
    if (side["posture"] == "deny" || isolated)
      return "allowed: an endpoint and its own node always reach each other";
    return "allowed: no policy isolates " + end + " for " + direction + ", and it is open until one does";
  }
  if (isolated) {
    std::string by;
    for (const Value& policy : side["isolated_by"])
      by += (by.empty() ? "" : ", ") + policy["policy"].get<std::string>() + at(policy);
    return end + " is isolated for " + direction + " by " + by + ", and no rule allows this";
  }
  if (!governed)
    return "no policy speaks of the " + std::string(direction) + " of " + end +
           ", and the node's posture is deny";
  return "no policy allows this " + std::string(direction) + " of " + end +
         ", and the node's posture is deny";
}

Value explain_side(const image::View& view, const Side& side, const Port& port) {
  const char* direction = side.direction == image::kIngress ? "ingress" : "egress";
  Value value = {{"end", side.end_name},
                 {"judged", false},
                 {"allowed", true},
                 {"fate", "forwarded"},
                 {"rule", nullptr},
                 {"passed", Value::array()},
                 {"isolated_by", Value::array()},
                 {"selected_by", Value::array()},
                 {"posture", nullptr},
                 {"nearest", nullptr},
                 {"why", ""}};
  if (side.subject == image::kNoSubject) {
    value["why"] =
        (side.flags & image::kRecordEndpoint) != 0
            ? side.end_name + " is not judged here: its own node judges its " + direction
        : (side.flags & image::kRecordNode) != 0
            ? side.end_name + " is a node: policies judge endpoints, so nothing judges its " + direction
            : side.end_name + " is outside every endpoint: nothing judges its " + direction;
    return value;
  }
  const std::uint32_t ports = image::port_class(view, port.slot, port.number);
  const Decision decision = image::decide(view, side.direction, side.subject, side.peer, ports);
  const image::SubjectClass& subject = view.subjects[side.direction][side.subject];
  const bool allowed = (decision & kAllowBit) != 0;
  value["judged"] = true;
  value["allowed"] = allowed;
  value["fate"] = abi::name(allowed ? abi::Fate::kForwarded
                                    : image::denial(view, side.direction, side.subject, decision));
  value["rule"] = rule_value(view, decision & ~kAllowBit);
  const image::Passed passed = image::passed(view, side.direction, side.subject, side.peer, ports);
  for (const std::uint32_t rule : {passed.platform, passed.baseline})
    if (rule != 0) value["passed"].push_back(rule_value(view, rule));
  for (std::uint32_t i = 0; i < subject.isolating_count; ++i) {
    const image::Policy& policy = view.policies[view.isolating[subject.isolating_first + i]];
    value["isolated_by"].push_back({{"policy", policy_name(view, policy)},
                                    {"file", view.policy_text(policy.file)},
                                    {"line", policy.line}});
  }
  value["selected_by"] =
      selecting_policies(view, side.direction, side.subject, decision & ~kAllowBit, passed);
  value["posture"] = subject.posture == image::Verdict::kAllow ? "allow" : "deny";
  if (decision == 0) value["nearest"] = nearest_rule(view, side, port, ports);
  value["why"] = why(value, side.end_name, direction, subject.rules_count != 0) + passed_words(value);
  return value;
}

/// Null where nothing is audited.
Value audit_value(const image::View& view, const Question& question, const image::Judgement& enforced) {
  if (view.audited_of == nullptr) return nullptr;
  const image::Bound source = image::bind(view, question.source);
  const image::Bound destination = image::bind(view, question.destination);
  const image::Judgement would =
      image::judge_audited(view, source, destination, question.port.slot, question.port.number);
  const bool egress = would.direction == image::kEgress;
  const std::string end = egress ? question.source_name : question.destination_name;
  Value isolated_by = Value::array();
  if (would.fate == abi::Fate::kDeniedDefault)
    isolated_by =
        isolating_audited(view, would.direction,
                          view.record(egress ? source.record : destination.record).subject[would.direction]);
  std::string why;
  if (would.rule != 0) {
    why =
        (would.allowed() ? "allowed" : "denied at " + end) + " by " + rule_text(rule_value(view, would.rule));
  } else if (would.allowed()) {
    why = "allowed, no policy speaks against it";
  } else {
    for (const Value& policy : isolated_by)
      why += (why.empty() ? end + " would be isolated by " : ", ") + policy["policy"].get<std::string>() +
             at(policy);
    why =
        why.empty() ? "denied at " + end + ", where no rule allows this" : why + ", and no rule allows this";
  }
  return {{"allowed", would.allowed()},
          {"differs", would.allowed() != enforced.allowed()},
          {"fate", abi::name(would.fate)},
          {"direction", egress ? "egress" : "ingress"},
          {"rule", rule_value(view, would.rule)},
          {"isolated_by", std::move(isolated_by)},
          {"why", why}};
}

}  // namespace

Value isolating_audited(const image::View& view, std::uint32_t direction, std::uint32_t subject) {
  Value policies = Value::array();
  if (subject == image::kNoSubject) return policies;
  const image::SubjectClass& traits = view.subjects[direction][subject];
  for (std::uint32_t i = 0; i < traits.audited_count; ++i) {
    const image::Policy& policy =
        view.policies[view.isolating[traits.isolating_first + traits.isolating_count + i]];
    policies.push_back({{"policy", policy_name(view, policy)},
                        {"file", view.policy_text(policy.file)},
                        {"line", policy.line}});
  }
  return policies;
}

Value rule_value(const image::View& view, std::uint32_t index) {
  static constexpr const char* kActions[] = {"deny", "allow", "pass"};  // by image::Verdict
  static constexpr const char* kTiers[] = {"application", "platform", "baseline", "mesh",
                                           "quarantine"};  // by image::PolicyTier
  if (index == 0) return nullptr;
  const image::Rule& rule = view.rules[index];
  const image::Policy& policy = view.policies[rule.policy];
  return {{"policy", policy_name(view, policy)},
          {"kind", view.policy_text(policy.kind)},
          {"namespace", view.policy_text(policy.namespace_name)},
          {"policy_name", view.policy_text(policy.name)},
          {"name", view.policy_text(rule.name)},
          {"action", kActions[static_cast<std::size_t>(rule.verdict)]},
          {"tier", kTiers[policy.tier]},
          {"priority", policy.priority},
          {"peers", view.policy_text(rule.peers)},
          {"ports", view.policy_text(rule.ports)},
          {"file", view.policy_text(policy.file)},
          {"line", rule.line},
          {"column", rule.column}};
}

std::string rule_text(const Value& rule) {
  if (rule["tier"] == "quarantine")
    return rule["namespace"].get<std::string>() + "/" + rule["policy_name"].get<std::string>() + " is " +
           rule["name"].get<std::string>();
  return rule["policy"].get<std::string>() + ", rule '" + rule["name"].get<std::string>() + "'" + at(rule);
}

Value explain(const image::View& view, const Question& question) {
  const image::Bound source = image::bind(view, question.source);
  const image::Bound destination = image::bind(view, question.destination);
  const image::Record from = view.record(source.record);
  const image::Record to = view.record(destination.record);
  const image::Judgement judgement =
      image::judge(view, source, destination, question.port.slot, question.port.number);

  Value egress = explain_side(view,
                              {image::kEgress, from.subject[image::kEgress], to.peer[image::kEgress],
                               to.identity, from.flags, question.source_name, question.destination_name},
                              question.port);
  Value ingress = explain_side(view,
                               {image::kIngress, to.subject[image::kIngress], from.peer[image::kIngress],
                                from.identity, to.flags, question.destination_name, question.source_name},
                               question.port);
  if (source.endpoint != 0 && source.endpoint == destination.endpoint) {
    for (Value* side : {&egress, &ingress}) {
      const std::string end = (*side)["end"].get<std::string>();
      *side = {{"end", end},
               {"judged", false},
               {"allowed", true},
               {"fate", "forwarded"},
               {"rule", nullptr},
               {"passed", Value::array()},
               {"isolated_by", Value::array()},
               {"selected_by", Value::array()},
               {"posture", nullptr},
               {"nearest", nullptr},
               {"why", "an endpoint always reaches itself"}};
    }
  }
  static constexpr const char* kEstablished[] = {"keep", "reevaluate", "reset"};  // by image::Established
  Value established = nullptr;
  if (!judgement.allowed())
    established = kEstablished[static_cast<std::size_t>(
        image::established(view, source, destination, question.port.slot, question.port.number))];
  const Value& decided = judgement.direction == image::kEgress ? egress : ingress;
  return {{"allowed", judgement.allowed()},
          {"fate", abi::name(judgement.fate)},
          {"meaning", abi::kFates[static_cast<std::size_t>(judgement.fate)].meaning},
          {"direction", judgement.direction == image::kEgress ? "egress" : "ingress"},
          {"rule", decided["rule"]},
          {"established", std::move(established)},
          {"audit", audit_value(view, question, judgement)},
          {"egress", std::move(egress)},
          {"ingress", std::move(ingress)}};
}

}  // namespace bulkhead::ctl
