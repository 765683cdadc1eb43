// A file's tree, walked leniently: fields are looked up, not demanded, and whatever has a wrong shape refuses the
// object it belongs to.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "policies/import/import.h"
#include "policies/load/document.h"

namespace bulkhead::policies::imports {

/// A value with its path, or nothing. A value that is null counts as nothing, as everywhere in Kubernetes.
class Item {
 public:
  Item() = default;
  Item(const YamlNode& node, std::string path)
      : node_(node.kind == NodeKind::kNull ? nullptr : &node),
        line_(node.line),
        column_(node.column),
        path_(std::move(path)) {}

  explicit operator bool() const { return node_ != nullptr; }
  const std::string& path() const { return path_; }
  std::uint32_t line() const { return line_; }
  std::uint32_t column() const { return column_; }
  bool is_mapping() const { return node_ != nullptr && node_->kind == NodeKind::kMapping; }
  bool is_list() const { return node_ != nullptr && node_->kind == NodeKind::kSequence; }

  /// The member of that name; nothing, at this place, where there is none.
  Item operator[](std::string_view name) const;
  /// Nothing from nothing; Refused where it is no list, or an item is null.
  std::vector<Item> items() const;
  /// Likewise, of a mapping: each member, null ones included.
  std::vector<std::pair<std::string, Item>> members() const;
  /// Members of other names, or all of a mapping's where none are given.
  std::vector<Item> besides(std::initializer_list<std::string_view> names) const;
  /// Refused where there are such: of what may be lost neither in an allow nor in a deny rule.
  void refuse_besides(std::initializer_list<std::string_view> names) const;

  /// Empty from nothing; Refused where it is no scalar.
  std::string text() const;
  bool boolean() const;  // false from nothing
  std::optional<std::uint32_t> number(std::uint32_t max) const;
  std::vector<std::string> texts() const;
  /// What a reader of YAML may take for another number than is written: 0x50, 1e3.
  bool is_odd_number() const;

 private:
  const YamlNode* node_ = nullptr;
  std::uint32_t line_ = 0, column_ = 0;
  std::string path_;
};

/// Ends the reading of an object.
struct Refused {
  Item at;
  std::string message;
};

/// What of one object is put together at most: blocks beside exceptions, blocks of groups where they are named.
inline constexpr std::size_t kCombinationsMax = 1'000'000;

/// A condition that cannot be said here: the caller knows whether to go on without it.
struct Unsaid {
  Item at;
  std::string message;
};

/// The losses of one object.
class Ledger {
 public:
  Ledger(std::string file, std::string object, std::vector<Loss>& losses)
      : file_(std::move(file)), object_(std::move(object)), losses_(losses) {}

  const std::string& object() const { return object_; }
  Origin origin(const Item& at) const { return {file_, at.line(), at.column()}; }
  void add(const Item& at, Effect effect, std::string message) {
    losses_.push_back({origin(at), object_, at.path(), effect, std::move(message)});
  }

 private:
  std::string file_, object_;
  std::vector<Loss>& losses_;
};

/// An object of the input, with what every dialect's objects have.
struct Original {
  std::string file, api_version, kind, namespace_name, name;
  Item root, spec;

  std::string words() const {
    return kind + " " + (namespace_name.empty() ? "" : namespace_name + "/") + name;
  }
  Origin origin() const { return {file, root.line(), root.column()}; }
};

}  // namespace bulkhead::policies::imports
