#include <algorithm>

#include "policies/load/fields.h"

namespace bulkhead::policies {
namespace {

constexpr std::size_t kLabelBytesMax = 63;
constexpr std::size_t kSubdomainBytesMax = 253;
constexpr std::size_t kPortNameBytesMax = 15;

bool lower_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}
bool letter_or_digit(char c) {
  return lower_or_digit(c) || (c >= 'A' && c <= 'Z');
}

bool is_qualified_part(std::string_view text) {
  return !text.empty() && text.size() <= kLabelBytesMax && letter_or_digit(text.front()) &&
         letter_or_digit(text.back()) && std::all_of(text.begin(), text.end(), [](char c) {
           return letter_or_digit(c) || c == '-' || c == '_' || c == '.';
         });
}

bool is_dns_label(std::string_view text, std::size_t bytes_max = kLabelBytesMax) {
  return !text.empty() && text.size() <= bytes_max && lower_or_digit(text.front()) &&
         lower_or_digit(text.back()) &&
         std::all_of(text.begin(), text.end(), [](char c) { return lower_or_digit(c) || c == '-'; });
}

/// A label inside a subdomain is bounded by the whole only, as Kubernetes has it.
bool is_dns_subdomain(std::string_view text) {
  if (text.empty() || text.size() > kSubdomainBytesMax) return false;
  while (true) {
    const std::size_t dot = text.find('.');
    if (!is_dns_label(text.substr(0, dot), kSubdomainBytesMax)) return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

}  // namespace

std::optional<std::string> wrong_label_key(std::string_view text) {
  const std::size_t slash = text.find('/');
  const bool prefixed = slash != std::string_view::npos;
  if ((!prefixed || is_dns_subdomain(text.substr(0, slash))) &&
      is_qualified_part(prefixed ? text.substr(slash + 1) : text))
    return std::nullopt;
  return "a label key: 1 to 63 letters, digits, '-', '_' or '.', with a letter or digit at both ends, and "
         "before "
         "it optionally a DNS name and '/'";
}

std::optional<std::string> wrong_label_value(std::string_view text) {
  if (text.empty() || is_qualified_part(text)) return std::nullopt;
  return "a label value: at most 63 letters, digits, '-', '_' or '.', with a letter or digit at both ends";
}

std::optional<std::string> wrong_dns_label(std::string_view text) {
  if (is_dns_label(text)) return std::nullopt;
  return "a DNS label: 1 to 63 lower-case letters, digits or '-', with a letter or digit at both ends";
}

std::optional<std::string> wrong_dns_subdomain(std::string_view text) {
  if (is_dns_subdomain(text)) return std::nullopt;
  return "a DNS name: at most 253 lower-case letters, digits, '-' or '.', with a letter or digit at both "
         "ends of "
         "each part";
}

std::optional<std::string> wrong_port_name(std::string_view text) {
  if (is_dns_label(text, kPortNameBytesMax) && text.find("--") == std::string_view::npos &&
      std::any_of(text.begin(), text.end(), [](char c) { return c >= 'a' && c <= 'z'; }))
    return std::nullopt;
  return "a port name: 1 to 15 lower-case letters, digits or single '-', at least one letter, with a letter "
         "or digit "
         "at both ends";
}

}  // namespace bulkhead::policies
