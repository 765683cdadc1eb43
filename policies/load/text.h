// The bytes of a file before they are taken for YAML.
#pragma once

#include <string_view>

#include "policies/load/error.h"

namespace bulkhead::policies {

/// UTF-8 (RFC 3629), no control characters besides tab and line breaks, no tab in indentation outside of
/// block scalars. Reports the first thing that is wrong; true if nothing is.
bool check_text(std::string_view text, Report& report);

}  // namespace bulkhead::policies
