// What libyaml found wrong, in words for people.
#pragma once

#include <yaml.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace bulkhead::policies {

struct Problem {
  std::uint32_t line = 0;    // from 1
  std::uint32_t column = 0;  // from 1
  std::size_t offset = 0;    // that place, in bytes
  std::string message;
};

/// `parser` has failed on `text`.
Problem problem_of(const yaml_parser_t& parser, std::string_view text);

}  // namespace bulkhead::policies
