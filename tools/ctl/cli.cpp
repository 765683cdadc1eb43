#include "tools/ctl/cli.h"

#include <signal.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <chrono>
#include <sstream>
#include <thread>

#include "controlplane/publish/channel.h"
#include "tools/ctl/command.h"
#include "tools/ctl/spelling.h"

namespace bulkhead::ctl {
namespace po = boost::program_options;
namespace {

constexpr char kDefaultRunDir[] = "/run/bulkhead";

std::string long_name(const Option& option) {
  const std::string name = option.name;
  return name.substr(0, name.find(','));
}

std::string shown_name(const Option& option) {
  const std::string name = option.name;
  const auto comma = name.find(',');
  return comma == std::string::npos ? "--" + name : "-" + name.substr(comma + 1) + ", --" + long_name(option);
}

void declare(const std::vector<Option>& options, po::options_description& description) {
  for (const Option& option : options) {
    if (option.value == nullptr) {
      description.add_options()(option.name, option.meaning);
    } else if (option.repeats) {
      description.add_options()(option.name, po::value<std::vector<std::string>>(), option.meaning);
    } else {
      description.add_options()(option.name, po::value<std::string>(), option.meaning);
    }
  }
}

void print_options(const std::vector<Option>& options, const char* operand, std::ostream& out) {
  for (const Option& option : options) {
    if (operand != nullptr && long_name(option) == operand) continue;
    const std::string name =
        shown_name(option) + (option.value != nullptr ? std::string(" ") + option.value : "");
    constexpr std::size_t kNameColumns = 24;
    out << "  " << name << std::string(name.size() < kNameColumns ? kNameColumns - name.size() : 1, ' ')
        << option.meaning << '\n';
  }
}

/// Those whose name starts with `prefix`.
void print_commands(const std::string& prefix, std::ostream& out) {
  for (const Command& command : commands()) {
    const std::string name = command.name;
    if (!name.starts_with(prefix)) continue;
    constexpr std::size_t kNameColumns = 18;
    out << "  " << name << std::string(name.size() < kNameColumns ? kNameColumns - name.size() : 1, ' ')
        << command.summary << '\n';
  }
}

bool names_group(const std::string& word) {
  return std::any_of(commands().begin(), commands().end(), [&word](const Command& command) {
    return std::string(command.name).starts_with(word + ' ');
  });
}

bool takes_value(const std::string& word, const std::vector<Option>& options) {
  if (word.find('=') != std::string::npos) return false;
  for (const Option& option : options) {
    if (option.value == nullptr) continue;
    const std::string name = option.name;
    if (word == "--" + long_name(option)) return true;
    const auto comma = name.find(',');
    if (comma != std::string::npos && word == "-" + name.substr(comma + 1)) return true;
  }
  return false;
}

/// Takes the words that name a command out of the line. Only common options may stand before them, so that no
/// option's value is ever mistaken for the command.
const Command& take_command(std::vector<std::string>& words) {
  std::vector<std::string> firsts, names;
  for (const Command& command : commands()) {
    names.push_back(command.name);
    firsts.push_back(names.back().substr(0, names.back().find(' ')));
  }
  std::size_t at = 0;
  while (at < words.size() && words[at].starts_with('-'))
    at += takes_value(words[at], common_options()) ? 2 : 1;
  if (at >= words.size()) throw Failure(kExitUsage, "a command is missing; bulkheadctl --help lists them");

  const std::string first = words[at];
  if (std::find(firsts.begin(), firsts.end(), first) == firsts.end()) {
    throw Failure(kExitUsage, "there is no command '" + escape(first) + "'" + did_you_mean(first, firsts) +
                                  "; bulkheadctl --help lists them");
  }
  words.erase(words.begin() + static_cast<std::ptrdiff_t>(at));
  std::vector<std::string> seconds;
  for (const Command& command : commands()) {
    const std::string name = command.name;
    if (name == first) return command;
    if (!name.starts_with(first + ' ')) continue;
    seconds.push_back(name.substr(first.size() + 1));
    if (at < words.size() && words[at] == seconds.back()) {
      words.erase(words.begin() + static_cast<std::ptrdiff_t>(at));
      return command;
    }
  }
  std::string choice;
  for (const std::string& second : seconds) choice += (choice.empty() ? "" : ", ") + second;
  if (at < words.size() && !words[at].starts_with('-')) {
    throw Failure(kExitUsage, "'" + first + "' has no command '" + escape(words[at]) + "'" +
                                  did_you_mean(words[at], seconds) + "; it has: " + choice);
  }
  throw Failure(kExitUsage, "'" + first + "' needs one of: " + choice);
}

Format parse_format(const std::string& text) {
  if (text.empty() || text == "table") return Format::kTable;
  if (text == "json") return Format::kJson;
  if (text == "yaml") return Format::kYaml;
  throw Failure(kExitUsage, "--output: '" + escape(text) + "' is no format" +
                                did_you_mean(text, {"table", "json", "yaml"}) +
                                "; expected table, json or yaml");
}

Invocation parse(const Command& command, const std::vector<std::string>& words) {
  po::options_description description;
  declare(common_options(), description);
  declare(command.options, description);
  po::positional_options_description positional;
  if (command.operand != nullptr) positional.add(command.operand, -1);

  std::vector<std::string> spellings;
  for (const auto* options : {&common_options(), &command.options})
    for (const Option& option : *options)
      if (command.operand == nullptr || long_name(option) != command.operand)
        spellings.push_back("--" + long_name(option));
  const std::string where = std::string(command.name) + ": ";
  const std::string hint = "; bulkheadctl " + std::string(command.name) + " --help explains";

  Invocation invocation;
  try {
    using namespace po::command_line_style;
    po::store(po::command_line_parser(words)
                  .options(description)
                  .positional(positional)
                  .style(unix_style & ~allow_guessing)
                  .run(),
              invocation.options);
    po::notify(invocation.options);
  } catch (const po::unknown_option& unknown) {
    const std::string typed = unknown.get_option_name();
    throw Failure(kExitUsage, where + "there is no option '" + escape(typed) + "'" +
                                  did_you_mean(typed, spellings) + hint);
  } catch (const po::too_many_positional_options_error&) {
    throw Failure(kExitUsage,
                  where + (command.operand == nullptr ? "takes no operands" : "too many operands") + hint);
  } catch (const po::error& wrong) {
    throw Failure(kExitUsage, where + escape(wrong.what()) + hint);
  }
  invocation.run_dir = invocation.has("run-dir") ? invocation.text("run-dir") : kDefaultRunDir;
  invocation.format = parse_format(invocation.text("output"));
  return invocation;
}

void print(const Answer& answer, Format format, std::ostream& out, bool colour) {
  switch (format) {
    case Format::kJson:
      print_json(answer.value, out);
      break;
    case Format::kYaml:
      print_yaml(answer.value, out);
      break;
    case Format::kTable: {
      Terminal terminal(out, colour);
      answer.say(answer.value, terminal);
      break;
    }
  }
  out.flush();
}

/// --watch: the same answer again and again, until the reader goes or the user interrupts.
int watch(const Command& command, Invocation invocation, std::ostream& out, bool colour) {
  const std::string text = invocation.text("watch");
  double seconds = 0;
  try {
    std::size_t used = 0;
    seconds = std::stod(text, &used);
    if (used != text.size()) seconds = 0;
  } catch (const std::exception&) {
  }
  if (!(seconds >= 0.1 && seconds <= 86400))
    throw Failure(kExitUsage,
                  "--watch: '" + escape(text) + "' is no interval; expected seconds, 0.1 to 86400");
  for (bool first = true; out; first = false) {
    const Answer answer = command.run(invocation);
    if (invocation.format == Format::kTable && colour) out << "\x1b[H\x1b[2J";
    if (invocation.format == Format::kYaml && !first) out << "---\n";
    print(answer, invocation.format, out, colour);
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  }
  return kExitGood;
}

int dispatch(std::vector<std::string> words, std::ostream& out, std::ostream& error, bool colour) {
  const auto asks_help = [](const std::string& word) { return word == "--help" || word == "-h"; };
  if (!words.empty() && words[0] == "--version") {
    out << "bulkheadctl " << BULKHEAD_VERSION << '\n';
    return kExitGood;
  }
  if (words.size() == 2 && asks_help(words[1]) && names_group(words[0])) std::swap(words[0], words[1]);
  if (words.empty() || asks_help(words[0]) || words[0] == "help") {
    std::vector<std::string> rest(words.begin() + (words.empty() ? 0 : 1), words.end());
    if (rest.empty()) {
      out << overview();
      return words.empty() ? kExitUsage : kExitGood;
    }
    if (rest.size() == 1 && names_group(rest[0])) {
      print_commands(rest[0] + ' ', out);
      out << "\n'bulkheadctl " << rest[0] << " COMMAND --help' explains a command, with examples.\n";
      return kExitGood;
    }
    out << help(take_command(rest));
    return kExitGood;
  }
  const Command& command = take_command(words);
  if (std::any_of(words.begin(), std::find(words.begin(), words.end(), "--"), asks_help)) {
    out << help(command);
    return kExitGood;
  }
  Invocation invocation = parse(command, words);
  invocation.out = &out;
  invocation.error = &error;
  if (invocation.has("watch")) return watch(command, invocation, out, colour);
  const Answer answer = command.run(invocation);
  print(answer, invocation.format, out, colour);
  return answer.exit;
}

}  // namespace

const std::vector<Option>& common_options() {
  static const std::vector<Option> options = {
      {"output,o", "FORMAT", "table (for people), json or yaml", false, Completes::kNothing},
      {"run-dir", "DIR", "where the processes' sockets are (default /run/bulkhead)", false,
       Completes::kDirectories},
      {"help,h", nullptr, "this help", false, Completes::kNothing},
  };
  return options;
}

const std::vector<Command>& commands() {
  static const std::vector<Command> table = [] {
    std::vector<Command> rows;
    const auto add = [&rows](std::vector<Command> more) {
      std::move(more.begin(), more.end(), std::back_inserter(rows));
    };
    add({status_command()});
    add(endpoint_commands());
    add({flows_command(), counters_command(), verdict_command()});

    add(policy_commands());
    add({policy_explain_command(), policy_diff_command(), policy_prove_command(), policy_matrix_command(),
         policy_lint_command(), policy_import_command()});
    add(quarantine_commands());
    add(image_commands());
    add({completion_command()});
    return rows;
  }();
  return table;
}

std::string overview() {
  std::ostringstream out;
  out << "bulkheadctl asks a Bulkhead node what it enforces, and why.\n\n"
         "usage: bulkheadctl COMMAND [options]\n\ncommands:\n";
  print_commands("", out);
  out << "\noptions of every command:\n";
  print_options(common_options(), nullptr, out);
  out << "\nexit codes: 0 good (verdict: allowed), 1 refused or failed (verdict: denied), 2 usage,\n"
         "            3 no answer (the process that knows is not running)\n"
         "\n'bulkheadctl COMMAND --help' explains a command, with examples.\n";
  return out.str();
}

std::string help(const Command& command) {
  std::ostringstream out;
  out << "usage: bulkheadctl " << command.name << (command.options.empty() ? "" : " [options]")
      << (*command.operands != '\0' ? " " : "") << command.operands << "\n\n"
      << command.details << "\n\noptions:\n";
  print_options(command.options, command.operand, out);
  print_options(common_options(), nullptr, out);
  out << "\nexamples:\n" << command.examples << '\n';
  return out.str();
}

int run(const std::vector<std::string>& words, std::ostream& out, std::ostream& error, bool colour) {
  try {
    const int exit = dispatch(words, out, error, colour);
    if (out.flush()) return exit;
    error << "bulkheadctl: the answer cannot be written\n";
    return exit == kExitGood ? kExitRefused : exit;
  } catch (const BadFiles& failure) {
    error << failure.what() << '\n';
    return failure.exit;
  } catch (const Failure& failure) {
    error << "bulkheadctl: " << failure.what() << '\n';
    return failure.exit;
  } catch (const publish::ChannelError& failure) {
    error << "bulkheadctl: " << escape(failure.what()) << '\n';
    return kExitNoAnswer;
  } catch (const std::exception& failure) {
    error << "bulkheadctl: " << escape(failure.what()) << '\n';
    return kExitRefused;
  }
}

}  // namespace bulkhead::ctl
