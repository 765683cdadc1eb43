// Sets of ports, for kinds that speak of ports that are not meant.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace bulkhead::policies {

class PortRanges {
 public:
  using Range = std::pair<std::uint16_t, std::uint16_t>;  // inclusive

  static PortRanges all();
  static PortRanges of(const std::vector<std::uint16_t>& ports);

  PortRanges complement() const;
  PortRanges united(const PortRanges& other) const;
  PortRanges intersected(const PortRanges& other) const;

  /// Ascending; no two touch.
  const std::vector<Range>& ranges() const { return ranges_; }

 private:
  explicit PortRanges(std::vector<Range> ranges);  // in any order, overlapping or not

  std::vector<Range> ranges_;
};

}  // namespace bulkhead::policies
