#include "policies/import/import.h"

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <set>
#include <tuple>

#include "policies/import/calico.h"
#include "policies/import/cilium.h"
#include "policies/import/envoy.h"

namespace bulkhead::policies::imports {
namespace {

/// Objects of these systems that say nothing about who may talk to whom.
constexpr std::string_view kPassedOver[] = {"BGPConfiguration",
                                            "BGPFilter",
                                            "BGPPeer",
                                            "BlockAffinity",
                                            "CalicoNodeStatus",
                                            "CiliumEndpoint",
                                            "CiliumIdentity",
                                            "CiliumNode",
                                            "ClusterInformation",
                                            "FelixConfiguration",
                                            "IPAMBlock",
                                            "IPAMConfig",
                                            "IPAMHandle",
                                            "IPPool",
                                            "IPReservation",
                                            "KubeControllersConfiguration"};

class Importer {
 public:
  explicit Importer(const Options& options)
      : options_(options),
        cilium_(options.namespace_name),
        calico_(options.namespace_name, options.priority) {}

  void read(const File& file) {
    files_.push_back(file.name);
    Report report(file.name);
    documents_.push_back(parse_documents(file.text, report, options_.limits));
    for (const Error& error : report.errors())
      imported_.losses.push_back({error.origin, "", error.path, Effect::kRefused, error.message});
    for (const YamlNode& document : documents_.back()) collect(Item(document, ""), file.name);
  }

  Imported finish() {
    for (const auto& source : sources_) guarded(source, [&] { prepare(source); });
    for (const auto& source : sources_) guarded(source, [&] { add(source); });
    for (const auto& policy : cilium_.finish()) keep(policy);
    for (const auto& policy : calico_.finish(imported_.losses)) keep(policy);
    for (std::size_t i = 0; i < filters_.size(); ++i) {
      try {
        for (auto& object : import_rbac(filters_[i].second, i, filters_[i].first, options_, imported_.losses))
          imported_.objects.push_back(std::move(object));
      } catch (const Refused& refused) {
        Ledger(filters_[i].first, "RBAC filter", imported_.losses)
            .add(refused.at, Effect::kRefused, refused.message);
      }
    }
    std::stable_sort(imported_.losses.begin(), imported_.losses.end(), [&](const Loss& a, const Loss& b) {
      const auto key = [&](const Loss& loss) {
        return std::tuple(std::find(files_.begin(), files_.end(), loss.origin.file), loss.origin.line,
                          loss.origin.column);
      };
      return key(a) < key(b);
    });
    return std::move(imported_);
  }

 private:
  void refuse(const Item& at, const std::string& file, const std::string& object, std::string message) {
    Ledger(file, object, imported_.losses).add(at, Effect::kRefused, std::move(message));
  }

  template <typename Read>
  void guarded(const Original& source, const Read& read) {
    try {
      read();
    } catch (const Refused& refused) {
      refuse(refused.at, source.file, source.words(), refused.message);
    }
  }

  void collect(const Item& document, const std::string& file) {
    try {
      if (!document) return;
      if (document.is_mapping() && document["kind"]) return collect_object(document, file, {}, {});
      const auto filters = find_rbac_filters(document);
      for (const auto& filter : filters) filters_.emplace_back(file, filter);
      if (filters.empty())
        refuse(document, file, "", "found neither an object with a kind nor an RBAC filter of Envoy");
    } catch (const Refused& refused) {
      refuse(refused.at, file, "", refused.message);
    }
  }

  /// An item of a list of one kind may leave it and the version to the list.
  void collect_object(const Item& object, const std::string& file, const std::string& api_version,
                      const std::string& kind) {
    Original source{file, api_version, kind, "", "", object, object["spec"]};
    if (const Item named = object["apiVersion"]) source.api_version = named.text();
    if (const Item named = object["kind"]) source.kind = named.text();
    if (source.kind.ends_with("List") && object["items"].is_list()) {
      const std::string item_kind = source.kind.substr(0, source.kind.size() - 4);
      for (const auto& item : object["items"].items())
        if (item_kind.empty() || !item.is_mapping())
          collect(item, file);
        else
          collect_object(item, file, source.api_version, item_kind);
      return;
    }
    source.name = object["metadata"]["name"].text();
    source.namespace_name = object["metadata"]["namespace"].text();
    sources_.push_back(std::move(source));
  }

  static bool is_calico(const Original& source) {
    return source.api_version == "projectcalico.org/v3" || source.api_version == "crd.projectcalico.org/v1";
  }
  static bool is_cilium(const Original& source) {
    return source.api_version == "cilium.io/v2" || source.api_version == "cilium.io/v2alpha1";
  }

  /// A misspelt spec would leave a policy that says nothing, a misspelt namespace one that is of another.
  static void check_fields(const Original& source) {
    if (is_cilium(source))
      source.root.refuse_besides({"apiVersion", "kind", "metadata", "spec", "specs", "status"});
    else
      source.root.refuse_besides({"apiVersion", "kind", "metadata", "spec", "status"});
    source.root["metadata"].refuse_besides(
        {"name", "namespace", "labels", "annotations", "uid", "resourceVersion", "generation", "generateName",
         "selfLink", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "finalizers",
         "managedFields", "ownerReferences"});
  }

