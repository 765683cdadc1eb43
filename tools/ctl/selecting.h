// The policies that select an end, in the order in which they are asked.
#pragma once

#include <cstdint>

#include "dataplane/image/query.h"
#include "tools/ctl/print.h"

namespace bulkhead::ctl {

/// "NetworkPolicy shop/web".
std::string policy_name(const image::View& view, const image::Policy& policy);

/// [{"policy", "tier", "priority", "isolates", "rules", "answer", "file", "line"}]: every policy that isolates the subject
/// class or has rules for it in this direction, platform tier by priority first, then application, then baseline.
/// "answer" is "decides" or "passes" for the policy of the deciding rule and those of rules that passed the packet on,
/// else null. Policies that were not asked, because one before them had decided, are named all the same.
Value selecting_policies(const image::View& view, std::uint32_t direction, std::uint32_t subject,
                         std::uint32_t deciding_rule, const image::Passed& passed);

}  // namespace bulkhead::ctl
