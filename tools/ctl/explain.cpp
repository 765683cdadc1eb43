#include "tools/ctl/explain.h"

#include <vector>

#include "policies/load/authorization_policy.h"
#include "tools/ctl/nearest.h"
#include "tools/ctl/selecting.h"

namespace bulkhead::ctl {
namespace {

using image::Decision;
using image::kAllowBit;

std::string at(const Value& object) {
  const std::string file = object["file"].get<std::string>();
  return file.empty() ? "" : " (" + file + ":" + std::to_string(object["line"].get<std::uint32_t>()) + ")";
}

/// ", after ..., rule '...' passed it on": for each rule of `side` that did.
std::string passed_words(const Value& side) {
  std::string words;
  for (const Value& rule : side["passed"]) words += (words.empty() ? ", after " : " and ") + rule_text(rule);
  return words.empty() ? words : words + " passed it on";
}

/// Denied because ALLOW policies govern the end, and none of their rules admits the packet.
bool is_mesh_default(const Value& rule) {
  return !rule.is_null() && rule["tier"] == "mesh" && rule["action"] == "deny" &&
         rule["name"] == policies::kOtherwiseRule;
}

std::string why(const Value& side, const std::string& end, const char* direction, bool governed) {
  const bool allowed = side["allowed"].get<bool>();
  if (!side["rule"].is_null() && side["rule"]["tier"] == "quarantine")
    return "denied: " + rule_text(side["rule"]);
  if (is_mesh_default(side["rule"]))
    return end + " is governed by " + side["rule"]["policy"].get<std::string>() + at(side["rule"]) +
           ", and no rule of an ALLOW policy lets this in";
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
  for (const std::uint32_t rule : {passed.mesh, passed.platform, passed.baseline})
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
  if (decision == 0) value["nearest"] = nearest_rule(view, side, port, Admission::kAllowed);
  if (is_mesh_default(value["rule"])) value["nearest"] = nearest_rule(view, side, port, Admission::kMesh);
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
