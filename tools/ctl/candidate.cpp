#include "tools/ctl/candidate.h"

#include <malloc.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "dataplane/image/validate.h"
#include "policies/load/fields.h"
#include "policies/load/nearest.h"

namespace bulkhead::ctl {
namespace {

namespace fs = std::filesystem;

bool is_image(const std::string& path) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return false;  // to open a FIFO waits for its writer
  std::ifstream file(path, std::ios::binary);
  std::uint64_t magic = 0;
  file.read(reinterpret_cast<char*>(&magic), sizeof magic);
  return file.gcount() == sizeof magic && magic == image::kMagic;
}

source::Manifests read_cluster(const Invocation& invocation, const char* command) {
  const auto operands = invocation.texts("cluster");
  if (operands.empty())
    throw Failure(kExitUsage,
                  std::string(command) +
                      ": policy files say nothing without the endpoints they select; give --cluster "
                      "FILE, or an image file");
  return read_manifests(operands, mesh_of(invocation));
}

}  // namespace

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
      std::error_code ignored;
      if (policies::is_read_in_directories(entry->path().filename().string()) &&
          !entry->is_directory(ignored))
        found.push_back(entry->path().string());
    }
    if (failed) throw Failure(kExitRefused, escape(operand) + ": " + failed.message());
    if (found.empty())
      throw Failure(kExitRefused, escape(operand) + ": no *.yaml, *.yml or *.json in this directory");
    std::sort(found.begin(), found.end());
    paths.insert(paths.end(), found.begin(), found.end());
  }
  return paths;
}

source::Manifests read_manifests(const std::vector<std::string>& operands, const policies::Mesh& mesh) {
  const policies::LoadOptions options{.skip_other_kinds = true, .mesh = mesh};
  source::Manifests manifests = source::read_manifest_paths(expand(operands), options);
  malloc_trim(0);  // a cluster's YAML takes several times what is kept of it, and a compile needs the room
  if (manifests.ok()) return manifests;
  std::string reasons;
  for (const policies::Error& error : manifests.errors)
    reasons += (reasons.empty() ? "" : "\n") + escape(policies::format(error));
  throw BadFiles(reasons);
}

const std::vector<Option>& mesh_options() {
  static const std::vector<Option> options = {
      {"trust-domain", "NAME", "the mesh's, for AuthorizationPolicies (default cluster.local)", false,
       Completes::kNothing},
      {"root-namespace", "NAME", "the mesh's: policies in it are of every namespace (default istio-system)",
       false, Completes::kNothing},
  };
  return options;
}

policies::Mesh mesh_of(const Invocation& invocation) {
  policies::Mesh mesh;
  const auto take = [&](const char* option, auto wrong, std::string& into) {
    if (!invocation.has(option)) return;
    into = invocation.text(option);
    if (const auto expected = wrong(into))
      throw Failure(kExitUsage,
                    "--" + std::string(option) + ": found '" + escape(into) + "', expected " + *expected);
  };
  take("trust-domain", policies::wrong_dns_subdomain, mesh.trust_domain);
  take("root-namespace", policies::wrong_dns_label, mesh.root_namespace);
  return mesh;
}

policies::Time at_of(const Invocation& invocation) {
  if (!invocation.has("at")) return policies::now();
  const auto at = policies::parse_time(invocation.text("at"));
  if (!at)
    throw Failure(kExitUsage, "--at: '" + escape(invocation.text("at")) +
                                  "' is no moment; expected one with its zone, such as 2026-12-01T08:00:00Z");
  return *at;
}

std::vector<policies::Error> expiry_warnings(const policies::PolicySet& policies, policies::Time at) {
  constexpr std::chrono::days kSoon{14};
  std::vector<policies::Error> warnings;
  for (const policies::Expiry& expiry : policies::expiring(policies, at + kSoon))
    warnings.push_back({expiry.rule->origin, "", policies::describe(expiry, at)});
  return warnings;
}

const Option& at_option() {
  static const Option option = {"at", "TIME",
                                "when: rules that have expired by then do not count (default: now)", false,
                                Completes::kNothing};
  return option;
}

const std::vector<Option>& compile_options() {
  static const std::vector<Option> options = {
      {"cluster", "FILE|DIR", "manifests of the cluster, for policy files; may be given more than once", true,
       Completes::kFiles},
      {"node", "NAME", "judge the endpoints of this node only, as its image does", false,
       Completes::kNothing},
      {"posture", "WORD", "deny (default) or allow: the answer where no policy speaks", false,
       Completes::kNothing},
      {"strict", nullptr, "pods follow the posture, too", false, Completes::kNothing},
      at_option(),
      mesh_options()[0],
      mesh_options()[1],
  };
  return options;
}

