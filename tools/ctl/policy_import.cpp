// `policy import`: policies of other systems as objects that are read here.
#include <algorithm>
#include <fstream>

#include "policies/import/import.h"
#include "tools/ctl/candidate.h"
#include "tools/ctl/command.h"

namespace bulkhead::ctl {
namespace {

using policies::imports::Imported;
using policies::imports::Loss;

Value loss_value(const Loss& loss) {
  return {{"file", loss.origin.file},
          {"line", loss.origin.line},
          {"column", loss.origin.column},
          {"object", loss.object},
          {"path", loss.path},
          {"effect", policies::imports::name(loss.effect)},
          {"message", loss.message},
          {"text", policies::imports::format(loss)}};
}

/// "app=web,tier=front"
policies::Labels labels_of(const std::string& text) {
  policies::Labels labels;
  for (std::size_t first = 0; first < text.size();) {
    const std::size_t end = std::min(text.find(',', first), text.size());
    const std::string part = text.substr(first, end - first);
    const std::size_t equals = part.find('=');
    if (equals == part.npos || policies::wrong_label_key(part.substr(0, equals)) ||
        policies::wrong_label_value(part.substr(equals + 1)))
      throw Failure(kExitUsage,
                    "policy import: --selector: '" + escape(part) + "' is no label; expected KEY=VALUE");
    labels[part.substr(0, equals)] = part.substr(equals + 1);
    first = end + 1;
  }
  return labels;
}

policies::imports::Options options_of(const Invocation& invocation) {
  policies::imports::Options options;
  if (invocation.has("namespace")) options.namespace_name = invocation.text("namespace");
  if (policies::wrong_dns_label(options.namespace_name))
    throw Failure(kExitUsage,
                  "policy import: --namespace: '" + escape(options.namespace_name) + "' is no namespace");
  options.selector = labels_of(invocation.text("selector"));
  if (!invocation.has("priority")) return options;
  const std::string text = invocation.text("priority");
  const bool number = !text.empty() && text.size() <= 4 && text.find_first_not_of("0123456789") == text.npos;
  if (!number || std::stoul(text) > policies::kPriorityMax)
    throw Failure(kExitUsage, "policy import: --priority: '" + escape(text) +
                                  "' is no priority; expected 0 to " +
                                  std::to_string(policies::kPriorityMax));
  options.priority = static_cast<std::uint32_t>(std::stoul(text));
  return options;
}

std::vector<policies::File> read_all(const std::vector<std::string>& operands) {
  std::vector<policies::File> files;
  std::string reasons;
  for (const std::string& path : expand(operands)) {
    policies::Report report(path);
    if (auto text = policies::read_file(path, report)) files.push_back({path, std::move(*text)});
    for (const policies::Error& error : report.errors())
      reasons += (reasons.empty() ? "" : "\n") + escape(policies::format(error));
  }
  if (!reasons.empty()) throw BadFiles(reasons);
  return files;
}

void write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.flush();
  if (!file) throw Failure(kExitRefused, escape(path) + ": cannot be written");
}

/// What is printed must be what the control plane takes.
void check(const std::string& yaml) {
  const std::vector<policies::File> files = {{"the result", yaml}};
  const policies::Loaded loaded = policies::load(files);
  std::string reasons;
  for (const policies::Error& error : loaded.errors) reasons += "\n" + escape(policies::format(error));
  if (!loaded.ok()) throw Failure(kExitRefused, "policy import: the result cannot be read:" + reasons);
}

Answer import(const Invocation& invocation) {
  const auto operands = invocation.texts("file");
  if (operands.empty()) throw Failure(kExitUsage, "policy import: a FILE or DIR is missing");
  const policies::imports::Options options = options_of(invocation);
  const Imported imported = policies::imports::import_files(read_all(operands), options);

  Value objects = Value::array(), losses = Value::array();
  bool of_envoy = false;
  for (const auto& object : imported.objects) {
    of_envoy = of_envoy || object.kind == "AuthorizationPolicy";
    objects.push_back({{"kind", object.kind},
                       {"namespace", object.namespace_name},
                       {"name", object.name},
                       {"source", object.source},
                       {"file", object.origin.file},
                       {"line", object.origin.line}});
  }
  if (of_envoy && !invocation.has("namespace"))
    throw Failure(kExitUsage,
                  "policy import: a filter of Envoy does not say whom it guards; give --namespace NAME, and "
                  "--selector KEY=VALUE for some of its endpoints");
  for (const Loss& loss : imported.losses) losses.push_back(loss_value(loss));
  if (objects.empty() && losses.empty())
    throw BadFiles(escape(operands[0]) +
                   ":1:1: found no policy of Cilium, Calico or Envoy to turn into others");
  const bool whole = losses.empty();
  const bool kept = whole || !invocation.has("strict");
  const std::string yaml = kept ? policies::imports::to_yaml(imported) : std::string();
  if (!yaml.empty()) check(yaml);
  if (invocation.has("write") && kept) write_file(invocation.text("write"), yaml);

  Value answer = {{"complete", whole}, {"objects", std::move(objects)}, {"losses", std::move(losses)}};
  // The report goes beside the objects; asked for as JSON or YAML it is the answer, and holds them.
  if (!invocation.has("write")) answer["yaml"] = yaml;
  if (invocation.format == Format::kTable)
    for (const Value& loss : answer["losses"]) *invocation.error << escape(plain(loss["text"])) << '\n';
  return {std::move(answer),
          [](const Value& value, Terminal& terminal) {
            if (value.contains("yaml"))
              terminal.out() << value["yaml"].get_ref<const std::string&>();
            else
              terminal.out() << value["objects"].size()
                             << (value["objects"].size() == 1 ? " object" : " objects") << ", "
                             << value["losses"].size() << (value["losses"].size() == 1 ? " field" : " fields")
                             << " not carried over\n";
          },
          whole ? kExitGood : kExitRefused};
}

}  // namespace

