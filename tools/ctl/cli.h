// From a command line to an exit code.
//
//   bulkheadctl [common options] COMMAND [SUBCOMMAND] [options] [operands]
//
// Options and operands may come in any order. What cannot be understood ends with exit code 2 and one
// sentence that names the nearest spelling; nothing was asked or written then.
#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace bulkhead::ctl {

struct Command;

/// Runs one command line (without the program's name). `colour` says whether `out` understands it. Never
/// throws.
int run(const std::vector<std::string>& words, std::ostream& out, std::ostream& error, bool colour);

/// --help of the program, and of one command.
std::string overview();
std::string help(const Command& command);

}  // namespace bulkhead::ctl
