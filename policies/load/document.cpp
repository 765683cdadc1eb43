#include "policies/load/document.h"

#include <yaml.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "policies/load/anchors.h"
#include "policies/load/nearest.h"
#include "policies/load/problem.h"
#include "policies/load/text.h"

namespace bulkhead::policies {
namespace {

std::string_view text_of(const yaml_char_t* bytes) {
  return bytes == nullptr ? std::string_view() : reinterpret_cast<const char*>(bytes);
}

/// libyaml's parser with its current event. Text must outlive it.
class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {
    if (yaml_parser_initialize(&parser_) == 0) throw std::bad_alloc();
    yaml_parser_set_encoding(&parser_, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()), text.size());
  }
  ~Parser() {
    yaml_event_delete(&event_);
    yaml_parser_delete(&parser_);
  }
  Parser(const Parser&) = delete;
  Parser& operator=(const Parser&) = delete;

  /// Nullptr: what follows is no YAML.
  const yaml_event_t* next() {
    yaml_event_delete(&event_);
    if (yaml_parser_parse(&parser_, &event_) != 0) return &event_;
    if (parser_.error == YAML_MEMORY_ERROR) throw std::bad_alloc();
    return nullptr;
  }

  Problem problem() const { return problem_of(parser_, text_); }

 private:
  std::string_view text_;
  yaml_parser_t parser_{};
  yaml_event_t event_{};
};

/// Builds one document after the other.
class TreeBuilder {
 public:
  using Take = std::function<void(YamlNode)>;

  TreeBuilder(Report& report, const Limits& limits, const Take& take, bool remember = false)
      : report_(report), limits_(limits), take_(take), remember_(remember), anchors_(limits.aliased_max) {}

  /// False: refused, the report says why.
  bool build(std::string_view text) {
    Parser parser(text);
    while (const yaml_event_t* event = parser.next()) {
      if (event->type == YAML_STREAM_END_EVENT) return true;
      if (!add(*event)) return false;
      if (event->type == YAML_DOCUMENT_END_EVENT && report_.full()) return false;
    }
    Problem problem = parser.problem();
    std::string field = path_at(text, problem);
    report_.add(problem.line, problem.column, std::move(field), std::move(problem.message));
    return false;
  }

  /// The last field that was read, of those who asked to remember it.
  const std::string& last() const { return last_; }

  /// The field that is being read.
  std::string path() const {
    std::string text;
    for (const auto& open : open_) {
      if (open.node.kind == NodeKind::kSequence)
        text += "[" + std::to_string(open.node.items.size()) + "]";
      else if (open.key)
        text += (text.empty() ? "" : ".") + quotable(open.key->scalar);
    }
    return text;
  }

 private:
  struct Open {
    YamlNode node;
    std::optional<YamlNode> key = {};  // of a mapping: waits for its value
    std::string anchor = {};
  };

  std::string path_at(std::string_view text, const Problem& problem) const;

  /// A key within a path, short enough for a message.
  static std::string quotable(const std::string& key) { return key.substr(0, 253); }

  bool refuse(const yaml_event_t& event, std::string message) {
    return refuse(event, path(), std::move(message));
  }
  bool refuse(const yaml_event_t& event, std::string field, std::string message) {
    report_.add(static_cast<std::uint32_t>(event.start_mark.line) + 1,
                static_cast<std::uint32_t>(event.start_mark.column) + 1, std::move(field),
                std::move(message));
    return false;
  }

  bool add(const yaml_event_t& event) {
    switch (event.type) {
      case YAML_DOCUMENT_START_EVENT:
        anchors_.clear();
        return true;
      case YAML_ALIAS_EVENT:
        return add_alias(event);
      case YAML_SCALAR_EVENT:
        return is_untagged(event, event.data.scalar.tag) && add_scalar(event);
      case YAML_SEQUENCE_START_EVENT:
        return is_untagged(event, event.data.sequence_start.tag) &&
               open(event, NodeKind::kSequence, event.data.sequence_start.anchor);
      case YAML_MAPPING_START_EVENT:
        return is_untagged(event, event.data.mapping_start.tag) &&
               open(event, NodeKind::kMapping, event.data.mapping_start.anchor);
      case YAML_MAPPING_END_EVENT:
        if (!check_duplicates(open_.back().node)) return false;
        [[fallthrough]];
      case YAML_SEQUENCE_END_EVENT:
        return close(event);
      default:
        return true;  // the stream's and the documents' beginnings and ends
    }
  }

  bool is_untagged(const yaml_event_t& event, const yaml_char_t* tag) {
    if (tag != nullptr && text_of(tag) != "!")
      return refuse(event,
                    "found the tag " + quoted(text_of(tag)) + ", expected a value: tags are not taken here");
    return true;
  }

