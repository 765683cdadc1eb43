// Kubernetes manifests as a picture of a cluster: what `kubectl get namespaces,nodes,pods,networkpolicies -A -o
// yaml` prints, or a person writes for a test.
//
// Several files, several documents a file, `kind: List`, PodList and the like; JSON is YAML too. Of Namespace, Node and Pod only the
// fields that policy depends on are read, and others are ignored: an API server knows more than we do. Policies
// (policies/load/load.h) may stand among them and are read as strictly as ever. Any other kind is passed over,
// except one that would decide about traffic, or whose name is nearly one of ours: those are refused.
//
// What a manifest means:
//   - a pod in phase Succeeded or Failed has released its address and is not there; a terminating one still is,
//     but yields an address that a pod which is not terminating also claims;
//   - a host-network pod shares its node's addresses, also if its status names none; they, and every pod's
//     status.hostIPs, count as the node's;
//   - a named port is one of a container's, or of an init container's that runs on (restartPolicy: Always);
//   - a namespace that only pods mention exists; every namespace bears the label kubernetes.io/metadata.name.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "policies/load/load.h"
#include "policies/model/cluster.h"

namespace bulkhead::source {

struct Manifests {
  policies::Cluster cluster;              // in the order written; empty if there are errors
  std::vector<std::string> finished;      // namespace/name of pods that have released their addresses
  policies::PolicySet policies;           // empty if there are errors
  std::vector<policies::Error> errors;    // by file, in the order given
  std::vector<policies::Error> warnings;  // likewise; they refuse nothing
  bool ok() const { return errors.empty(); }
};

/// Kinds that are neither ours nor the cluster's are passed over where the options say so, and by default.
Manifests read_manifests(std::span<const policies::File> files,
                         const policies::LoadOptions& options = {.skip_other_kinds = true});

/// Reads the files, then read_manifests(). A file that cannot be read is an error like any other.
Manifests read_manifest_paths(std::span<const std::string> paths,
                              const policies::LoadOptions& options = {.skip_other_kinds = true});

}  // namespace bulkhead::source
