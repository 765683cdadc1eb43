// Equal rows and equal columns of a matrix, stored once.
#pragma once

#include <cstdint>
#include <vector>

#include "controlplane/compile/classes.h"
#include "controlplane/compile/rulesets.h"

namespace bulkhead::compile {

/// `full` is [subject][peer] of the direction's classes. Rows merge only where the subjects' clauses and
/// posture are the same too, because those are what an explanation tells. At least one row and one column
/// remain.
Matrix merge(const ClassesDirection& classes, std::vector<std::uint32_t> full);

}  // namespace bulkhead::compile