  bool keep(const yaml_event_t& event, std::string_view anchor, const YamlNode& value) {
    return anchor.empty() || anchors_.keep(anchor, value) || refuse_more_aliased(event);
  }
  bool refuse_more_aliased(const yaml_event_t& event) {
    return refuse(event, "found more than " + std::to_string(limits_.aliased_max) +
                             " values below anchors and behind aliases, which is the limit of a file");
  }
  bool refuse_deeper(const yaml_event_t& event) {
    return refuse(event, "found values nested deeper than " + std::to_string(limits_.depth_max) +
                             " levels, which is the limit");
  }

  bool add_alias(const yaml_event_t& event) {
    const std::string_view name = text_of(event.data.alias.anchor);
    if (awaits_key()) return refuse(event, "found an alias as a key, expected a word");
    const YamlNode* value = anchors_.find(name);
    if (value == nullptr)
      return refuse(event, "found the alias " + quoted("*" + std::string(name)) +
                               ", expected one whose anchor is before it in the document, with its value");
    if (!anchors_.count(*value)) return refuse_more_aliased(event);
    if (open_.size() + Anchors::depth_of(*value) > limits_.depth_max) return refuse_deeper(event);
    if (remember_) last_ = path();
    add(*value);
    return true;
  }

  std::optional<YamlNode> node(const yaml_event_t& event, NodeKind kind) {
    if (++nodes_ > limits_.nodes_max) {
      refuse(event, "found more than " + std::to_string(limits_.nodes_max) +
                        " values, which is the limit of a file");
      return std::nullopt;
    }
    YamlNode made;
    made.kind = kind;
    made.line = static_cast<std::uint32_t>(event.start_mark.line) + 1;
    made.column = static_cast<std::uint32_t>(event.start_mark.column) + 1;
    return made;
  }

  static bool is_null(std::string_view plain) {
    return plain.empty() || plain == "~" || plain == "null" || plain == "Null" || plain == "NULL";
  }

  bool add_scalar(const yaml_event_t& event) {
    const auto& scalar = event.data.scalar;
    const std::string_view text(reinterpret_cast<const char*>(scalar.value), scalar.length);
    const bool plain = scalar.style == YAML_PLAIN_SCALAR_STYLE && scalar.tag == nullptr;
    if (text.find('\0') != text.npos)
      return refuse(event, "found the character \\0 in a text, expected a text without it");
    auto made = node(event, plain && is_null(text) ? NodeKind::kNull : NodeKind::kScalar);
    if (!made) return false;
    made->plain = plain;
    if (made->kind == NodeKind::kScalar) made->scalar = text;
    if (text.empty() && plain) stand_behind_key(*made);
    if (awaits_key() && made->kind == NodeKind::kNull)
      return refuse(event, "found nothing as a key, expected a word");
    if (awaits_key() && plain && text == "<<")
      return refuse(event, path() + (path().empty() ? "<<" : ".<<"),
                    "found the merge key <<, expected the fields themselves");
    if (!keep(event, text_of(scalar.anchor), *made)) return false;
    const bool is_key = awaits_key();
    if (remember_ && !is_key) last_ = path();
    add(std::move(*made));
    if (remember_ && is_key) last_ = path();
    return true;
  }

  /// A value that is left out lies behind its colon; libyaml has it where it noticed.
  void stand_behind_key(YamlNode& left_out) const {
    if (open_.empty() || !open_.back().key) return;
    const YamlNode& key = *open_.back().key;
    if (left_out.line == key.line) return;
    left_out.line = key.line;
    left_out.column = key.column + static_cast<std::uint32_t>(key.scalar.size()) + 1;
  }

  bool open(const yaml_event_t& event, NodeKind kind, const yaml_char_t* anchor) {
    if (open_.size() >= limits_.depth_max) return refuse_deeper(event);
    if (awaits_key())
      return refuse(event, std::string("found ") + (kind == NodeKind::kMapping ? "a mapping" : "a list") +
                               " as a key, expected a word");
    auto made = node(event, kind);
    if (made) open_.push_back({std::move(*made), std::nullopt, std::string(text_of(anchor))});
    return made.has_value();
  }

  bool awaits_key() const {
    return !open_.empty() && open_.back().node.kind == NodeKind::kMapping && !open_.back().key;
  }

  bool close(const yaml_event_t& event) {
    YamlNode done = std::move(open_.back().node);
    const std::string anchor = std::move(open_.back().anchor);
    open_.pop_back();
    if (!keep(event, anchor, done)) return false;
    add(std::move(done));
    return true;
  }

