// The right spelling that comes nearest to what somebody typed, for messages about the command line.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace bulkhead::ctl {

/// " (did you mean 'X'?)", escaped for a terminal, or nothing if no candidate is near.
std::string did_you_mean(std::string_view typed, const std::vector<std::string>& candidates);

}  // namespace bulkhead::ctl
