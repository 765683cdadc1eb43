// `policy validate` and `policy test`: policies before anybody enforces them.
#include <algorithm>
#include <filesystem>

#include "policies/load/load.h"
#include "tools/ctl/command.h"

namespace bulkhead::ctl {
namespace {

namespace fs = std::filesystem;

/// A directory stands for the files in it that the control plane would read: *.yaml and *.yml, not hidden.
std::vector<std::string> expand(const std::vector<std::string>& operands) {
  std::vector<std::string> paths;
  for (const std::string& operand : operands) {
    std::error_code failed;
    if (!fs::is_directory(operand, failed)) {
      paths.push_back(operand);
      continue;
    }
    std::vector<std::string> found;
    for (fs::directory_iterator entry(operand, failed), end; !failed && entry != end;
         entry.increment(failed)) {
      const std::string name = entry->path().filename().string();
      const std::string extension = entry->path().extension().string();
      if (name.front() != '.' && (extension == ".yaml" || extension == ".yml"))
        found.push_back(entry->path().string());
    }
    if (failed) throw Failure(kExitRefused, escape(operand) + ": " + failed.message());
    if (found.empty())
      throw Failure(kExitRefused, escape(operand) + ": no *.yaml or *.yml in this directory");
    std::sort(found.begin(), found.end());
    paths.insert(paths.end(), found.begin(), found.end());
  }
  return paths;
}

Answer validate(const Invocation& invocation) {
  const auto operands = invocation.texts("file");
  if (operands.empty()) throw Failure(kExitUsage, "policy validate: a FILE or DIR is missing");
  const std::vector<std::string> paths = expand(operands);
  const policies::Loaded loaded = policies::load_paths(paths);

  Value errors = Value::array();
  for (const policies::Error& error : loaded.errors)
    errors.push_back({{"file", error.origin.file},
                      {"line", error.origin.line},
                      {"column", error.origin.column},
                      {"path", error.path},
                      {"message", error.message},
                      {"text", policies::format(error)}});
  std::size_t rules = 0;
  for (const policies::Policy& policy : loaded.policies.policies) {
    for (const policies::Clause& clause : policy.clauses) rules += clause.rules.size();
  }
  return {{{"valid", loaded.ok()},
           {"files", paths.size()},
           {"objects", loaded.policies.policies.size()},
           {"rules", rules},
           {"errors", std::move(errors)}},
          [](const Value& value, Terminal& terminal) {
            for (const Value& error : value["errors"])
              terminal.out() << terminal.paint(Colour::kBad, escape(plain(error["text"]))) << '\n';
            if (value["valid"] == true)
              terminal.out() << terminal.paint(Colour::kGood, "valid") << ": " << plain(value["objects"])
                             << " objects with " << plain(value["rules"]) << " rules in "
                             << plain(value["files"]) << " files\n";
            else
              terminal.out() << value["errors"].size() << " errors: nothing of this would be enforced\n";
          },
          loaded.ok() ? kExitGood : kExitRefused};
}

}  // namespace

std::vector<Command> policy_commands() {
  return {
      {"policy validate",
       "FILE|DIR...",
       "read policies as the control plane would, and say what is wrong",
       "Reads all files as one set, as the control plane reads its policy directory: unknown fields,\n"
       "duplicate objects and doubtful words are errors, and one error refuses the whole set. Each error\n"
       "is a line FILE:LINE:COLUMN: FIELD: what was found, what was expected. A directory stands for its\n"
       "*.yaml and *.yml. Exit code 1 if anything is wrong. Asks no process.",
       "  bulkheadctl policy validate /etc/bulkhead/policies\n"
       "  bulkheadctl policy validate shop.yaml -o json | jq '.errors[].text'",
       {{"file", "FILE", "a policy file or directory", true, Completes::kFiles}},
       "file",
       validate},
  };
}

}  // namespace bulkhead::ctl
