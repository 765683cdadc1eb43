// `policy validate` and `policy test`: policies before anybody enforces them.
#include <iostream>
#include <sstream>

#include "policies/load/load.h"
#include "tools/ctl/candidate.h"
#include "tools/ctl/invariants.h"
#include "tools/ctl/policy_test.h"

namespace bulkhead::ctl {
namespace {

Value error_value(const policies::Error& error) {
  return {{"file", error.origin.file}, {"line", error.origin.line}, {"column", error.origin.column},
          {"path", error.path},        {"message", error.message},  {"text", policies::format(error)}};
}

/// What a person is told beside the answer, on standard error, as compilers do.
void say_beside(const Value& errors, const Value& warnings, std::ostream& error_out) {
  for (const Value& error : errors) error_out << escape(plain(error["text"])) << '\n';
  for (const Value& warning : warnings) error_out << "warning: " << escape(plain(warning["text"])) << '\n';
  if (!errors.empty())
    error_out << errors.size() << (errors.size() == 1 ? " error" : " errors")
              << ": nothing of this would be enforced\n";
}

Answer validate(const Invocation& invocation) {
  const auto operands = invocation.texts("file");
  if (operands.empty()) throw Failure(kExitUsage, "policy validate: a FILE or DIR is missing");
  const policies::Time at = at_of(invocation);
  posture_of(invocation);  // a wrong word is one without a cluster, too
  policies::LoadOptions options;
  options.mesh = mesh_of(invocation);
  const std::vector<std::string> paths = expand(operands);
  const policies::Loaded loaded = policies::load_paths(paths, options);

  Value errors = Value::array();
  for (const policies::Error& error : loaded.errors) errors.push_back(error_value(error));
  Value warnings = Value::array();
  for (const policies::Error& warning : loaded.warnings) warnings.push_back(error_value(warning));
  for (const policies::Error& warning : expiry_warnings(loaded.policies, at))
    warnings.push_back(error_value(warning));
  std::size_t rules = 0;
  for (const policies::Policy& policy : loaded.policies.policies) {
    for (const policies::Clause& clause : policy.clauses) rules += clause.rules.size();
  }
  std::size_t demands = 0;
  for (const policies::Invariant& invariant : loaded.policies.invariants) demands += invariant.demands.size();
  Value invariants = nullptr;
  if (loaded.ok() && invocation.has("cluster")) {
    const source::Manifests cluster = read_manifests(invocation.texts("cluster"), mesh_of(invocation));
    invariants =
        invariants_value(compile_candidate(invocation, cluster.cluster, loaded.policies, operands[0]).proof);
  }
  if (invocation.format == Format::kTable) say_beside(errors, warnings, *invocation.error);
  const bool holds = invariants.is_null() || (invariants["broken"].empty() && invariants["refusal"] == "");
  return {{{"valid", loaded.ok() && holds},
           {"files", paths.size()},
           {"demands", demands},
           {"invariants", std::move(invariants)},
           {"objects", loaded.policies.policies.size() + loaded.policies.invariants.size() +
                           loaded.policies.groups.size()},
           {"rules", rules},
           {"errors", std::move(errors)},
           {"warnings", std::move(warnings)}},
          [](const Value& value, Terminal& terminal) {
            const bool proven = !value["invariants"].is_null();
            if (proven) say_broken(value["invariants"], terminal);
            if (value["valid"] == true)
              terminal.out() << terminal.paint(Colour::kGood, "valid") << ": " << plain(value["objects"])
                             << (value["objects"] == 1 ? " object" : " objects") << " with "
                             << plain(value["rules"]) << (value["rules"] == 1 ? " rule" : " rules") << " in "
                             << plain(value["files"]) << (value["files"] == 1 ? " file" : " files")
                             << (value["demands"] == 0 ? "\n"
                                 : proven              ? "; every invariant holds\n"
                                          : "; invariants are proven where --cluster is given\n");
            else if (value["errors"].empty())
              terminal.out() << "nothing of this would be enforced\n";
          },
          loaded.ok() && holds ? kExitGood : kExitRefused};
}

/// One line of CSV (RFC 4180, no line breaks inside a field).
std::vector<std::string> fields_of(const std::string& line) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"') {
      if (quoted && i + 1 < line.size() && line[i + 1] == '"')
        fields.back() += line[++i];
      else
        quoted = !quoted;
    } else if (line[i] == ',' && !quoted) {
      fields.emplace_back();
    } else if (line[i] != '\r') {
      fields.back() += line[i];
    }
  }
  return fields;
}

