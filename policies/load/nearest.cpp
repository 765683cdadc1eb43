#include "policies/load/nearest.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <cstdlib>

namespace bulkhead::policies {
namespace {

constexpr std::size_t kWordBytesMax = 64;
constexpr int kEdit = 2;
constexpr int kCaseEdit = 1;  // the same letter in another case

int replace_cost(char a, char b) {
  if (a == b) return 0;
  const auto lower = [](char c) { return std::tolower(static_cast<unsigned char>(c)); };
  return lower(a) == lower(b) ? kCaseEdit : kEdit;
}

/// Optimal string alignment: three rows suffice, because a swap looks two rows back.
int distance(std::string_view a, std::string_view b) {
  std::array<std::array<int, kWordBytesMax + 1>, 3> rows{};
  for (std::size_t j = 0; j <= b.size(); ++j) rows[0][j] = static_cast<int>(j) * kEdit;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    auto& row = rows[i % 3];
    const auto& above = rows[(i + 2) % 3];
    const auto& two_above = rows[(i + 1) % 3];
    row[0] = static_cast<int>(i) * kEdit;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] =
          std::min({above[j] + kEdit, row[j - 1] + kEdit, above[j - 1] + replace_cost(a[i - 1], b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], two_above[j - 2] + kEdit);
    }
  }
  return rows[a.size() % 3][b.size()];
}

bool equal_but_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return replace_cost(x, y) <= kCaseEdit; });
}

}  // namespace

std::optional<std::string_view> nearest(std::string_view word, std::span<const std::string_view> candidates) {
  if (word.empty() || word.size() > kWordBytesMax) return std::nullopt;
  const int size = static_cast<int>(word.size());
  int best = std::min(std::max(kEdit, kEdit * size / 3), kEdit * size - 1) + 1;
  std::optional<std::string_view> found;
  for (const auto candidate : candidates) {
    if (candidate.empty() || candidate.size() > kWordBytesMax) continue;
    if (kEdit * std::abs(size - static_cast<int>(candidate.size())) >= best) continue;
    const int cost = equal_but_case(word, candidate) ? kCaseEdit : distance(word, candidate);
    if (cost < best) {
      best = cost;
      found = candidate;
    }
  }
  return found;
}

std::string did_you_mean(std::string_view word, std::span<const std::string_view> candidates) {
  const auto found = nearest(word, candidates);
  return found ? "; did you mean \"" + std::string(*found) + "\"?" : std::string();
}

std::string one_of(std::span<const std::string_view> words) {
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i > 0) text += i + 1 == words.size() ? " or " : ", ";
    text += words[i];
  }
  return text;
}

std::string Quoted::operator()(std::string_view text) const {
  constexpr std::size_t kShown = 60;
  std::string result = "\"";
  for (const char c : text.substr(0, kShown)) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (byte < 0x20 || byte >= 0x7f) {
      char escape[5];
      std::snprintf(escape, sizeof escape, "\\x%02x", byte);
      result += escape;
    } else {
      result += c;
    }
  }
  return result + (text.size() > kShown ? "...\"" : "\"");
}

}  // namespace bulkhead::policies
