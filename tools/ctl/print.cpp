#include "tools/ctl/print.h"

#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace bulkhead::ctl {
namespace {

/// The code point that starts at `text[at]` and its length; length 0 where the bytes are not UTF-8.
std::pair<std::uint32_t, std::size_t> code_point(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(at);
  if (first < 0x80) return {first, 1};
  const std::size_t bytes = first >= 0xf0 && first <= 0xf4  ? 4
                            : first >= 0xe0 && first < 0xf0 ? 3
                            : first >= 0xc2 && first < 0xe0 ? 2
                                                            : 0;
  if (bytes == 0 || at + bytes > text.size()) return {0, 0};
  std::uint32_t point = first & (0xff >> (bytes + 1));
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte(at + i) & 0xc0) != 0x80) return {0, 0};
    point = point << 6 | (byte(at + i) & 0x3f);
  }
  static constexpr std::uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (point < kSmallest[bytes] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return {0, 0};
  return {point, bytes};
}

/// C0, DEL, C1, line and paragraph separators, bidirectional controls, zero-width characters, tags.
bool deceives(std::uint32_t point) {
  return point < 0x20 || (point >= 0x7f && point < 0xa0) || point == 0xad || point == 0x61c ||
         (point >= 0x200b && point <= 0x200f) || (point >= 0x2028 && point <= 0x202e) ||
         (point >= 0x2060 && point <= 0x206f) || point == 0xfeff || (point >= 0xe0000 && point <= 0xe007f);
}

void emit(YAML::Emitter& yaml, const Value& value) {
  switch (value.type()) {
    case Value::value_t::object:
      yaml << YAML::BeginMap;
      for (const auto& [key, element] : value.items()) {
        yaml << YAML::Key << key << YAML::Value;
        emit(yaml, element);
      }
      yaml << YAML::EndMap;
      return;
    case Value::value_t::array:
      if (value.empty()) yaml << YAML::Flow;
      yaml << YAML::BeginSeq;
      for (const Value& element : value) emit(yaml, element);
      yaml << YAML::EndSeq;
      return;
    case Value::value_t::string:
      // Quoted always: a label `no` or `1e3` stays a string for every YAML reader.
      yaml << YAML::DoubleQuoted << value.get_ref<const std::string&>();
      return;
    case Value::value_t::boolean:
      yaml << value.get<bool>();
      return;
    case Value::value_t::number_unsigned:
      yaml << value.get<std::uint64_t>();
      return;
    case Value::value_t::number_integer:
      yaml << value.get<std::int64_t>();
      return;
    case Value::value_t::number_float:
      yaml << value.get<double>();
      return;
    default:
      yaml << YAML::Null;
      return;
  }
}

}  // namespace

std::string escape(std::string_view text) {
  std::string safe;
  safe.reserve(text.size());
  char code[16];
  for (std::size_t at = 0; at < text.size();) {
    const auto [point, bytes] = code_point(text, at);
    if (bytes == 0 || (bytes == 1 && deceives(point))) {
      std::snprintf(code, sizeof code, "\\x%02x", static_cast<unsigned char>(text[at]));
      safe += code;
      ++at;
      continue;
    }
    if (deceives(point)) {
      std::snprintf(code, sizeof code, "\\u{%x}", point);
      safe += code;
    } else {
      safe += text.substr(at, bytes);
    }
    at += bytes;
  }
  return safe;
}

std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string Terminal::paint(Colour colour, std::string_view text) const {
  const char* code = nullptr;
  switch (colour) {
    case Colour::kPlain:
      break;
    case Colour::kBold:
      code = "1";
      break;
    case Colour::kDim:
      code = "2";
      break;
    case Colour::kGood:
      code = "32";
      break;
    case Colour::kBad:
      code = "31";
      break;
    case Colour::kWarn:
      code = "33";
      break;
  }
  if (code == nullptr || !colour_) return std::string(text);
  return std::string("\x1b[") + code + "m" + std::string(text) + "\x1b[0m";
}

