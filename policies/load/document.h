// YAML as we take it: a strict tree, bounded in size, with a place for every node.
//
// libyaml scans and parses; its event stream builds this tree, and everything that could change a meaning
// unseen is refused: explicit tags, duplicate keys, keys that are not scalars, merge keys (<<), tabs in
// indentation, bytes that are not UTF-8 (a byte order mark may come first). Whether a scalar was quoted is kept,
// so that its reader can tell the string "no" from the word no. An alias is read as its anchor's value, and how
// much a file may repeat so is bounded. Time is linear in the text, memory in its largest document, and both are
// bounded by Limits. Errors name the field that was being read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "policies/load/error.h"

namespace bulkhead::policies {

enum class NodeKind : std::uint8_t { kNull, kScalar, kSequence, kMapping };

struct Member;

/// A node owns its children. Lines and columns count from 1.
struct YamlNode {
  NodeKind kind = NodeKind::kNull;
  bool plain = false;  // a scalar without quotes: what it means depends on who reads it
  std::uint32_t line = 0;
  std::uint32_t column = 0;
  std::string scalar;
  std::vector<YamlNode> items;  // of a sequence
  std::vector<Member> members;  // of a mapping, in the order written

  /// The member's value, or nullptr. Linear: mappings are small.
  const YamlNode* find(std::string_view key) const;
};

struct Member {
  YamlNode key;  // a scalar
  YamlNode value;
};

struct Limits {
  std::size_t file_bytes_max = std::size_t{64} << 20;
  std::size_t nodes_max = 4'000'000;  // of one file: 30,000 large policies, or 64 MiB of kubectl's YAML
  std::size_t aliased_max = 100'000;  // of these: below anchors, and behind aliases
  std::size_t depth_max = 64;
};

/// Hands every document of the text to `take`, in order; an empty one is a null node. False after an error, of which
/// `report` says where and why: documents before it were handed out then, and must not be used.
bool read_documents(std::string_view text, Report& report, const Limits& limits,
                    const std::function<void(YamlNode)>& take);

/// Every document, at once. Empty after an error: no half-read file is ever used.
std::vector<YamlNode> parse_documents(std::string_view text, Report& report, const Limits& limits = {});

}  // namespace bulkhead::policies
