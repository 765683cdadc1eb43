#include "tools/ctl/spelling.h"

#include "policies/load/nearest.h"
#include "tools/ctl/print.h"

namespace bulkhead::ctl {

std::string did_you_mean(std::string_view typed, const std::vector<std::string>& candidates) {
  const std::vector<std::string_view> words(candidates.begin(), candidates.end());
  const auto nearest = policies::nearest(typed, words);
  return nearest ? " (did you mean '" + escape(*nearest) + "'?)" : "";
}

}  // namespace bulkhead::ctl