void Terminal::heading(std::string_view text) {
  out_ << paint(Colour::kBold, text) << '\n';
}

void Terminal::fact(std::string_view name, std::string_view value) {
  constexpr std::size_t kNameColumns = 14;
  const std::size_t used = width(name);
  out_ << name << std::string(used < kNameColumns ? kNameColumns - used : 1, ' ') << value << '\n';
}

void Table::row(std::vector<std::string> cells, Colour colour) {
  for (std::string& cell : cells) cell = escape(cell);
  cells.resize(columns_.size());
  rows_.push_back({std::move(cells), colour});
}

void Table::print(Terminal& terminal) const {
  std::vector<std::size_t> widths;
  for (std::size_t column = 0; column < columns_.size(); ++column) {
    std::size_t widest = width(columns_[column].title);
    for (const Row& row : rows_) widest = std::max(widest, width(row.cells[column]));
    widths.push_back(widest);
  }
  const auto line = [&](const auto& cell_of, Colour colour) {
    std::string text;
    for (std::size_t column = 0; column < columns_.size(); ++column) {
      const std::string& cell = cell_of(column);
      const std::string pad(widths[column] - width(cell), ' ');
      const bool last = column + 1 == columns_.size();
      if (columns_[column].right) {
        text += pad + cell;
      } else {
        text += last ? cell : cell + pad;
      }
      if (!last) text += "  ";
    }
    terminal.out() << terminal.paint(colour, text) << '\n';
  };
  line([&](std::size_t column) -> const std::string& { return columns_[column].title; }, Colour::kBold);
  for (const Row& row : rows_)
    line([&](std::size_t column) -> const std::string& { return row.cells[column]; }, row.colour);
}

std::string plain(const Value& value) {
  if (value.is_null()) return "-";
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_array()) {
    std::string list;
    for (const Value& element : value) list += (list.empty() ? "" : ", ") + plain(element);
    return list.empty() ? "-" : list;
  }
  return value.dump(-1, ' ', false, Value::error_handler_t::replace);
}

void print_json(const Value& value, std::ostream& out) {
  out << value.dump(2, ' ', false, Value::error_handler_t::replace) << '\n';
}

void print_yaml(const Value& value, std::ostream& out) {
  YAML::Emitter yaml;
  yaml.SetBoolFormat(YAML::TrueFalseBool);
  emit(yaml, value);
  out << yaml.c_str() << '\n';
}

bool colour_welcome(int fd) {
  const char* refused = std::getenv("NO_COLOR");
  const char* kind = std::getenv("TERM");
  return (refused == nullptr || *refused == '\0') && kind != nullptr && std::strcmp(kind, "dumb") != 0 &&
         isatty(fd) == 1;
}

std::string bytes_text(std::uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double amount = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; amount >= 1024 && unit + 1 < std::size(kUnits); ++unit) amount /= 1024;
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", amount, kUnits[unit]);
  return text;
}

std::string seconds_text(std::uint64_t seconds) {
  const auto pair = [](std::uint64_t big, const char* unit, std::uint64_t small, const char* small_unit) {
    return std::to_string(big) + unit + " " + std::to_string(small) + small_unit;
  };
  if (seconds >= 86400) return pair(seconds / 86400, "d", seconds % 86400 / 3600, "h");
  if (seconds >= 3600) return pair(seconds / 3600, "h", seconds % 3600 / 60, "m");
  if (seconds >= 60) return pair(seconds / 60, "m", seconds % 60, "s");
  return std::to_string(seconds) + "s";
}

std::string time_text(std::uint64_t unix_ms) {
  const std::time_t seconds = static_cast<std::time_t>(unix_ms / 1000);
  std::tm utc{};
  if (gmtime_r(&seconds, &utc) == nullptr) return std::to_string(unix_ms) + " ms";
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

}  // namespace bulkhead::ctl
