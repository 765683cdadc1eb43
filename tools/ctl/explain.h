// Why a verdict is as it is, in words, from the image alone.
//
// Each end judges for itself: the sender's egress and the receiver's ingress must both allow. For an end that
// said no by default, two things help: which policies isolate it, and the *nearest* rule, the one that would
// have needed the least to say yes (nearest.h).
#pragma once

#include <optional>
#include <string>

#include "dataplane/image/query.h"
#include "tools/ctl/ends.h"
#include "tools/ctl/print.h"

namespace bulkhead::ctl {

/// {"policy", "kind", "namespace", "policy_name", "name", "action", "tier", "priority", "peers", "ports", "file", "line",
/// "column"}; null for rule 0.
Value rule_value(const image::View& view, std::uint32_t rule);

/// "NetworkPolicy shop/web, rule 'from-lb' (shop.yaml:12)"; for a value that rule_value made.
std::string rule_text(const Value& rule);

/// [{"policy", "file", "line"}]: the audited policies that would isolate a subject class.
Value isolating_audited(const image::View& view, std::uint32_t direction, std::uint32_t subject);

/// One question, by the exact addresses that a packet would bear.
struct Question {
  abi::Address source, destination;
  std::string source_name, destination_name;
  Port port;
};

/// {"allowed", "fate", "meaning", "direction", "rule", "established": null | "keep" | "reevaluate" | "reset",
///  "audit": null | {"allowed", "differs", "fate", "direction", "rule", "isolated_by", "why"},
///  "egress": SIDE, "ingress": SIDE}, where `audit` is the verdict were every audited policy enforced, `established` is what a denial does to conversations from before, and a SIDE is
/// {"end", "judged", "allowed", "fate", "rule", "passed": [RULE], "isolated_by": [{"policy", "file", "line"}],
///  "selected_by": [selecting.h], "posture",
///  "nearest": null | {"lacks": "port"|"peer"|"neither", "rule", "ports", "like", "words"}, "why"}.
/// The top is exactly image::judge's answer; sides are judged each for itself, also behind a denial.
Value explain(const image::View& view, const Question& question);

}  // namespace bulkhead::ctl
