#include "policies/load/text.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>

namespace bulkhead::policies {
namespace {

/// Bytes of the UTF-8 sequence at the start of `text`, 0 if there is none: no overlong forms, no surrogates,
/// nothing above U+10FFFF.
std::size_t sequence_bytes(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(i < text.size() ? text[i] : '\0'); };
  const auto continues = [&](std::size_t i) { return (at(i) & 0xc0) == 0x80; };
  const unsigned char first = at(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return continues(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const bool overlong = first == 0xe0 && at(1) < 0xa0;
    const bool surrogate = first == 0xed && at(1) > 0x9f;
    return !overlong && !surrogate && continues(1) && continues(2) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const bool overlong = first == 0xf0 && at(1) < 0x90;
    const bool too_large = first == 0xf4 && at(1) > 0x8f;
    return !overlong && !too_large && continues(1) && continues(2) && continues(3) ? 4 : 0;
  }
  return 0;
}

/// True if a line ends in a block scalar's header (`key: |`, `- >-`): the deeper lines that follow are text.
bool opens_block_scalar(std::string_view line) {
  if (const auto comment = line.find(" #"); comment != std::string_view::npos) line = line.substr(0, comment);
  const auto last = line.find_last_not_of(" \t\r");
  if (last == std::string_view::npos) return false;
  line = line.substr(0, last + 1);
  for (int indicators = 0; indicators < 2 && !line.empty(); ++indicators) {
    const char c = line.back();
    if (c != '+' && c != '-' && (c < '1' || c > '9')) break;
    line.remove_suffix(1);
  }
  if (line.empty() || (line.back() != '|' && line.back() != '>')) return false;
  return line.size() == 1 || line[line.size() - 2] == ' ';
}

/// Remembers whether the lines seen so far lead into a block scalar, or the document is JSON, where
/// nothing depends on indentation.
class Indentation {
 public:
  /// Where a tab indents this line, counted from 0; npos if none does.
  std::size_t tab(std::string_view line) {
    const std::size_t spaces = line.find_first_not_of(' ');
    const std::size_t content = line.find_first_not_of(" \t\r");
    const bool is_blank = content == std::string_view::npos;
    if (line.substr(0, 3) == "---") {
      at_start_ = true;
      in_json_ = false;
    } else if (at_start_ && !is_blank && line[content] != '#') {
      at_start_ = false;
      in_json_ = line[content] == '{' || line[content] == '[';
    }
    if (in_json_) return std::string_view::npos;
    if (in_block_ && (is_blank || spaces > block_parent_)) return std::string_view::npos;
    if (!is_blank) {
      in_block_ = opens_block_scalar(line);
      block_parent_ = spaces;
    }
    return spaces < line.size() && line[spaces] == '\t' ? spaces : std::string_view::npos;
  }

 private:
  bool at_start_ = true;  // of a document
  bool in_json_ = false;
  bool in_block_ = false;
  std::size_t block_parent_ = 0;
};

std::string hexadecimal(unsigned char byte) {
  char text[5];
  std::snprintf(text, sizeof text, "0x%02x", byte);
  return text;
}

std::optional<WrongText> check_bytes(std::string_view line) {
  std::uint32_t column = 1;
  for (std::size_t at = 0; at < line.size(); ++column) {
    const auto byte = static_cast<unsigned char>(line[at]);
    if (byte >= 0x20 && byte < 0x7f) {
      ++at;
      continue;
    }
    const std::size_t bytes = sequence_bytes(line.substr(at));
    if (bytes == 0)
      return WrongText{0, column, at, "found the byte " + hexadecimal(byte) + ", expected UTF-8"};
    if ((byte < 0x20 && byte != '\t' && byte != '\r') || byte == 0x7f)
      return WrongText{0, column, at, "found the control character " + hexadecimal(byte) + ", expected text"};
    at += bytes;
  }
  return std::nullopt;
}

}  // namespace

std::optional<WrongText> check_text(std::string_view text) {
  Indentation indentation;
  std::uint32_t number = 1;
  for (std::size_t start = 0; start < text.size(); ++number) {
    const std::size_t end = std::min(text.find('\n', start), text.size());
    const std::string_view line = text.substr(start, end - start);
    auto wrong = check_bytes(line);
    if (!wrong)
      if (const auto tab = indentation.tab(line); tab != std::string_view::npos)
        wrong = WrongText{0, static_cast<std::uint32_t>(tab + 1), tab,
                          "found a tab, expected indentation by spaces"};
    if (wrong) {
      wrong->line = number;
      wrong->offset += start;
      return wrong;
    }
    start = end + 1;
  }
  return std::nullopt;
}

}  // namespace bulkhead::policies
