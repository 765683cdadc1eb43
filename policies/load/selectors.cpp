#include <algorithm>

#include "policies/load/objects.h"

namespace bulkhead::policies {
namespace {

Requirement read_requirement(const Value& item) {
  Fields fields = item.fields();
  Requirement requirement;

  const Value key = fields.required("key");
  if (const auto text = key.text()) {
    requirement.key = *text;
    if (const auto wrong = wrong_label_key(*text)) key.fail_expected(*wrong);
  }

  const auto op = fields.required("operator")
                      .choice<Operator>({{"In", Operator::kIn},
                                         {"NotIn", Operator::kNotIn},
                                         {"Exists", Operator::kExists},
                                         {"DoesNotExist", Operator::kDoesNotExist}});
  requirement.op = op.value_or(Operator::kIn);

  const Value values = fields.optional("values");
  for (const auto& value : values.list()) {
    const auto text = value.text();
    if (!text) continue;
    if (const auto wrong = wrong_label_value(*text)) value.fail_expected(*wrong);
    requirement.values.push_back(*text);
  }
  std::sort(requirement.values.begin(), requirement.values.end());
  requirement.values.erase(std::unique(requirement.values.begin(), requirement.values.end()),
                           requirement.values.end());

  const bool listed = values.is_list() && !values.node()->items.empty();
  if (op && (*op == Operator::kIn || *op == Operator::kNotIn)) {
    if (!listed && (!values || values.is_list()))
      values.fail("found no values, expected at least one for In and NotIn");
  } else if (op && listed) {
    values.fail("found values, expected none for Exists and DoesNotExist");
  }
  return requirement;
}

}  // namespace

Selector read_selector(Fields& fields) {
  Selector selector;
  if (const auto labels = fields.optional("matchLabels").labels())
    for (const auto& [key, value] : *labels) selector.requirements.push_back({key, Operator::kIn, {value}});
  for (const auto& item : fields.optional("matchExpressions").list())
    selector.requirements.push_back(read_requirement(item));
  auto& all = selector.requirements;
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return selector;
}

Selector read_selector(const Value& value) {
  Fields fields = value.fields();
  return read_selector(fields);
}

}  // namespace bulkhead::policies
