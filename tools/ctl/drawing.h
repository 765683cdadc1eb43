// A matrix as a picture: DOT for graphviz, or SVG without any other program.
//
// Both draw the value that `policy matrix` prints as JSON. Names come from outside: they are escaped for the terminal's
// sake and then for the format's.
#pragma once

#include <string>

#include "tools/ctl/print.h"

namespace bulkhead::ctl {

/// A directed graph: a node for each actor, an edge where anything passes; dashed where only some addresses may.
std::string dot_of(const Value& matrix);

/// A grid: senders down, receivers across; a cell's colour says all, some or nothing, its <title> says which ports.
std::string svg_of(const Value& matrix);

}  // namespace bulkhead::ctl