Command policy_import_command() {
  return {
      "policy import",
      "FILE|DIR...",
      "turn policies of Cilium, Calico and Envoy into objects that are read here",
      "Prints CiliumNetworkPolicies, Calico's policies and Envoy's RBAC network filters as objects of this\n"
      "product, each under a comment with its origin. What cannot be carried over is reported on standard\n"
      "error (or by -o json with the objects), a line a field: FILE:LINE:COLUMN: OBJECT: FIELD: EFFECT: "
      "why.\n"
      "The effect is none (on verdicts), stricter (less is allowed or more denied than was), or refused\n"
      "(nothing of the object is printed). Nothing is ever allowed that was not. All files are one set: "
      "give\n"
      "groups of CIDRs, network sets, tiers and namespaces with the policies that refer to them.\n\n"
      "Exit code 0: all was carried over; 1: something was not, and what could be is printed unless\n"
      "--strict is given. docs/policy.md has a table of what is carried over.",
      "  kubectl get ciliumnetworkpolicies,ciliumclusterwidenetworkpolicies -A -o yaml > cilium.yaml\n"
      "  bulkheadctl policy import cilium.yaml --write policies/from-cilium.yaml\n"
      "  bulkheadctl policy import calico/ -o json | jq -r '.losses[].text'\n"
      "  bulkheadctl policy import listener.yaml --namespace shop --selector app=web",
      {{"file", "FILE|DIR", "objects or configurations of other systems, YAML or JSON", true,
        Completes::kFiles},
       {"write,O", "FILE", "write the objects there instead of standard output", false, Completes::kFiles},
       {"strict", nullptr, "print no object unless all was carried over", false, Completes::kNothing},
       {"namespace", "NAME",
        "where objects of the whole cluster go (default: default); whom an Envoy filter guards", false,
        Completes::kNothing},
       {"selector", "LABELS", "KEY=VALUE,...: the endpoints that an Envoy filter guards", false,
        Completes::kNothing},
       {"priority", "NUMBER", "of the first policy of Calico, 0 to 1000 (default 100); the others follow",
        false, Completes::kNothing}},
      "file",
      import};
}

}  // namespace bulkhead::ctl
