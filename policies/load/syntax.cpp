#include "policies/load/syntax.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string>

namespace bulkhead::policies {
namespace {

bool digit(char c) {
  return c >= '0' && c <= '9';
}
bool digit_or_underscore(char c) {
  return digit(c) || c == '_';
}

template <class Predicate>
bool all(std::string_view text, Predicate predicate) {
  return !text.empty() && std::all_of(text.begin(), text.end(), predicate);
}

template <class Predicate>
std::string_view take_while(std::string_view& text, Predicate predicate) {
  const auto end = std::find_if_not(text.begin(), text.end(), predicate);
  const std::string_view taken = text.substr(0, static_cast<std::size_t>(end - text.begin()));
  text.remove_prefix(taken.size());
  return taken;
}

bool take_one(std::string_view& text, std::string_view any_of) {
  if (text.empty() || any_of.find(text[0]) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

bool based_integer(std::string_view text) {
  if (text.size() < 3 || text[0] != '0') return false;
  const std::string_view digits = text.substr(2);
  switch (text[1]) {
    case 'x':
    case 'X':
      return all(digits,
                 [](char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0 || c == '_'; });
    case 'b':
    case 'B':
      return all(digits, [](char c) { return c == '0' || c == '1' || c == '_'; });
    case 'o':
    case 'O':
      return all(digits, [](char c) { return (c >= '0' && c <= '7') || c == '_'; });
    default:
      return false;
  }
}

/// 190:20:30 and 190:20:30.15 are numbers to YAML 1.1.
bool base_60(std::string_view text) {
  if (take_while(text, digit_or_underscore).empty()) return false;
  bool any = false;
  while (take_one(text, ":")) {
    const std::string_view digits = take_while(text, digit);
    if (digits.empty() || digits.size() > 2 || (digits.size() == 2 && digits[0] > '5')) return false;
    any = true;
  }
  if (take_one(text, ".")) take_while(text, digit_or_underscore);
  return any && text.empty();
}

bool decimal(std::string_view text) {
  const bool whole = !text.empty() && digit(text[0]);
  take_while(text, digit_or_underscore);
  bool fraction = false;
  if (take_one(text, ".")) fraction = !take_while(text, digit_or_underscore).empty();
  if (!whole && !fraction) return false;
  if (take_one(text, "eE")) {
    take_one(text, "+-");
    if (take_while(text, digit).empty()) return false;
  }
  return text.empty();
}

}  // namespace

bool looks_like_number(std::string_view plain) {
  std::string_view text = plain;
  take_one(text, "+-");
  const std::string small = lower(text);
  return small == ".inf" || small == ".nan" || based_integer(text) || decimal(text) ||
         (!text.empty() && digit(text[0]) && base_60(text));
}

bool looks_like_boolean(std::string_view plain) {
  constexpr std::array<std::string_view, 8> kWords = {"true", "false", "yes", "no", "on", "off", "y", "n"};
  return plain.size() <= 5 && std::find(kWords.begin(), kWords.end(), lower(plain)) != kWords.end();
}

bool bare_letter(std::string_view plain) {
  const std::string letter = lower(plain.substr(0, 2));
  return letter == "y" || letter == "n";
}

}  // namespace bulkhead::policies
