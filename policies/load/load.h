// Policy files in, policies or all that is wrong with them out.
//
//   text ── document.h ──► YamlNode ── fields.h ──► network_policy.cpp      ──► Policy ──► PolicySet
//                                                   segmentation_policy.cpp
//                                                   cluster_policy.cpp
//                                                   authorization_policy.cpp
//                                                   invariant.cpp           ──► Invariant ──► PolicySet
//
// Transactional: one bad file refuses the whole set, and every error of every file is reported. Kinds:
// NetworkPolicy (networking.k8s.io/v1), AdminNetworkPolicy and BaselineAdminNetworkPolicy
// (policy.networking.k8s.io/v1alpha1), ClusterNetworkPolicy (v1alpha2, v1beta1), SegmentationPolicy
// and Invariant (bulkhead.io/v1alpha1), AuthorizationPolicy (security.istio.io/v1, v1beta1), and List of them, or
// NetworkPolicyList and the like; several documents a file. An object of a namespaced kind without metadata.namespace is in the namespace
// `default`. What `kubectl get -o yaml` adds (uid, managedFields, status, ...) is accepted and ignored; any other
// unknown field is an error.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "policies/load/document.h"
#include "policies/load/fields.h"
#include "policies/model/policy.h"

namespace bulkhead::policies {

struct File {
  std::string name;  // as messages shall name it
  std::string text;
};

struct Loaded {
  PolicySet policies;           // empty if there are errors
  std::vector<Error> errors;    // by file, in the order given, then by line
  std::vector<Error> warnings;  // likewise; they refuse nothing
  bool ok() const { return errors.empty(); }
};

struct LoadOptions {
  bool skip_other_kinds = false;  // objects that are not policies are passed over, not refused
  Limits limits = {};
  Mesh mesh = {};
};

Loaded load(std::span<const File> files, const LoadOptions& options = {});

/// Reads the files, then load(). A file that cannot be read is an error like any other.
Loaded load_paths(std::span<const std::string> paths, const LoadOptions& options = {});

/// Whether a directory's file of this name is read: *.yaml, *.yml and *.json are, hidden ones are not.
bool is_read_in_directories(std::string_view file_name);

/// One file's bytes; "-" is standard input. Bounded by limits.file_bytes_max; reported otherwise. A pipe is read where this
/// process was given it: standard input, or a shell's <(...). One with a name in a directory may have no writer, ever.
std::optional<std::string> read_file(const std::string& path, Report& report, const Limits& limits = {});

/// One object of a document: a List, or a list of one kind such as NetworkPolicyList, is taken apart. For readers
/// of mixed streams.
struct Object {
  std::string api_version;  // an item of a list of one kind may leave both to the list
  std::string kind;
  Value value;
  Value api_version_value, kind_value;  // where they are said, for errors
};
std::vector<Object> objects_of(const YamlNode& document, Report& report);

bool is_policy(const Object& object);
/// Only for is_policy() objects. False if errors were reported.
bool read_policy(const Object& object, const Mesh& mesh, PolicySet& into);

/// For an object that is not is_policy(): reports it and returns true, unless it may be passed over. Kinds that
/// decide about traffic, and slips of the pen for ours, are never passed over: that would change who is allowed.
bool refuse_other(const Object& object, bool skip_other_kinds);

/// Once everything is read: sorts into the set's order, and puts the blocks of CidrGroups where these are named.
/// Adds an error for each object that is there twice and for each reference to nobody. `references` are those of
/// all reports.
void settle_set(PolicySet& set, std::span<const Reference> references, std::vector<Error>& errors);

}  // namespace bulkhead::policies
