// What the policy commands look at: an image, whether it is enforced, lies in a file, or is compiled here from
// policy files and a cluster's manifests.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/analysis/invariants.h"
#include "controlplane/compile/compile.h"
#include "controlplane/source/manifest.h"
#include "tools/ctl/ask.h"

namespace bulkhead::ctl {

/// A validated image and the memory its view points into.
struct Candidate {
  Image image;                                  // enforced, or of a file
  std::unique_ptr<compile::Output> output;      // compiled here
  std::vector<policies::Invariant> invariants;  // of the set, where it was compiled here
  analysis::Proof proof;                        // of these
  image::View view;
  std::string from;  // for people
};

/// Files and the files of directories: *.yaml, *.yml and *.json; not hidden, sorted.
/// Failure(kExitRefused) where a directory has none.
std::vector<std::string> expand(const std::vector<std::string>& operands);

/// Failure(kExitRefused) with every error, one a line.
source::Manifests read_manifests(const std::vector<std::string>& operands, const policies::Mesh& mesh);

/// --trust-domain and --root-namespace.
const std::vector<Option>& mesh_options();
policies::Mesh mesh_of(const Invocation& invocation);

/// `--at`, or now: at which moment expiries are looked at.
policies::Time at_of(const Invocation& invocation);
/// What a person should know of what has expired by then, or will within two weeks.
std::vector<policies::Error> expiry_warnings(const policies::PolicySet& policies, policies::Time at);
const Option& at_option();

/// --cluster, --node, --posture, --strict, --at and those of the mesh: how policy files become an image.
const std::vector<Option>& compile_options();
policies::Posture posture_of(const Invocation& invocation);

/// Policies and their invariants in the cluster of `--cluster`; all endpoints are judged, or with `--node` those of that node.
/// Failure(kExitRefused) with the compiler's reason.
Candidate compile_candidate(const Invocation& invocation, const policies::Cluster& cluster,
                            const policies::PolicySet& policies, const std::string& from);

/// An image file (known by its first bytes), or policy files for which `--cluster` must be given: `cluster` is read where
/// it is not yet.
Candidate candidate_of_operand(const Invocation& invocation, const std::string& operand, const char* command,
                               std::optional<source::Manifests>& cluster);

Candidate enforced_candidate(const Invocation& invocation);

/// --image, --policies and the compile options.
std::vector<Option> candidate_options();

/// `--image FILE`, `--policies` or the policies among `--cluster`, or else the enforced image. `more` invariants join
/// those of policy files.
Candidate candidate_of(const Invocation& invocation, const char* command,
                       const std::vector<policies::Invariant>& more = {});

}  // namespace bulkhead::ctl
