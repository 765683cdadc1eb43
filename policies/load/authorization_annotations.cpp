#include <algorithm>
#include <array>

#include "policies/load/authorization_policy.h"

namespace bulkhead::policies {
namespace {

/// Nothing where there is none, also where metadata or its annotations have a wrong shape, which is reported elsewhere.
Value annotation(const Value& object, std::string_view name) {
  Fields fields(object);
  fields.accept_all();
  const Value metadata = fields.optional("metadata");
  if (!metadata.is_mapping()) return {};
  Fields metadata_fields(metadata);
  metadata_fields.accept_all();
  const Value annotations = metadata_fields.optional("annotations");
  if (!annotations.is_mapping()) return {};
  for (const auto& entry : annotations.entries())
    if (entry.key == name) return entry.value;
  return {};
}

}  // namespace

bool is_dry_run(const Value& object) {
  const Value dry_run = annotation(object, "istio.io/dry-run");
  if (!dry_run || dry_run.node()->kind != NodeKind::kScalar) return false;
  const std::string& word = dry_run.node()->scalar;
  constexpr std::array<std::string_view, 6> kTrue = {"true", "True", "TRUE", "t", "T", "1"};
  constexpr std::array<std::string_view, 6> kFalse = {"false", "False", "FALSE", "f", "F", "0"};
  const bool is_true = std::find(kTrue.begin(), kTrue.end(), word) != kTrue.end();
  if (!is_true && std::find(kFalse.begin(), kFalse.end(), word) == kFalse.end()) {
    constexpr std::array<std::string_view, 2> kWords = {"true", "false"};
    dry_run.fail_spelling(word, kWords);
  }
  return is_true;
}

bool is_own_node_judged(const Value& object) {
  const Value own_node = annotation(object, "bulkhead.io/own-node");
  if (own_node.is_written_null()) own_node.fail_expected("judged, or no such annotation");
  if (!own_node) return false;
  constexpr std::array<std::string_view, 1> kWords = {"judged"};
  if (own_node.node()->kind == NodeKind::kScalar && own_node.node()->scalar != kWords[0])
    own_node.fail_spelling(own_node.node()->scalar, kWords);
  return true;
}

}  // namespace bulkhead::policies