policies::Posture posture_of(const Invocation& invocation) {
  const std::string posture = invocation.text("posture");
  if (!posture.empty() && posture != "deny" && posture != "allow")
    throw Failure(kExitUsage, "--posture: '" + escape(posture) + "' is neither allow nor deny");
  return {posture == "allow" ? policies::Action::kAllow : policies::Action::kDeny, invocation.has("strict")};
}

namespace {

/// Of a node that nobody is on nothing would be judged, and everything hold.
void check_node(const std::string& name, const policies::Cluster& cluster) {
  std::set<std::string_view> known;
  for (const auto& node : cluster.nodes) known.insert(node.name);
  for (const auto& endpoint : cluster.endpoints) known.insert(endpoint.node);
  if (known.contains(name)) return;
  const std::vector<std::string_view> names(known.begin(), known.end());
  throw Failure(kExitUsage,
                "--node: no node is called '" + escape(name) + "'" + policies::did_you_mean(name, names));
}

}  // namespace

Candidate compile_candidate(const Invocation& invocation, const policies::Cluster& cluster,
                            const policies::PolicySet& policies, const std::string& from) {
  compile::Input input{.cluster = cluster,
                       .policies = policies,
                       .posture = posture_of(invocation),
                       .subjects = compile::Subjects::kEvery,
                       .limits = {.section_bytes_max = image::kSectionBytesMax},
                       .now = at_of(invocation)};
  if (invocation.has("node")) {
    input.node.name = invocation.text("node");
    check_node(input.node.name, cluster);
    input.subjects = compile::Subjects::kLocal;
  }
  auto compiled = compile::compile(input);
  if (const auto* refusal = std::get_if<compile::Refusal>(&compiled))
    throw Failure(kExitRefused, escape(from) + ": " + escape(refusal->reason));
  Candidate candidate;
  candidate.output = std::make_unique<compile::Output>(std::get<compile::Output>(std::move(compiled)));
  candidate.from = from;
  // The digests were made a moment ago, in this process.
  auto checked = image::validate(candidate.output->image.sections(), false);
  if (const auto* refusal = std::get_if<image::Refusal>(&checked))
    throw Failure(kExitRefused, escape(from) + ": " + escape(refusal->reason));
  candidate.view = std::get<image::View>(checked);
  candidate.invariants = policies.invariants;
  candidate.proof = analysis::prove(input, *candidate.output);
  return candidate;
}

namespace {

Candidate of_image(Image image) {
  Candidate candidate;
  candidate.view = image.view;
  candidate.from = image.from;
  candidate.image = std::move(image);
  return candidate;
}

}  // namespace

Candidate candidate_of_operand(const Invocation& invocation, const std::string& operand, const char* command,
                               std::optional<source::Manifests>& cluster) {
  if (is_image(operand)) return of_image(image_file(operand));
  std::error_code failed;
  if (!fs::exists(operand, failed))
    throw Failure(kExitRefused,
                  escape(operand) + ": " + (failed ? failed.message() : "No such file or directory"));
  if (!cluster) cluster = read_cluster(invocation, command);
  const source::Manifests own = read_manifests({operand}, mesh_of(invocation));
  return compile_candidate(invocation, cluster->cluster, own.policies, operand);
}

Candidate enforced_candidate(const Invocation& invocation) {
  publish::Channel channel = dataplane(invocation);
  return of_image(enforced_image(channel));
}

std::vector<Option> candidate_options() {
  std::vector<Option> options = {
      {"image", "FILE", "an image file, instead of the enforced image", false, Completes::kFiles},
      {"policies", "FILE|DIR", "policy files, instead of the enforced image; may be given more than once",
       true, Completes::kFiles}};
  options.insert(options.end(), compile_options().begin(), compile_options().end());
  return options;
}

Candidate candidate_of(const Invocation& invocation, const char* command,
                       const std::vector<policies::Invariant>& more) {
  const bool files = invocation.has("policies") || invocation.has("cluster");
  if (invocation.has("image") && files)
    throw Failure(kExitUsage, std::string(command) + ": --image or policy files, not both");
  if (invocation.has("image")) return of_image(image_file(invocation.text("image")));
  if (!files) return enforced_candidate(invocation);
  source::Manifests cluster = read_cluster(invocation, command);
  std::string from = "the cluster's own policies";
  if (invocation.has("policies")) {
    const auto operands = invocation.texts("policies");
    from.clear();
    for (const std::string& operand : operands) from += (from.empty() ? "" : ", ") + operand;
    cluster.policies = read_manifests(operands, mesh_of(invocation)).policies;
  }
  auto& invariants = cluster.policies.invariants;
  invariants.insert(invariants.end(), more.begin(), more.end());
  return compile_candidate(invocation, cluster.cluster, cluster.policies, from);
}

}  // namespace bulkhead::ctl