  /// What policies refer to.
  void prepare(const Original& source) {
    if (source.kind == "Namespace" && source.api_version == "v1") calico_.add_namespace(source);
    if (is_cilium(source) && source.kind == "CiliumCIDRGroup") {
      check_fields(source);
      cilium_.add_group(source);
    }
    if (!is_calico(source)) return;
    if (source.kind == "Tier") {
      check_fields(source);
      calico_.add_tier(source);
    }
    if (source.kind == "GlobalNetworkSet" || source.kind == "NetworkSet") {
      Original set = source;
      check_names(set, source.kind == "NetworkSet");
      calico_.add_set(set);
    }
  }

  void add(const Original& found) {
    Original source = found;
    if (is_cilium(source)) {
      const bool namespaced = source.kind == "CiliumNetworkPolicy";
      if (namespaced || source.kind == "CiliumClusterwideNetworkPolicy") {
        check_names(source, namespaced);
        return cilium_.add(source, imported_.losses);
      }
      if (source.kind == "CiliumCIDRGroup") return;
      return other(source);
    }
    if (is_calico(source)) {
      const bool namespaced = source.kind == "NetworkPolicy";
      if (namespaced || source.kind == "GlobalNetworkPolicy") {
        check_names(source, namespaced);
        // Where Calico keeps its policies in the API server, their names begin with their tier's.
        const std::string tier = source.spec["tier"].text();
        const std::string prefix = (tier.empty() ? "default" : tier) + ".";
        if (source.name.starts_with(prefix)) source.name.erase(0, prefix.size());
        return calico_.add(source);
      }
      if (source.kind == "Tier" || source.kind == "GlobalNetworkSet" || source.kind == "NetworkSet") return;
      return other(source);
    }
    const bool ours = is_policy({source.api_version, source.kind, {}, {}, {}});
    if (ours)
      Ledger(source.file, source.words(), imported_.losses)
          .add(source.root, Effect::kNone,
               "found an object that is read as it is: keep it beside the result");
    else if (source.api_version.find("cilium") != std::string::npos ||
             source.api_version.find("calico") != std::string::npos ||
             source.kind.find("Policy") != std::string::npos)
      other(source);
  }

  void other(const Original& source) {
    if (std::find(std::begin(kPassedOver), std::end(kPassedOver), source.kind) != std::end(kPassedOver))
      return;
    refuse(source.root, source.file, source.words(),
           "found " + quoted(source.api_version) + " " + quoted(source.kind) + ", which is not known here");
  }

  static void check_names(Original& source, bool namespaced) {
    check_fields(source);
    const Item metadata = source.root["metadata"];
    constexpr std::size_t kNameMax = 220;  // what is made of it bears more
    if (wrong_dns_subdomain(source.name) || source.name.size() > kNameMax)
      throw Refused{metadata["name"], "found no name of an object"};
    if (namespaced && source.namespace_name.empty()) source.namespace_name = "default";
    if (!namespaced && !source.namespace_name.empty())
      throw Refused{metadata["namespace"],
                    "found a namespace, expected none: this kind is of the whole cluster"};
    if (namespaced && wrong_dns_label(source.namespace_name))
      throw Refused{metadata["namespace"], "found no name of a namespace"};
  }

  /// Two kinds of objects may have had one name.
  void keep(Segmentation policy) {
    const std::string name = policy.name;
    for (std::size_t i = 2; !taken_.emplace(policy.namespace_name, policy.name).second; ++i)
      policy.name = name + "-" + std::to_string(i);
    imported_.objects.push_back(write(policy));
  }

  const Options& options_;
  std::deque<std::vector<YamlNode>> documents_;  // what items point into
  std::vector<std::string> files_;
  std::vector<Original> sources_;
  std::vector<std::pair<std::string, Item>> filters_;
  CiliumImport cilium_;
  CalicoImport calico_;
  std::set<std::pair<std::string, std::string>> taken_;
  Imported imported_;
};

}  // namespace

Imported import_files(std::span<const File> files, const Options& options) {
  Importer importer(options);
  for (const auto& file : files) importer.read(file);
  return importer.finish();
}

std::string to_yaml(const Imported& imported) {
  std::string text;
  for (const auto& object : imported.objects) text += (text.empty() ? "" : "---\n") + object.text;
  return text;
}

std::string_view name(Effect effect) {
  constexpr std::string_view kNames[] = {"none", "stricter", "refused"};
  return kNames[static_cast<std::size_t>(effect)];
}

std::string format(const Loss& loss) {
  std::string text = loss.origin.file;
  if (loss.origin.line != 0)
    text += ":" + std::to_string(loss.origin.line) + ":" + std::to_string(loss.origin.column);
  if (!loss.object.empty()) text += ": " + loss.object;
  if (!loss.path.empty()) text += ": " + loss.path;
  return text + ": " + std::string(name(loss.effect)) + ": " + loss.message;
}

}  // namespace bulkhead::policies::imports
