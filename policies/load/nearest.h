// The nearest right spelling of a wrong word.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace bulkhead::policies {

/// The candidate with the smallest edit distance (insert, delete, replace, swap neighbours; another case counts
/// half), if it is near enough to be a slip of the finger: a third of the word's length, or the same but for
/// case. The first of equals wins. Words of over 64 bytes have none.
std::optional<std::string_view> nearest(std::string_view word, std::span<const std::string_view> candidates);

/// "; did you mean "Z"?", or nothing.
std::string did_you_mean(std::string_view word, std::span<const std::string_view> candidates);

/// "a", "a or b", "a, b or c".
std::string one_of(std::span<const std::string_view> words);

/// In double quotes, control and non-ASCII bytes escaped, shortened to 60 bytes. An object, not a function: for a
/// std::string, argument-dependent lookup would prefer std::quoted wherever <iomanip> is included.
struct Quoted {
  std::string operator()(std::string_view text) const;
};
inline constexpr Quoted quoted;

}  // namespace bulkhead::policies
