// Moments, as policies name them: a date, a time of day and a zone (RFC 3339), to the second.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace bulkhead::policies {

using Time = std::chrono::sys_seconds;

/// "2026-12-01T08:00:00Z", "2026-12-01T09:00:00+01:00": years 1970 to 9999, the zone is required, no fractions
/// (nothing is enforced to the millisecond) and no leap seconds; capital T and Z.
std::optional<Time> parse_time(std::string_view text);

/// "2026-12-01T08:00:00Z"
std::string format(Time time);

inline Time now() {
  return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
}

}  // namespace bulkhead::policies
