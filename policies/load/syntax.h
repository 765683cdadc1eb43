// What plain scalars look like to the various YAML readers in the world.
#pragma once

#include <string_view>

namespace bulkhead::policies {

/// Read as a number by YAML 1.1 or 1.2: decimal, octal, hexadecimal, binary, base 60, floats, .inf, .nan.
bool looks_like_number(std::string_view plain);

/// Read as a boolean by YAML 1.1 or 1.2: true, false, yes, no, on, off, y, n in any of their cases.
bool looks_like_boolean(std::string_view plain);

/// Of these, those that may be a text without quotes: y and n. Common writers of YAML leave them bare (a
/// namespace y), and where a text is wanted, other readers take them for that or refuse them.
bool bare_letter(std::string_view plain);

}  // namespace bulkhead::policies
