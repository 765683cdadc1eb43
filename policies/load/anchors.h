// YAML's anchors (&name) and what their aliases (*name) repeat, within one document.
//
// An alias is read as if its value were written out. What is kept and what is repeated is counted over a whole file,
// so that aliases of aliases cannot make much of little.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "policies/load/document.h"

namespace bulkhead::policies {

class Anchors {
 public:
  explicit Anchors(std::size_t values_max) : values_max_(values_max) {}

  /// Another document begins: it knows none of these.
  void clear() { values_.clear(); }

  /// A later anchor of that name takes its place. False: more values than allowed.
  bool keep(std::string_view name, const YamlNode& value) {
    if (!count(value)) return false;
    values_.insert_or_assign(std::string(name), value);
    return true;
  }

  /// Nullptr: no anchor of that name is before it. One around it is none: its value is not complete.
  const YamlNode* find(std::string_view name) const {
    const auto found = values_.find(name);
    return found == values_.end() ? nullptr : &found->second;
  }

  /// Before a value is kept or repeated. False: more values than allowed.
  bool count(const YamlNode& value) {
    values_count_ += size_of(value);
    return values_count_ <= values_max_;
  }

  static std::size_t depth_of(const YamlNode& value) {
    std::size_t deepest = 0;
    for (const auto& item : value.items) deepest = std::max(deepest, depth_of(item));
    for (const auto& member : value.members) deepest = std::max(deepest, depth_of(member.value));
    return deepest + (value.kind == NodeKind::kSequence || value.kind == NodeKind::kMapping ? 1 : 0);
  }

 private:
  static std::size_t size_of(const YamlNode& value) {
    std::size_t size = 1;
    for (const auto& item : value.items) size += size_of(item);
    for (const auto& member : value.members) size += 1 + size_of(member.value);
    return size;
  }

  const std::size_t values_max_;
  std::size_t values_count_ = 0;
  std::map<std::string, YamlNode, std::less<>> values_;
};

}  // namespace bulkhead::policies