  void add(YamlNode done) {
    if (open_.empty()) return take_(std::move(done));
    Open& parent = open_.back();
    if (parent.node.kind == NodeKind::kSequence) {
      parent.node.items.push_back(std::move(done));
    } else if (parent.key) {
      parent.node.members.push_back({std::move(*parent.key), std::move(done)});
      parent.key.reset();
    } else {
      parent.key = std::move(done);
    }
  }

  bool check_duplicates(const YamlNode& mapping) {
    constexpr std::size_t kFew = 16;
    const auto& members = mapping.members;
    const YamlNode *first = nullptr, *second = nullptr;
    if (members.size() <= kFew) {
      for (std::size_t i = 1; i < members.size() && second == nullptr; ++i)
        for (std::size_t j = 0; j < i && second == nullptr; ++j)
          if (members[i].key.scalar == members[j].key.scalar)
            first = &members[j].key, second = &members[i].key;
    } else {
      std::vector<const YamlNode*> keys;
      keys.reserve(members.size());
      for (const auto& member : members) keys.push_back(&member.key);
      const auto less = [](auto a, auto b) { return a->scalar < b->scalar; };
      std::stable_sort(keys.begin(), keys.end(), less);
      const auto twice =
          std::adjacent_find(keys.begin(), keys.end(), [](auto a, auto b) { return a->scalar == b->scalar; });
      if (twice != keys.end()) first = twice[0], second = twice[1];
    }
    if (second == nullptr) return true;
    const std::string around = path();
    report_.add(second->line, second->column, around + (around.empty() ? "" : ".") + quotable(second->scalar),
                "found the key " + quoted(second->scalar) + " a second time (first in line " +
                    std::to_string(first->line) + "), expected it once");
    return false;
  }

  Report& report_;
  const Limits& limits_;
  const Take& take_;
  const bool remember_;
  std::string last_;
  std::size_t nodes_ = 0;
  std::vector<Open> open_;
  Anchors anchors_;
};

/// The field in which the text breaks off.
std::string field_at_end(std::string_view text, const Limits& limits) {
  Report ignored("");
  const TreeBuilder::Take forget = [](const YamlNode&) {};
  TreeBuilder builder(ignored, limits, forget, true);
  return builder.build(text) ? builder.last() : builder.path();
}

/// What stands before a problem and is part of its field: what is before it in its line or, at the line's beginning, all
/// up to the line that it is indented under. Empty where nothing is.
std::string_view leading_to(std::string_view text, std::size_t problem_at) {
  const auto line_start = [&](std::size_t at) { return at == 0 ? 0 : text.rfind('\n', at - 1) + 1; };
  std::size_t start = line_start(problem_at);
  const std::size_t indent = problem_at - start;
  if (text.substr(start, indent).find_first_not_of(" -") != text.npos) return text.substr(0, problem_at);
  while (start > 0) {
    const std::size_t end = start - 1;
    start = line_start(end);
    const std::string_view line = text.substr(start, end - start);
    const std::size_t first = line.find_first_not_of(' ');
    if (first < indent && line[first] != '#' && line[first] != '\r') return text.substr(0, end);
  }
  return {};
}

/// libyaml reads ahead, and hands on what it has read once it knows what it is; so the text before the problem tells more. Not
/// in large ones, which take their time.
std::string TreeBuilder::path_at(std::string_view text, const Problem& problem) const {
  constexpr std::size_t kBytesMax = std::size_t{1} << 20;
  std::string noticed = path();
  if (remember_ || problem.offset > kBytesMax) return noticed;
  const std::string_view before = leading_to(text, problem.offset);
  if (before.empty() || (before.size() < problem.offset && !noticed.empty())) return noticed;
  std::string read = field_at_end(before, limits_);
  return read.size() > noticed.size() ? read : noticed;
}

}  // namespace

const YamlNode* YamlNode::find(std::string_view key) const {
  for (const auto& member : members)
    if (member.key.scalar == key) return &member.value;
  return nullptr;
}

bool read_documents(std::string_view text, Report& report, const Limits& limits,
                    const std::function<void(YamlNode)>& take) {
  if (text.size() > limits.file_bytes_max) {
    report.add(0, 0, "",
               "found " + std::to_string(text.size()) + " bytes, expected at most " +
                   std::to_string(limits.file_bytes_max));
    return false;
  }
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  if (const auto wrong = check_text(text)) {
    report.add(wrong->line, wrong->column, field_at_end(text.substr(0, wrong->offset), limits),
               wrong->message);
    return false;
  }
  return TreeBuilder(report, limits, take).build(text);
}

std::vector<YamlNode> parse_documents(std::string_view text, Report& report, const Limits& limits) {
  std::vector<YamlNode> documents;
  if (!read_documents(text, report, limits,
                      [&](YamlNode document) { documents.push_back(std::move(document)); }))
    documents.clear();
  return documents;
}

}  // namespace bulkhead::policies
