// What a command of bulkheadctl is: a row of a table that the parser, --help, the completion script and the
// manual all read.
//
// A command turns an Invocation into an Answer: one JSON value and a way to say it to a person. The three
// printers (print.h) work from that one value, so `-o table`, `-o json` and `-o yaml` never disagree.
#pragma once

#include <boost/program_options.hpp>
#include <functional>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "tools/ctl/print.h"

namespace bulkhead::ctl {

/// Exit codes, the same for every command (docs/man/bulkheadctl.1).
enum Exit : int {
  kExitGood = 0,      // done; verdict: allowed
  kExitRefused = 1,   // refused or failed; verdict: denied
  kExitUsage = 2,     // the command line cannot be understood
  kExitNoAnswer = 3,  // nobody could be asked: the process is not running, or speaks another version
};

/// Ends a command: the sentence goes to standard error, the code to the shell.
struct Failure : std::runtime_error {
  Failure(Exit code, const std::string& sentence) : std::runtime_error(sentence), exit(code) {}
  Exit exit;
};

/// The same, of files: each line begins with its place, FILE:LINE:COLUMN, and is printed as it is.
struct BadFiles : Failure {
  explicit BadFiles(const std::string& lines) : Failure(kExitRefused, lines) {}
};

struct Answer {
  Value value;
  /// Writes `value` for a person. Reads nothing but the value and the terminal's abilities.
  std::function<void(const Value&, Terminal&)> say;
  int exit = kExitGood;
};

/// One parsed command line.
struct Invocation {
  boost::program_options::variables_map options;
  std::string run_dir;
  Format format = Format::kTable;
  std::ostream* out = nullptr;    // for answers too large to hold: what was printed need not be answered
  std::ostream* error = nullptr;  // for what is said beside an answer

  bool has(const char* option) const { return options.count(option) != 0; }
  std::string text(const char* option) const { return has(option) ? options[option].as<std::string>() : ""; }
  std::vector<std::string> texts(const char* option) const {
    return has(option) ? options[option].as<std::vector<std::string>>() : std::vector<std::string>{};
  }
};

/// Values that the shell can complete for an option or an operand.
enum class Completes { kNothing, kFiles, kDirectories, kEndpoints };

struct Option {
  const char* name;      // "namespace,n": boost's spelling; an operand's name has no comma
  const char* value;     // what to call its value in --help; nullptr: a switch
  const char* meaning;   // one line
  bool repeats = false;  // may be given more than once
  Completes completes = Completes::kNothing;
};

struct Command {
  const char* name;      // "policy validate"
  const char* operands;  // "FILE|DIR..."; empty: none
  const char* summary;   // one line
  const char* details;   // a paragraph or two
  const char* examples;  // lines, each a command line and what it does
  std::vector<Option> options;
  const char* operand = nullptr;  // the option that collects operands
  std::function<Answer(const Invocation&)> run;
};

/// All of them, in the order --help lists them.
const std::vector<Command>& commands();

/// Options every command takes.
const std::vector<Option>& common_options();

// Rows of the table, each in the file of its name.
Command status_command();
std::vector<Command> endpoint_commands();
Command flows_command();
Command counters_command();

std::vector<Command> policy_commands();
Command policy_diff_command();
Command policy_prove_command();
Command policy_explain_command();
Command policy_matrix_command();
Command policy_lint_command();
Command policy_import_command();
Command verdict_command();
std::vector<Command> quarantine_commands();
std::vector<Command> image_commands();
Command completion_command();

}  // namespace bulkhead::ctl
