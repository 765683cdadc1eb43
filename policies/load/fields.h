// Reading a tree into typed values, strictly, with errors that name the field.
//
//   Report report("endpoints.yaml");
//   for (const YamlNode& document : parse_documents(text, report)) {
//     Fields root{Value{document, report}};
//     name = root.required("name").text().value_or("");
//     idle = root.optional("idle_timeout").duration(1s, 1h).value_or(30s);
//     for (Value item : root.optional("ports").list()) {
//       Fields port = item.fields();
//       number = port.required("port").port().value_or(0);
//     }
//   }                          // here: every field that nobody asked for is reported
//   if (!report.empty()) ...   // nothing that was read may be used
//
// A Value is a node, or nothing, with its path. Every conversion returns nothing from nothing, silently, and
// nothing after having reported an error from a wrong node: so a caller reads on, and a person sees all
// errors at once. A field that is null counts as absent, as everywhere in Kubernetes.
//
// Plain (unquoted) scalars are read by what is asked for: text() refuses numbers, true, false, null and the
// words that YAML 1.1 took for booleans (yes, no, on, off; not y and n), because tools disagree about them.
#pragma once

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "policies/load/document.h"
#include "policies/load/nearest.h"
#include "policies/model/address.h"
#include "policies/model/moment.h"

namespace bulkhead::policies {

class Fields;
struct Entry;

class Value {
 public:
  /// Nothing, at `path`.
  Value() = default;
  Value(const YamlNode& node, Report& report, std::string path = {})
      : node_(node.kind == NodeKind::kNull ? nullptr : &node),
        written_(&node),
        report_(&report),
        path_(std::move(path)) {}

  explicit operator bool() const { return node_ != nullptr; }
  bool is_written_null() const { return written_ != nullptr && node_ == nullptr; }
  const YamlNode* node() const { return node_; }
  const std::string& path() const { return path_; }
  Origin origin() const;
  /// Of the report that this value's errors go to: to see whether reading something reported any.
  std::size_t errors_so_far() const { return report_ == nullptr ? 0 : report_->errors().size(); }

  std::optional<std::string> text() const;  // may be empty
  std::optional<std::string> nonempty_text() const;
  std::optional<bool> boolean() const;                                            // true or false
  std::optional<std::int64_t> integer(std::int64_t min, std::int64_t max) const;  // inclusive
  std::optional<std::uint16_t> port() const;                                      // 1 to 65535
  /// A whole number with a unit: "250ms", "30s", "5m", "2h".
  std::optional<std::chrono::milliseconds> duration(std::chrono::milliseconds min,
                                                    std::chrono::milliseconds max) const;
  std::optional<Time> time() const;  // RFC 3339, as policies/model/moment.h says
  /// A whole number, alone or with KiB, MiB, GiB.
  std::optional<std::uint64_t> bytes(std::uint64_t min, std::uint64_t max) const;
  std::optional<AddressBytes> address() const;
  std::optional<AddressBlock> block() const;  // host bits must be zero
  std::optional<MacBytes> mac() const;
  std::optional<Labels> labels() const;  // Kubernetes' syntax of keys and values
  std::optional<std::vector<NamedPort>> named_ports()
      const;  // a list of {name, port, protocol: TCP|UDP|SCTP}

  /// One of a few words.
  template <class T>
  std::optional<T> choice(std::initializer_list<std::pair<std::string_view, T>> words) const {
    const auto word = choice_text();
    if (!word) return std::nullopt;
    std::vector<std::string_view> names;
    for (const auto& [name, value] : words) {
      if (name == *word) return value;
      names.push_back(name);
    }
    fail_spelling(*word, names);
    return std::nullopt;
  }

  std::vector<Value> list() const;     // items; a null item is reported
  std::vector<Entry> entries() const;  // a mapping whose keys are data
  Fields fields() const;               // a mapping whose keys are known

  bool is_list() const { return node_ != nullptr && node_->kind == NodeKind::kSequence; }
  bool is_mapping() const { return node_ != nullptr && node_->kind == NodeKind::kMapping; }

  void fail(std::string message) const;                 // at this value's place
  void warn(std::string message) const;                 // likewise, but what was read may be used
  void refer(std::string name) const;                   // a name to be looked up once everything is read
  void fail_expected(std::string_view expected) const;  // "found X, expected Y"
  void fail_spelling(std::string_view word, std::span<const std::string_view> words) const;

 private:
  friend class Fields;
  std::optional<std::string> choice_text() const;
  const std::string* scalar_for(std::string_view expected) const;

  const YamlNode* node_ = nullptr;     // nullptr: absent or null
  const YamlNode* written_ = nullptr;  // the node, null ones included
  const YamlNode* around_ = nullptr;   // of a field that is not written: the mapping that lacks it
  Report* report_ = nullptr;
  std::string path_;
};

struct Entry {
  std::string key;
  Value key_value;  // for errors about the key
  Value value;      // may be null
};

/// A mapping's known fields. Bound to one scope: when it ends, the fields that nobody asked for are reported,
/// with the nearest spelling of those that somebody did ask for.
class Fields {
 public:
  explicit Fields(Value value);  // not a mapping: reported here; then every field is absent, silently
  ~Fields() { finish(); }
  Fields(const Fields&) = delete;
  Fields& operator=(const Fields&) = delete;

  const Value& value() const { return value_; }
  bool valid() const { return value_.is_mapping(); }

  /// `name` must outlive this: it is meant to be a literal.
  Value optional(std::string_view name);
  Value required(std::string_view name);  // reported if absent or null
  bool has(std::string_view name) const;  // written, null included; does not ask for it

  /// Fields that may be there and are not read.
  void accept(std::initializer_list<std::string_view> names);
  /// Unknown fields are fine: the text comes from an API server that knows more than we do.
  void accept_all() { finished_ = true; }
  /// Reports unknown fields now; fields asked for later are not checked.
  void finish();

 private:
  Value child(std::string_view name);

  Value value_;
  std::vector<std::string_view> known_;
  bool finished_ = false;
};

/// "80 (a number)", "the list", ... : what a message says was found.
std::string describe_found(const YamlNode& node);

/// Why a text is no label key, label value, DNS label, DNS subdomain or port name; nothing if it is one.
/// Kubernetes' rules (k8s.io/apimachinery/pkg/util/validation).
std::optional<std::string> wrong_label_key(std::string_view text);
std::optional<std::string> wrong_label_value(std::string_view text);
std::optional<std::string> wrong_dns_label(std::string_view text);
std::optional<std::string> wrong_dns_subdomain(std::string_view text);
std::optional<std::string> wrong_port_name(std::string_view text);

}  // namespace bulkhead::policies
