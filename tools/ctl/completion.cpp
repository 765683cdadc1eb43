// `completion bash`: a completion script written from the table of commands, so that it cannot fall behind it.
#include <algorithm>
#include <map>
#include <sstream>

#include "tools/ctl/command.h"

namespace bulkhead::ctl {
namespace {

std::string option_words(const std::vector<Option>& options, const char* operand) {
  std::string words;
  for (const Option& option : options) {
    const std::string name = option.name;
    const auto comma = name.find(',');
    if (operand != nullptr && name == operand) continue;
    words += " --" + name.substr(0, comma);
    if (comma != std::string::npos) words += " -" + name.substr(comma + 1);
  }
  return words;
}

/// Patterns of a shell `case` for the options whose values complete in one way.
std::string patterns(const std::vector<Option>& options, Completes completes) {
  std::string found;
  for (const Option& option : options) {
    if (option.completes != completes || option.value == nullptr) continue;
    const std::string name = option.name;
    const auto comma = name.find(',');
    found += (found.empty() ? "--" : "|--") + name.substr(0, comma);
    if (comma != std::string::npos) found += "|-" + name.substr(comma + 1);
  }
  return found;
}

/// Its operands are endpoints, not files.
bool names_endpoints(const Command& command) {
  return std::any_of(command.options.begin(), command.options.end(), [&](const Option& option) {
    return option.name == std::string_view(command.operand) && option.completes == Completes::kEndpoints;
  });
}

void value_case(std::ostream& out, const char* indent, const std::vector<Option>& options) {
  const std::pair<Completes, const char*> kinds[] = {
      {Completes::kFiles, "COMPREPLY=($(compgen -f -- \"$cur\"))"},
      {Completes::kDirectories, "COMPREPLY=($(compgen -d -- \"$cur\"))"},
      {Completes::kEndpoints, "_bulkheadctl_endpoints"}};
  for (const auto& [kind, action] : kinds)
    if (const std::string found = patterns(options, kind); !found.empty())
      out << indent << found << ") " << action << "; return ;;\n";
}

std::string script() {
  std::ostringstream out;
  std::map<std::string, std::string> seconds;
  std::string firsts;
  for (const Command& command : commands()) {
    const std::string name = command.name;
    const auto space = name.find(' ');
    const std::string first = name.substr(0, space);
    if (!seconds.contains(first)) firsts += (firsts.empty() ? "" : " ") + first;
    seconds[first] +=
        space == std::string::npos ? "" : (seconds[first].empty() ? "" : " ") + name.substr(space + 1);
  }
  out << "# bash completion for bulkheadctl, written by `bulkheadctl completion bash`.\n"
         "_bulkheadctl_endpoints() {\n"
         "  local names\n"
         "  names=$(bulkheadctl endpoints -o json 2>/dev/null | sed -n 's/^ *\"endpoint\": "
         "\"\\([[:alnum:]/._-]*\\)\",*$/\\1/p')\n"
         "  COMPREPLY=($(compgen -W \"$names\" -- \"$cur\"))\n"
         "}\n\n"
         "_bulkheadctl() {\n"
         "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= second= word "
         "skip=\n"
         "  COMPREPLY=()\n"
         "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
         "    if [[ -n $skip ]]; then skip=; continue; fi\n"
         "    case $word in\n"
         "      -o|--output|--run-dir) skip=1 ;;\n"
         "      -*) ;;\n"
         "      *) if [[ -z $command ]]; then command=$word; elif [[ -z $second ]]; then second=$word; fi "
         ";;\n"
         "    esac\n"
         "  done\n"
         "  case $prev in\n"
         "    -o|--output) COMPREPLY=($(compgen -W 'table json yaml' -- \"$cur\")); return ;;\n";
  value_case(out, "    ", common_options());
  out << "  esac\n"
         "  case $command in\n"
         "    '') COMPREPLY=($(compgen -W '"
      << firsts << " --help --version" << option_words(common_options(), nullptr)
      << "' -- \"$cur\")); return ;;\n";
  for (const auto& [first, choice] : seconds)
    if (!choice.empty())
      out << "    " << first << ") [[ -z $second ]] && { COMPREPLY=($(compgen -W '" << choice
          << "' -- \"$cur\")); return; }; command=\"$command $second\" ;;\n";
  out << "  esac\n"
         "  case $command in\n";
  for (const Command& command : commands()) {
    out << "    '" << command.name << "')\n      case $prev in\n";
    value_case(out, "        ", command.options);
    out << "        *) ;;\n      esac\n";
    const std::string words =
        option_words(command.options, command.operand) + option_words(common_options(), nullptr);
    out << "      COMPREPLY=($(compgen -W '" << words.substr(1) << "' -- \"$cur\"))";
    if (command.operand != nullptr)
      out << "\n      [[ $cur == -* ]] || "
          << (names_endpoints(command) ? "_bulkheadctl_endpoints" : "COMPREPLY=($(compgen -f -- \"$cur\"))");
    out << " ;;\n";
  }
  out << "  esac\n"
         "}\n"
         "complete -o filenames -F _bulkheadctl bulkheadctl\n";
  return out.str();
}

Answer completion(const Invocation&) {
  return {{{"shell", "bash"}, {"script", script()}}, [](const Value& value, Terminal& terminal) {
            terminal.out() << value["script"].get<std::string>();
          }};
}

}  // namespace

Command completion_command() {
  return {"completion bash",
          "",
          "a completion script for the shell",
          "Prints a script that teaches bash the commands, their options, and the names of endpoints.",
          "  source <(bulkheadctl completion bash)",
          {},
          nullptr,
          completion};
}

}  // namespace bulkhead::ctl