/// The answers as values, each with the columns' names. A file of questions without a header has the columns
/// that policy_test.h fixes.
Value answers_of(const std::string& csv) {
  std::vector<std::string> columns = {"src", "dst", "proto", "port", "verdict", "reason", "rule"};
  Value answers = Value::array();
  std::istringstream lines(csv);
  bool first = true;
  for (std::string line; std::getline(lines, line);) {
    std::vector<std::string> fields = fields_of(line);
    const bool header = std::exchange(first, false) && fields.back() == "rule";
    if (header) {
      columns = std::move(fields);
      continue;
    }
    Value answer = Value::object();
    for (std::size_t i = 0; i < fields.size() && i < columns.size(); ++i) answer[columns[i]] = fields[i];
    answers.push_back(std::move(answer));
  }
  return {{"answers", std::move(answers)}};
}

Answer test(const Invocation& invocation) {
  PolicyTestOptions options;
  options.cluster = invocation.texts("cluster");
  options.policies = invocation.texts("policies");
  options.queries = invocation.text("queries");
  if (options.cluster.empty() || options.queries.empty())
    throw Failure(kExitUsage,
                  "policy test: --cluster and --queries are needed; bulkheadctl policy test --help explains");
  options.posture = posture_of(invocation);
  options.now = at_of(invocation);
  options.mesh = mesh_of(invocation);

  // Answers are the questions' CSV with columns added, in the order asked: printed as they come, unless
  // another format is wanted. Paths and names in errors come from outside.
  std::ostringstream csv, errors;
  const bool as_csv = invocation.format == Format::kTable;
  const int exit = policy_test(options, as_csv ? *invocation.out : csv, errors);
  if (exit != 0) {
    std::string sentence = errors.str(), shown;
    std::istringstream lines(sentence);
    for (std::string line; std::getline(lines, line);) shown += (shown.empty() ? "" : "\n") + escape(line);
    throw BadFiles(shown);
  }
  return {as_csv ? Value() : answers_of(csv.str()), [](const Value&, Terminal&) {}};
}

}  // namespace

namespace {

std::vector<Option> validate_options() {
  std::vector<Option> options = {{"file", "FILE", "a policy file or directory", true, Completes::kFiles}};
  options.insert(options.end(), compile_options().begin(), compile_options().end());
  return options;
}

}  // namespace

std::vector<Command> policy_commands() {
  return {
      {"policy validate", "FILE|DIR...", "read policies as the control plane would, and say what is wrong",
       "Reads all files as one set, as the control plane reads its policy directory: unknown fields,\n"
       "duplicate objects and doubtful words are errors, and one error refuses the whole set. Each error\n"
       "is a line FILE:LINE:COLUMN: FIELD: what was found, what was expected. A directory stands for its\n"
       "*.yaml, *.yml and *.json. Rules that have expired, or will within two weeks, are warned of. With\n"
       "--cluster, the invariants among them are proven in that cluster: each that is broken comes with a\n"
       "packet that shows it. Errors and warnings go to standard error, by -o json into the answer. Exit "
       "code 1 if\n"
       "anything is wrong. Asks no process.",
       "  bulkheadctl policy validate /etc/bulkhead/policies\n"
       "  bulkheadctl policy validate policies/ --cluster cluster.yaml\n"
       "  bulkheadctl policy validate shop.yaml -o json | jq '.errors[].text'\n"
       "  kubectl get networkpolicies -A -o yaml | bulkheadctl policy validate -",
       validate_options(), "file", validate},
      {"policy test",
       "--cluster FILE --policies FILE --queries FILE.csv",
       "ask what policies would do in a cluster, before they are enforced",
       "Compiles a cluster (Kubernetes manifests as `kubectl get -o yaml` prints them) and policies into an\n"
       "image, and looks every question up there. Questions are CSV, src,dst,proto,port: an end is\n"
       "namespace/pod or an address. Answers are the same columns and verdict,reason,rule. A pod without an\n"
       "address (it is pending, or has finished) has no route. Without --policies, the policies among the\n"
       "manifests are taken; with it, whatever in its files is neither a policy nor of a cluster is an\n"
       "error. Asks no process. Exit code 0: every question was answered, whatever the answers are; 1:\n"
       "something could not be read, or an invariant is broken (such policies would not be enforced), and\n"
       "nothing was answered.",
       "  kubectl get ns,nodes,pods -A -o yaml > cluster.yaml\n"
       "  bulkheadctl policy test --cluster cluster.yaml --policies policies/ --queries q.csv\n"
       "  echo shop/web,shop/db,tcp,5432 | bulkheadctl policy test --cluster cluster.yaml --queries -",
       {{"cluster", "FILE|DIR", "manifests of the cluster; may be given more than once", true,
         Completes::kFiles},
        {"policies", "FILE|DIR", "policy files; may be given more than once", true, Completes::kFiles},
        {"queries", "FILE", "the questions; -: standard input", false, Completes::kFiles},
        {"posture", "WORD", "deny (default) or allow: the node's answer where no policy speaks", false,
         Completes::kNothing},
        {"strict", nullptr, "pods follow the posture, too", false, Completes::kNothing},
        at_option(),
        mesh_options()[0],
        mesh_options()[1]},
       nullptr,
       test},
  };
}

}  // namespace bulkhead::ctl
