#include "policies/load/load.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <limits>
#include <tuple>
#include <utility>

#include "policies/load/authorization_policy.h"
#include "policies/load/cidr_group.h"
#include "policies/load/objects.h"

namespace bulkhead::policies {
namespace {

constexpr std::string_view kListApi = "v1";
constexpr std::string_view kPolicyApiV1Alpha1 = "policy.networking.k8s.io/v1alpha1";
constexpr std::string_view kPolicyApiV1Alpha2 = "policy.networking.k8s.io/v1alpha2";
constexpr std::string_view kPolicyApiV1Beta1 = "policy.networking.k8s.io/v1beta1";
constexpr std::array<std::string_view, 1> kNetworkPolicyApis = {"networking.k8s.io/v1"};
constexpr std::array<std::string_view, 1> kAdminNetworkPolicyApis = {kPolicyApiV1Alpha1};
constexpr std::array<std::string_view, 2> kClusterNetworkPolicyApis = {kPolicyApiV1Alpha2, kPolicyApiV1Beta1};
constexpr std::array<std::string_view, 2> kAuthorizationPolicyApis = {"security.istio.io/v1",
                                                                      "security.istio.io/v1beta1"};
constexpr std::array<std::string_view, 1> kBulkheadApis = {"bulkhead.io/v1alpha1"};

struct Kind {
  std::string_view name;
  std::span<const std::string_view> apis;
  Scope scope;
  std::string_view only_name = {};  // the name of the only object there may be
};
constexpr Kind kPolicyKinds[] = {
    {"AdminNetworkPolicy", kAdminNetworkPolicyApis, Scope::kCluster},
    {"AuthorizationPolicy", kAuthorizationPolicyApis, Scope::kNamespace},
    {"BaselineAdminNetworkPolicy", kAdminNetworkPolicyApis, Scope::kCluster, "default"},
    {"CidrGroup", kBulkheadApis, Scope::kCluster},
    {"ClusterNetworkPolicy", kClusterNetworkPolicyApis, Scope::kCluster},
    {"Invariant", kBulkheadApis, Scope::kCluster},
    {"NetworkPolicy", kNetworkPolicyApis, Scope::kNamespace},
    {"SegmentationPolicy", kBulkheadApis, Scope::kNamespace},
};
constexpr std::array<std::string_view, 9> kKinds = {"List",
                                                    "AdminNetworkPolicy",
                                                    "AuthorizationPolicy",
                                                    "BaselineAdminNetworkPolicy",
                                                    "CidrGroup",
                                                    "ClusterNetworkPolicy",
                                                    "Invariant",
                                                    "NetworkPolicy",
                                                    "SegmentationPolicy"};

/// Of metadata, what an API server adds. Nothing of it is used.
constexpr std::string_view kAddedTexts[] = {"creationTimestamp", "deletionTimestamp", "generateName",
                                            "resourceVersion",   "selfLink",          "uid"};
constexpr std::string_view kAddedLists[] = {"finalizers", "managedFields", "ownerReferences"};
constexpr std::string_view kAddedNumbers[] = {"deletionGracePeriodSeconds", "generation"};

const Kind* find_kind(std::string_view name) {
  const auto found = std::find_if(std::begin(kPolicyKinds), std::end(kPolicyKinds),
                                  [&](const Kind& kind) { return kind.name == name; });
  return found != std::end(kPolicyKinds) ? found : nullptr;
}

/// What the items of a NetworkPolicyList are, where they leave it out; nothing for List and what is no list.
std::optional<Object> item_of(const Object& list) {
  constexpr std::string_view kSuffix = "List";
  if (list.kind.size() <= kSuffix.size() || !list.kind.ends_with(kSuffix)) return std::nullopt;
  Object item = list;
  item.kind.resize(item.kind.size() - kSuffix.size());
  if (list.value.node()->find("items") == nullptr && find_kind(item.kind) == nullptr) return std::nullopt;
  return item;
}

bool is_list_of_cluster(const Object& item) {
  return item.api_version == kListApi &&
         (item.kind == "Namespace" || item.kind == "Node" || item.kind == "Pod");
}

/// Without a kind nobody knows the other fields; but a slip of the pen for one that every object has is told.
void report_misspelt(const Value& object, const Fields& fields) {
  constexpr std::array<std::string_view, 4> kEvery = {"apiVersion", "kind", "metadata", "spec"};
  for (const Entry& entry : object.entries()) {
    if (std::find(kEvery.begin(), kEvery.end(), entry.key) != kEvery.end()) continue;
    const auto meant = nearest(entry.key, kEvery);
    if (meant && !fields.has(*meant))
      entry.key_value.fail("found the unknown field " + quoted(entry.key) + did_you_mean(entry.key, kEvery));
  }
}

void collect_objects(const Value& value, const Object* as, std::vector<Object>& objects) {
  if (!value) return;
  if (!value.is_mapping()) {
    value.fail_expected("an object with apiVersion and kind");
    return;
  }
  Fields fields(value);
  fields.accept_all();
  const auto own = [&](std::string_view name) {
    return as == nullptr ? fields.required(name) : fields.optional(name);
  };
  Object object;
  if (as != nullptr) object = *as;
  object.value = value;
  if (Value named = own("apiVersion"); named || as == nullptr) {
    object.api_version = named.nonempty_text().value_or("");
    object.api_version_value = std::move(named);
  }
  if (Value named = own("kind"); named || as == nullptr) {
    object.kind = named.nonempty_text().value_or("");
    object.kind_value = std::move(named);
  }
  if (object.api_version.empty() || object.kind.empty()) return report_misspelt(value, fields);
  const auto item = item_of(object);
  if (object.kind != "List" && !item) {
    objects.push_back(std::move(object));
    return;
  }
  if (!item && object.api_version != kListApi) object.api_version_value.fail_expected("v1 for List");
  Fields list(value);
  list.accept({"apiVersion", "kind"});
  list.optional("metadata").fields().accept_all();
  const Value items = list.has("items") ? list.optional("items") : list.required("items");
  bool inherited = false;
  for (const auto& one : items.list()) {
    collect_objects(one, item ? &*item : nullptr, objects);
    inherited = inherited || (one.is_mapping() && one.node()->find("kind") == nullptr);
  }
  // Whether it is a kind that may stand here is up to who reads on; its items have told them, or else the list does.
  if (item && !inherited && !is_list_of_cluster(*item) && !is_policy(*item)) {
    if (find_kind(item->kind) != nullptr) object.kind = item->kind;
    objects.push_back(std::move(object));
  }
}

void load_file(const File& file, const LoadOptions& options, PolicySet& policies, Report& report) {
  bool empty = true;
  const bool read = read_documents(file.text, report, options.limits, [&](const YamlNode& document) {
    empty = empty && document.kind == NodeKind::kNull;
    for (const auto& object : objects_of(document, report)) {
      if (is_policy(object))
        read_policy(object, options.mesh, policies);
      else
        refuse_other(object, options.skip_other_kinds);
    }
  });
  if (!read || !empty) return;
  // A file that somebody has just begun to write anew must not read as "there are no policies".
  if (file.text.find('#') == std::string::npos)
    report.add(1, 1, "", "found an empty file, expected a policy; to have none, remove the file");
  else
    report.warn(1, 1, "", "found comments alone, and no policy");
}

void append_by_line(const std::vector<Error>& from, std::vector<Error>& to) {
  const auto first = static_cast<std::ptrdiff_t>(to.size());
  to.insert(to.end(), from.begin(), from.end());
  std::stable_sort(to.begin() + first, to.end(), [](const Error& a, const Error& b) {
    return std::tie(a.origin.line, a.origin.column) < std::tie(b.origin.line, b.origin.column);
  });
}

void take(const Report& report, Loaded& loaded, std::vector<Reference>& references) {
  references.insert(references.end(), report.references().begin(), report.references().end());
  append_by_line(report.errors(), loaded.errors);
  append_by_line(report.warnings(), loaded.warnings);
}

void finish(PolicySet policies, std::span<const Reference> references, Loaded& loaded) {
  settle_set(policies, references, loaded.errors);
  if (loaded.ok()) loaded.policies = std::move(policies);
}

/// Sorts by `key` and adds an error for each that is there twice, but no flood of them.
template <typename T, typename Key, typename Name>
void settle(std::vector<T>& objects, const Key& key, const Name& name, std::vector<Error>& errors) {
  std::stable_sort(objects.begin(), objects.end(), [&](const T& a, const T& b) { return key(a) < key(b); });
  std::size_t told = 0;
  for (std::size_t i = 1; i < objects.size(); ++i) {
    if (key(objects[i - 1]) != key(objects[i])) continue;
    const Origin& first = objects[i - 1].origin;
    if (++told > Report::kErrorsMax) {
      errors.push_back({objects[i].origin, "", std::string(kMoreErrors)});
      return;
    }
    errors.push_back({objects[i].origin, "metadata.name",
                      "found " + name(objects[i]) + " a second time, expected it once (also at " +
                          first.file + ":" + std::to_string(first.line) + ")"});
  }
}

}  // namespace

Metadata read_metadata(Fields& object, Scope scope, std::string_view only_name) {
  Fields fields(object.required("metadata"));
  Metadata metadata;
  fields.optional("labels").labels();
  for (const auto& annotation : fields.optional("annotations").entries()) annotation.value.text();
  for (const auto name : kAddedTexts) fields.optional(name).text();
  for (const auto name : kAddedLists) fields.optional(name).list();
  for (const auto name : kAddedNumbers)
    fields.optional(name).integer(0, std::numeric_limits<std::int64_t>::max());
  const Value name = fields.required("name");
  if (const auto text = name.text()) {
    metadata.name = *text;
    if (const auto wrong = wrong_dns_subdomain(*text))
      name.fail_expected(*wrong);
    else if (!only_name.empty() && *text != only_name)
      name.fail_expected(quoted(only_name) + ": there is one of this kind");
  }
  const Value namespace_name = fields.optional("namespace");
  if (scope == Scope::kCluster) {
    if (namespace_name)
      namespace_name.fail("found a namespace, expected none: this kind is of the whole cluster");
    return metadata;
  }
  metadata.namespace_name = kDefaultNamespace;
  if (const auto text = namespace_name.text()) {
    metadata.namespace_name = *text;
    if (const auto wrong = wrong_dns_label(*text)) namespace_name.fail_expected(*wrong);
  }
  return metadata;
}

std::vector<Object> objects_of(const YamlNode& document, Report& report) {
  std::vector<Object> objects;
  collect_objects(Value(document, report), nullptr, objects);
  return objects;
}

bool is_policy(const Object& object) {
  const Kind* kind = find_kind(object.kind);
  return kind != nullptr &&
         std::find(kind->apis.begin(), kind->apis.end(), object.api_version) != kind->apis.end();
}

bool refuse_other(const Object& object, bool skip_other_kinds) {
  if (const Kind* kind = find_kind(object.kind)) {
    object.api_version_value.fail("found " + quoted(object.api_version) + " for " + object.kind +
                                  ", expected " + one_of(kind->apis) +
                                  did_you_mean(object.api_version, kind->apis));
    return true;
  }
  // CiliumNetworkPolicy, GlobalNetworkPolicy, ...: near in name, but not what was meant.
  const bool foreign = object.kind.find("NetworkPolicy") != std::string::npos;
  const std::string hint =
      foreign ? "; what it says about traffic would be lost" : did_you_mean(object.kind, kKinds);
  if (skip_other_kinds && hint.empty()) return false;
  object.kind_value.fail("found the kind " + quoted(object.kind) + ", expected " + one_of(kKinds) + hint);
  return true;
}

bool read_policy(const Object& object, const Mesh& mesh, PolicySet& into) {
  const Kind& kind = *find_kind(object.kind);
  const std::size_t errors = object.value.errors_so_far();
  Fields fields(object.value);
  fields.accept({"apiVersion", "kind", "status"});
  const Metadata metadata = read_metadata(fields, kind.scope, kind.only_name);
  const auto good = [&] {
    fields.finish();
    return object.value.errors_so_far() == errors;
  };
  if (object.kind == "CidrGroup") {
    CidrGroup group{metadata.name, {}, object.value.origin()};
    read_cidr_group(fields.required("spec"), group);
    into.groups.push_back(std::move(group));  // a wrong one, too: who names it is not wrong beside
    return good();
  }
  if (object.kind == "Invariant") {
    Invariant invariant{metadata.name, {}, object.value.origin()};
    read_invariant(fields.required("spec"), invariant);
    if (!good()) return false;
    into.invariants.push_back(std::move(invariant));
    return true;
  }
  Policy policy;
  policy.kind = object.kind;
  policy.namespace_name = metadata.namespace_name;
  policy.name = metadata.name;
  policy.origin = object.value.origin();
  if (object.kind == "NetworkPolicy") {
    read_network_policy(fields.optional("spec"), policy);
  } else if (object.kind == "AdminNetworkPolicy") {
    read_admin_network_policy(fields.required("spec"), policy);
  } else if (object.kind == "BaselineAdminNetworkPolicy") {
    read_baseline_admin_network_policy(fields.required("spec"), policy);
  } else if (object.kind == "ClusterNetworkPolicy") {
    read_cluster_network_policy(fields.required("spec"), object.api_version == kPolicyApiV1Beta1, policy);
  } else if (object.kind == "AuthorizationPolicy") {
    read_authorization_policy(object.value, fields.optional("spec"), mesh, policy);
  } else {
    read_segmentation_policy(fields.required("spec"), policy);
  }
  if (!good()) return false;
  into.policies.push_back(std::move(policy));
  return true;
}

void settle_set(PolicySet& set, std::span<const Reference> references, std::vector<Error>& errors) {
  settle(
      set.policies,
      [](const Policy& policy) { return std::tie(policy.kind, policy.namespace_name, policy.name); },
      [](const Policy& policy) { return describe(policy); }, errors);
  settle(
      set.invariants, [](const Invariant& invariant) { return std::string_view(invariant.name); },
      [](const Invariant& invariant) { return "Invariant " + invariant.name; }, errors);
  settle(
      set.groups, [](const CidrGroup& group) { return std::string_view(group.name); },
      [](const CidrGroup& group) { return "CidrGroup " + group.name; }, errors);
  fill_groups(set, references, errors);
}

Loaded load(std::span<const File> files, const LoadOptions& options) {
  PolicySet policies;
  std::vector<Reference> references;
  Loaded loaded;
  for (const auto& file : files) {
    Report report(file.name);
    load_file(file, options, policies, report);
    take(report, loaded, references);
  }
  finish(std::move(policies), references, loaded);
  return loaded;
}

Loaded load_paths(std::span<const std::string> paths, const LoadOptions& options) {
  PolicySet policies;
  std::vector<Reference> references;
  Loaded loaded;
  for (const auto& path : paths) {
    Report report(path);
    if (auto text = read_file(path, report, options.limits))
      load_file({path, std::move(*text)}, options, policies, report);
    take(report, loaded, references);
  }
  finish(std::move(policies), references, loaded);
  return loaded;
}

bool is_read_in_directories(std::string_view file_name) {
  return !file_name.starts_with('.') &&
         (file_name.ends_with(".yaml") || file_name.ends_with(".yml") || file_name.ends_with(".json"));
}

std::optional<std::string> read_file(const std::string& name, Report& report, const Limits& limits) {
  const std::string path = name == "-" ? "/dev/stdin" : name;
  const bool given =
      path == "/dev/stdin" || path.starts_with("/dev/fd/") || path.starts_with("/proc/self/fd/");
  // Asked before it is opened: to open a FIFO waits for its writer.
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) {
    report.add(0, 0, "", std::string("cannot be opened: ") + std::strerror(errno));
    return std::nullopt;
  }
  if (!S_ISREG(status.st_mode) && !(S_ISFIFO(status.st_mode) && given)) {
    report.add(0, 0, "", "not a regular file");
    return std::nullopt;
  }
  std::ifstream stream(path, std::ios::binary);
  if (!stream) {
    report.add(0, 0, "", std::string("cannot be opened: ") + std::strerror(errno));
    return std::nullopt;
  }
  // One byte more than the limit tells a file that is too large, whatever stat said; it may have grown since.
  std::string text;
  for (std::size_t room = static_cast<std::size_t>(status.st_size) + 1;
       stream && text.size() <= limits.file_bytes_max; room = std::max(room, text.size())) {
    const std::size_t had = text.size();
    text.resize(had + std::min(room, limits.file_bytes_max + 1 - had));
    stream.read(text.data() + had, static_cast<std::streamsize>(text.size() - had));
    text.resize(had + static_cast<std::size_t>(stream.gcount()));
  }
  if (stream.bad() || text.size() > limits.file_bytes_max) {
    report.add(0, 0, "",
               stream.bad() ? std::string("cannot be read")
                            : "found more than " + std::to_string(limits.file_bytes_max) +
                                  " bytes, which is the limit of a file");
    return std::nullopt;
  }
  return text;
}

}  // namespace bulkhead::policies
