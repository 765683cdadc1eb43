#include "policies/load/port_ranges.h"

#include <algorithm>

namespace bulkhead::policies {

PortRanges::PortRanges(std::vector<Range> ranges) {
  std::sort(ranges.begin(), ranges.end());
  for (const auto& [first, last] : ranges) {
    if (ranges_.empty() || std::uint32_t{ranges_.back().second} + 1 < first)
      ranges_.emplace_back(first, last);
    else
      ranges_.back().second = std::max(ranges_.back().second, last);
  }
}

PortRanges PortRanges::all() {
  return PortRanges({{0, 0xffff}});
}

PortRanges PortRanges::of(const std::vector<std::uint16_t>& ports) {
  std::vector<Range> ranges;
  for (const std::uint16_t port : ports) ranges.emplace_back(port, port);
  return PortRanges(std::move(ranges));
}

PortRanges PortRanges::complement() const {
  std::vector<Range> gaps;
  std::uint32_t next = 0;
  for (const auto& [first, last] : ranges_) {
    if (next < first)
      gaps.emplace_back(static_cast<std::uint16_t>(next), static_cast<std::uint16_t>(first - 1));
    next = std::uint32_t{last} + 1;
  }
  if (next <= 0xffff) gaps.emplace_back(static_cast<std::uint16_t>(next), std::uint16_t{0xffff});
  return PortRanges(std::move(gaps));
}

PortRanges PortRanges::united(const PortRanges& other) const {
  std::vector<Range> both = ranges_;
  both.insert(both.end(), other.ranges_.begin(), other.ranges_.end());
  return PortRanges(std::move(both));
}

PortRanges PortRanges::intersected(const PortRanges& other) const {
  return complement().united(other.complement()).complement();
}

}  // namespace bulkhead::policies
