// One value, three printers.
//
// A command's answer is one ordered JSON value. JSON and YAML print it as it is; for people a command lays it
// out itself with Terminal, which knows whether colour is welcome. Names that come from outside (endpoint
// names, labels, file names, error texts) may hold anything: they reach a terminal only through escape().
#pragma once

#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace bulkhead::ctl {

using Value = nlohmann::ordered_json;

enum class Format { kTable, kJson, kYaml };

/// Printable UTF-8 as it is; control characters, invalid bytes and the direction-changing characters of
/// Unicode as \xNN or \u{NNNN}, so that a label can neither move the cursor nor pretend to be other text.
std::string escape(std::string_view text);

/// Columns of a screen that `text` (escaped) takes: code points, not bytes.
std::size_t width(std::string_view text);

enum class Colour { kPlain, kBold, kDim, kGood, kBad, kWarn };

/// Where a person reads: an output stream, and whether it understands colour.
class Terminal {
 public:
  Terminal(std::ostream& out, bool colour) : out_(out), colour_(colour) {}

  std::ostream& out() { return out_; }
  /// `text` in its colour, or plainly where colour is not welcome. Does not escape.
  std::string paint(Colour colour, std::string_view text) const;
  /// A heading over what follows.
  void heading(std::string_view text);
  /// "name   value", names in one column of 14.
  void fact(std::string_view name, std::string_view value);

 private:
  std::ostream& out_;
  bool colour_;
};

/// Lines under headings, columns as wide as their widest cell. Cells are escaped here.
class Table {
 public:
  struct Column {
    std::string title;
    bool right = false;  // numbers line up at their last digit
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void row(std::vector<std::string> cells, Colour colour = Colour::kPlain);
  bool empty() const { return rows_.empty(); }
  void print(Terminal& terminal) const;

 private:
  struct Row {
    std::vector<std::string> cells;
    Colour colour;
  };
  std::vector<Column> columns_;
  std::vector<Row> rows_;
};

/// A scalar as a person writes it: strings without quotes, null as "-".
std::string plain(const Value& value);

void print_json(const Value& value, std::ostream& out);
void print_yaml(const Value& value, std::ostream& out);

/// True for a terminal that may be painted: NO_COLOR (https://no-color.org) unset or empty, TERM not "dumb".
bool colour_welcome(int fd);

/// "1.5 MiB", "12 B".
std::string bytes_text(std::uint64_t bytes);
/// "3d 4h", "5m 6s", "7s".
std::string seconds_text(std::uint64_t seconds);
/// Unix milliseconds as "2031-02-03T04:05:06Z".
std::string time_text(std::uint64_t unix_ms);

}  // namespace bulkhead::ctl
