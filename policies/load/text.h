// The bytes of a file before they are taken for YAML.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace bulkhead::policies {

struct WrongText {
  std::uint32_t line = 0, column = 0;  // from 1, in characters
  std::size_t offset = 0;              // in bytes
  std::string message;
};

/// UTF-8 (RFC 3629), no control characters besides tab and line breaks, no tab in indentation outside of
/// block scalars and JSON. The first thing that is wrong, if any is.
std::optional<WrongText> check_text(std::string_view text);

}  // namespace bulkhead::policies
