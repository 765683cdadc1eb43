#include "policies/load/document.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <optional>
#include <sstream>
#include <tuple>
#include <utility>

#include "policies/load/nearest.h"
#include "policies/load/text.h"

namespace bulkhead::policies {
namespace {

/// Thrown through yaml-cpp to end the parse early; the reason is in the report.
struct Refused {};

class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(Report& report, const Limits& limits) : report_(report), limits_(limits) {}

  std::vector<YamlNode> take() { return std::move(documents_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override {
    YamlNode null = node(mark, NodeKind::kNull);
    // A value that is left out lies behind its colon. yaml-cpp makes one up, at the key's place, where the colon
    // is left out.
    if (!open_.empty() && open_.back().key &&
        std::tie(null.line, null.column) <= std::tie(open_.back().key->line, open_.back().key->column))
      refuse(mark,
             "found " + quoted(open_.back().key->scalar) + " without a colon, expected a key and its value");
    add(std::move(null));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    refuse(mark, "found an alias (*name), expected the value itself: aliases are not taken here");
  }
  void OnAnchor(const YAML::Mark& mark, const std::string& name) override {
    refuse(mark, "found the anchor " + quoted("&" + name) + ", expected a value: anchors are not taken here");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                const std::string& text) override {
    check_tag(mark, tag);
    YamlNode scalar = node(mark, NodeKind::kScalar);
    scalar.plain = tag == "?";
    scalar.scalar = text;
    add(std::move(scalar));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    open(mark, tag, NodeKind::kSequence);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    open(mark, tag, NodeKind::kMapping);
  }
  void OnMapEnd() override {
    check_duplicates(open_.back().node);
    close();
  }

 private:
  struct Open {
    YamlNode node;
    std::optional<YamlNode> key;  // of a mapping: waits for its value
  };

  static std::uint32_t place(int counted_from_0) {
    return static_cast<std::uint32_t>(std::max(counted_from_0, 0)) + 1;
  }

  [[noreturn]] void refuse(const YAML::Mark& mark, std::string message) {
    report_.add(place(mark.line), place(mark.column), "", std::move(message));
    throw Refused{};
  }

  void check_tag(const YAML::Mark& mark, const std::string& tag) {
    if (tag != "?" && tag != "!")
      refuse(mark, "found the tag " + quoted(tag) + ", expected a value: tags are not taken here");
  }

  YamlNode node(const YAML::Mark& mark, NodeKind kind) {
    if (++nodes_ > limits_.nodes_max)
      refuse(mark, "found more than " + std::to_string(limits_.nodes_max) +
                       " values, which is the limit of a file");
    YamlNode made;
    made.kind = kind;
    made.line = place(mark.line);
    made.column = place(mark.column);
    return made;
  }

  void open(const YAML::Mark& mark, const std::string& tag, NodeKind kind) {
    check_tag(mark, tag);
    if (open_.size() >= limits_.depth_max)
      refuse(mark, "found values nested deeper than " + std::to_string(limits_.depth_max) + " levels");
    if (!open_.empty() && open_.back().node.kind == NodeKind::kMapping && !open_.back().key)
      refuse(mark, std::string("found ") + (kind == NodeKind::kMapping ? "a mapping" : "a list") +
                       " as a key, expected a word");
    open_.push_back({node(mark, kind), std::nullopt});
  }

  void close() {
    YamlNode done = std::move(open_.back().node);
    open_.pop_back();
    add(std::move(done));
  }

  void add(YamlNode done) {
    if (open_.empty()) {
      documents_.push_back(std::move(done));
      return;
    }
    Open& parent = open_.back();
    if (parent.node.kind == NodeKind::kSequence) {
      parent.node.items.push_back(std::move(done));
    } else if (parent.key) {
      parent.node.members.push_back({std::move(*parent.key), std::move(done)});
      parent.key.reset();
    } else if (done.kind == NodeKind::kScalar) {
      parent.key = std::move(done);
    } else {
      report_.add(done.line, done.column, "", "found nothing as a key, expected a word");
      throw Refused{};
    }
  }

  void check_duplicates(const YamlNode& mapping) {
    std::vector<const YamlNode*> keys;
    keys.reserve(mapping.members.size());
    for (const auto& member : mapping.members) keys.push_back(&member.key);
    std::stable_sort(keys.begin(), keys.end(), [](auto a, auto b) { return a->scalar < b->scalar; });
    const auto twice =
        std::adjacent_find(keys.begin(), keys.end(), [](auto a, auto b) { return a->scalar == b->scalar; });
    if (twice == keys.end()) return;
    const YamlNode &first = *twice[0], &second = *twice[1];
    report_.add(second.line, second.column, "",
                "found the key " + quoted(second.scalar) + " a second time (first in line " +
                    std::to_string(first.line) + "), expected it once");
    throw Refused{};
  }

  Report& report_;
  const Limits& limits_;
  std::size_t nodes_ = 0;
  std::vector<Open> open_;
  std::vector<YamlNode> documents_;
};

}  // namespace

const YamlNode* YamlNode::find(std::string_view key) const {
  for (const auto& member : members)
    if (member.key.scalar == key) return &member.value;
  return nullptr;
}

std::vector<YamlNode> parse_documents(std::string_view text, Report& report, const Limits& limits) {
  if (text.size() > limits.file_bytes_max) {
    report.add(0, 0, "",
               "found " + std::to_string(text.size()) + " bytes, expected at most " +
                   std::to_string(limits.file_bytes_max));
    return {};
  }
  if (!check_text(text, report)) return {};
  TreeBuilder builder(report, limits);
  try {
    // yaml-cpp takes a quoted scalar that the end of the file cuts off; not one that an end of document does.
    std::string ended(text);
    ended += text.empty() || text.back() == '\n' ? "...\n" : "\n...\n";
    std::istringstream stream{std::move(ended)};
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
    return builder.take();
  } catch (const Refused&) {
  } catch (const YAML::Exception& error) {
    const bool known = !error.mark.is_null();
    report.add(known ? static_cast<std::uint32_t>(error.mark.line) + 1 : 0,
               known ? static_cast<std::uint32_t>(error.mark.column) + 1 : 0, "", "not YAML: " + error.msg);
  }
  return {};
}

}  // namespace bulkhead::policies
