// `policy lint`: what policies say and cannot mean, before they are enforced.
#include "controlplane/analysis/lint.h"
#include "controlplane/analysis/party.h"
#include "tools/ctl/candidate.h"
#include "tools/ctl/parties.h"

namespace bulkhead::ctl {
namespace {

Value finding_value(const analysis::Finding& finding) {
  Value witness = nullptr;
  if (finding.witness)
    witness = {{"source", analysis::address_text(finding.witness->source)},
               {"destination", analysis::address_text(finding.witness->destination)},
               {"protocol", analysis::slot_name(finding.witness->slot)},
               {"port", finding.witness->port},
               {"text", finding.witness_text}};
  return {{"check", analysis::name(finding.check)},
          {"file", finding.origin.file},
          {"line", finding.origin.line},
          {"column", finding.origin.column},
          {"object", finding.object},
          {"message", finding.message},
          {"fix", finding.fix},
          {"witness", std::move(witness)}};
}

/// What reading the file said already.
Value finding_value(const policies::Error& warning, const char* check) {
  return {{"check", check},
          {"file", warning.origin.file},
          {"line", warning.origin.line},
          {"column", warning.origin.column},
          {"object", warning.path},
          {"message", warning.message},
          {"fix", ""},
          {"witness", nullptr}};
}

void say(const Value& value, Terminal& terminal) {
  std::ostream& out = terminal.out();
  for (const Value& finding : value["findings"]) {
    out << escape(plain(finding["file"])) << ':' << plain(finding["line"]) << ':' << plain(finding["column"])
        << ": " << terminal.paint(Colour::kWarn, plain(finding["check"])) << ": "
        << escape(plain(finding["object"])) << (finding["object"] == "" ? "" : " ")
        << escape(plain(finding["message"])) << '\n';
    if (!finding["witness"].is_null())
      out << "  witness: " << escape(plain(finding["witness"]["text"])) << '\n';
    if (finding["fix"] != "") out << "  fix: " << escape(plain(finding["fix"])) << '\n';
  }
  const std::size_t count = value["findings"].size();
  if (count == 0)
    out << terminal.paint(Colour::kGood, "nothing found");
  else
    out << count << (count == 1 ? " finding" : " findings");
  out << " in " << plain(value["rules"]) << " rules of " << plain(value["policies"]) << " policies\n";
  if (value["unproven"] != 0)
    out << "of " << plain(value["unproven"])
        << " rules it was not decided whether they have an effect: there is too much to look through\n";
}

Answer lint(const Invocation& invocation) {
  const auto operands = invocation.texts("file");
  if (operands.empty()) throw Failure(kExitUsage, "policy lint: a FILE or DIR is missing");
  const source::Manifests own = read_manifests(operands, mesh_of(invocation));
  const source::Manifests cluster =
      invocation.has("cluster") ? read_manifests(invocation.texts("cluster"), mesh_of(invocation)) : own;
  if (cluster.cluster.endpoints.empty())
    throw Failure(kExitUsage,
                  "policy lint: there are no endpoints that policies could be about; give the cluster's "
                  "manifests with --cluster FILE");
  const policies::Time at = at_of(invocation);
  const analysis::Linted linted =
      analysis::lint(cluster.cluster, policies::without_expired(own.policies, at), posture_of(invocation));
  if (!linted.refusal.empty()) throw Failure(kExitRefused, escape(linted.refusal));
  Value findings = Value::array();
  for (const policies::Error& warning : own.warnings)
    findings.push_back(finding_value(warning, "load-warning"));
  for (const policies::Error& warning : expiry_warnings(own.policies, at))
    findings.push_back(finding_value(warning, "expiry"));
  for (const analysis::Finding& finding : linted.findings) findings.push_back(finding_value(finding));
  const bool clean = findings.empty();
  return {{{"clean", clean},
           {"policies", own.policies.policies.size()},
           {"rules", linted.rules},
           {"unproven", linted.unproven},
           {"findings", std::move(findings)}},
          say,
          clean ? kExitGood : kExitRefused};
}

}  // namespace

Command policy_lint_command() {
  std::vector<Option> options = {
      {"file", "FILE|DIR", "policy files; manifests may stand among them", true, Completes::kFiles}};
  for (const Option& option : compile_options())
    if (std::string_view(option.name) != "node") options.push_back(option);
  return {
      "policy lint",
      "FILE|DIR... [--cluster FILE]",
      "what policies say and cannot mean, before they are enforced",
      "Looks at policies in a cluster: its endpoints are those of --cluster (Kubernetes manifests), or of\n"
      "the files themselves. Every finding is a line FILE:LINE:COLUMN: CHECK: OBJECT MESSAGE, with a fix "
      "or\n"
      "a packet that shows it. Checks: unmet-policy, empty-selector, unborne-port, block-covers-endpoints,\n"
      "any-port, no-dns, shadowed and redundant (proven: without the rule no packet is judged otherwise),\n"
      "conflict; broken-invariant and vacuous-invariant (it means no packet); load-warning: what reading "
      "the\n"
      "file warned of; expiry: rules that have expired or will within two weeks. Every endpoint is judged "
      "at\n"
      "home.\n\n"
      "Exit code 0: nothing found; 1: findings, or something could not be read.",
      "  bulkheadctl policy lint policies/ --cluster cluster.yaml\n"
      "  bulkheadctl policy lint policies/ --cluster cluster.yaml -o json | jq -r '.findings[].check'",
      options,
      "file",
      lint};
}

}  // namespace bulkhead::ctl
