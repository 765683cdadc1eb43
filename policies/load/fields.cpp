#include "policies/load/fields.h"

#include <algorithm>

namespace bulkhead::policies {
namespace {

/// Of a key that nobody knows: longer than all that somebody does.
constexpr std::size_t kKeyShownMax = 253;

}  // namespace

Fields::Fields(Value value) : value_(std::move(value)) {
  if (value_ && !value_.is_mapping()) value_.fail_expected("a mapping");
  if (!valid()) finished_ = true;
}

Value Fields::child(std::string_view name) {
  known_.push_back(name);
  Value result;
  result.report_ = value_.report_;
  result.path_ = value_.path_.empty() ? std::string(name) : value_.path_ + "." + std::string(name);
  if (!valid()) return result;
  const YamlNode* node = value_.node_->find(name);
  if (node != nullptr) {
    result.written_ = node;
    if (node->kind != NodeKind::kNull) result.node_ = node;
  } else {
    result.around_ = value_.node_;
  }
  return result;
}

Value Fields::optional(std::string_view name) {
  return child(name);
}

Value Fields::required(std::string_view name) {
  Value result = child(name);
  if (result || !valid()) return result;
  result.fail(result.is_written_null() ? "found nothing, expected a value"
                                       : "the field " + quoted(name) + " is missing");
  return result;
}

bool Fields::has(std::string_view name) const {
  return valid() && value_.node_->find(name) != nullptr;
}

void Fields::accept(std::initializer_list<std::string_view> names) {
  known_.insert(known_.end(), names.begin(), names.end());
}

void Fields::finish() {
  if (finished_) return;
  finished_ = true;
  for (const auto& [key, value] : value_.node_->members) {
    if (value_.report_->errors().size() > Report::kErrorsMax) return;  // no more are listed
    if (std::find(known_.begin(), known_.end(), key.scalar) != known_.end()) continue;
    Value unknown(key, *value_.report_,
                  value_.path_ + (value_.path_.empty() ? "" : ".") + key.scalar.substr(0, kKeyShownMax));
    std::string hint = did_you_mean(key.scalar, known_);
    if (hint.empty()) {
      std::vector<std::string_view> names = known_;
      std::sort(names.begin(), names.end());
      names.erase(std::unique(names.begin(), names.end()), names.end());
      hint = ", expected " + one_of(names);
    }
    unknown.fail("found the unknown field " + quoted(key.scalar) + hint);
  }
}

}  // namespace bulkhead::policies
