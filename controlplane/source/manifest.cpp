#include "controlplane/source/manifest.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

namespace bulkhead::source {
namespace {

using namespace policies;

constexpr std::string_view kCoreApi = "v1";
constexpr char kNameLabel[] = "kubernetes.io/metadata.name";
constexpr std::array<std::string_view, 3> kClusterKinds = {"Namespace", "Node", "Pod"};

/// Whether one letter too many, too few, wrong or swapped, other cases or underscores make one word of the other.
bool is_slip(std::string_view written, std::string_view meant) {
  std::string bare;
  for (const char c : written)
    if (c != '_' && c != '-') bare += c;
  if (bare.size() + 1 < meant.size() || bare.size() > meant.size() + 1) return false;
  const auto same = [](char a, char b) { return (a | 0x20) == (b | 0x20); };
  const auto [left, right] = std::mismatch(bare.begin(), bare.end(), meant.begin(), meant.end(), same);
  const std::string_view a(left, bare.end()), b(right, meant.end());
  const auto ends_same = [&](std::string_view x, std::string_view y) {
    return std::equal(x.begin(), x.end(), y.begin(), y.end(), same);
  };
  const auto behind = [](std::string_view text, std::size_t count) {
    return text.substr(std::min(text.size(), count));
  };
  return ends_same(behind(a, 1), b) || ends_same(a, behind(b, 1)) || ends_same(behind(a, 1), behind(b, 1)) ||
         (a.size() > 1 && b.size() > 1 && same(a[0], b[1]) && same(a[1], b[0]) &&
          ends_same(a.substr(2), b.substr(2)));
}

/// Reads what it is asked for and lets everything else be, but for slips of the pen: without them, labels or an address
/// would be lost unseen.
class Lenient {
 public:
  explicit Lenient(const Value& value) : value_(value), fields_(value) { fields_.accept_all(); }
  ~Lenient() {
    if (!value_.is_mapping()) return;
    for (const auto& member : value_.node()->members)
      if (std::find(asked_.begin(), asked_.end(), member.key.scalar) == asked_.end())
        check(member.key.scalar);
  }
  Lenient(const Lenient&) = delete;
  Lenient& operator=(const Lenient&) = delete;

  Value operator[](std::string_view name) {
    asked_.push_back(name);
    return fields_.optional(name);
  }
  Value required(std::string_view name) {
    asked_.push_back(name);
    return fields_.required(name);
  }

 private:
  void check(const std::string& key) const {
    const auto meant = std::find_if(asked_.begin(), asked_.end(), [&](const auto name) {
      return is_slip(key, name) && !fields_.has(name);
    });
    if (meant == asked_.end()) return;
    for (const auto& entry : value_.entries())
      if (entry.key == key)
        entry.key_value.fail("found the unknown field " + quoted(key) + "; did you mean " + quoted(*meant) +
                             "?");
  }

  Value value_;
  Fields fields_;
  std::vector<std::string_view> asked_;
};

/// The addresses in a list of {ip: ...}: one a family, or a few.
std::vector<AddressBytes> read_ips(const Value& list) {
  constexpr std::size_t kAddressesMax = 16;
  std::vector<AddressBytes> addresses;
  const auto items = list.list();
  if (items.size() > kAddressesMax) {
    list.fail("found " + std::to_string(items.size()) + " addresses, expected at most " +
              std::to_string(kAddressesMax));
    return addresses;
  }
  for (const auto& item : items)
    if (const auto address = Lenient(item).required("ip").address()) addresses.push_back(*address);
  return addresses;
}

/// Dual-stack lists came after the single field and repeat it. The primary address comes first.
std::vector<AddressBytes> read_ips(Lenient& status, std::string_view list, std::string_view single) {
  std::vector<AddressBytes> addresses = read_ips(status[list]);
  const Value value = status[single];
  const bool written = value && !(value.node()->kind == NodeKind::kScalar && value.node()->scalar.empty());
  if (written)
    if (const auto address = value.address(); address && addresses.empty()) addresses.push_back(*address);
  for (auto at = addresses.begin(); at != addresses.end();)
    at = std::find(addresses.begin(), at, *at) == at ? at + 1 : addresses.erase(at);
  return addresses;
}

/// Whether a pod has ended, and its address is another's. A phase that nobody knows is refused.
bool has_finished(const Value& phase) {
  if (!phase || (phase.node()->kind == NodeKind::kScalar && phase.node()->scalar.empty())) return false;
  return phase
      .choice<bool>(
          {{"Pending", false}, {"Running", false}, {"Unknown", false}, {"Succeeded", true}, {"Failed", true}})
      .value_or(false);
}

void read_ports(const Value& containers, bool only_running_on, std::vector<NamedPort>& ports) {
  for (const auto& item : containers.list()) {
    Lenient container(item);
    if (only_running_on && container["restartPolicy"].text() != "Always") continue;
    for (const auto& port_item : container["ports"].list()) {
      Lenient port(port_item);
      const auto name = port["name"].text();
      if (!name || name->empty()) continue;
      const auto protocol =
          port["protocol"]
              .choice<Protocol>({{"TCP", Protocol::kTcp}, {"UDP", Protocol::kUdp}, {"SCTP", Protocol::kSctp}})
              .value_or(Protocol::kTcp);
      if (const auto number = port.required("containerPort").port())
        ports.push_back({*name, protocol, *number});
    }
  }
}

class Reader {
 public:
  explicit Reader(const LoadOptions& options) : options_(options) {}

  void read_file(const File& file) {
    Report report(file.name);
    read_text(file.text, report);
    take(report);
  }

  void take(const Report& report) {
    result_.errors.insert(result_.errors.end(), report.errors().begin(), report.errors().end());
    result_.warnings.insert(result_.warnings.end(), report.warnings().begin(), report.warnings().end());
    references_.insert(references_.end(), report.references().begin(), report.references().end());
  }

  void read_text(const std::string& text, Report& report) {
    read_documents(text, report, options_.limits, [&](const YamlNode& document) {
      for (const auto& object : objects_of(document, report)) read_object(object);
    });
  }

  Manifests finish() {
    settle_addresses();
    add_mentioned_namespaces();
    add_node_addresses();
    settle_set(policies_, references_, result_.errors);
    result_.policies = std::move(policies_);
    if (!result_.ok()) {
      result_.cluster = {};
      result_.policies = {};
    }
    return std::move(result_);
  }

 private:
  struct PodFacts {
    Origin origin;
    bool terminating = false;
    std::vector<AddressBytes> host_addresses;
  };

  void read_object(const Object& object) {
    if (is_policy(object)) {
      read_policy(object, options_.mesh, policies_);
      return;
    }
    const bool ours =
        std::find(kClusterKinds.begin(), kClusterKinds.end(), object.kind) != kClusterKinds.end();
    if (!ours) {
      if (refuse_other(object, options_.skip_other_kinds)) return;
      if (const std::string hint = did_you_mean(object.kind, kClusterKinds); !hint.empty())
        object.kind_value.fail("found the kind " + quoted(object.kind) + ", expected " +
                               one_of(kClusterKinds) + hint);
      return;
    }
    if (object.api_version != kCoreApi) {
      object.api_version_value.fail_expected("v1 for " + object.kind);
      return;
    }
    if (object.kind == "Namespace") read_namespace(object.value);
    if (object.kind == "Node") read_node(object.value);
    if (object.kind == "Pod") read_pod(object.value);
  }

  /// True the first time; reported afterwards.
  bool first(const std::string& kind, const std::string& name, const Value& object) {
    const auto [found, is_new] = seen_.emplace(kind + " " + name, object.origin());
    if (!is_new)
      object.fail("found " + found->first + " a second time, expected it once (also at " +
                  found->second.file + ":" + std::to_string(found->second.line) + ")");
    return is_new;
  }

  void read_namespace(const Value& object) {
    Lenient fields(object);
    Lenient metadata(fields.required("metadata"));
    const auto name = metadata.required("name").nonempty_text();
    if (!name || !first("Namespace", *name, object)) return;
    Namespace made{*name, metadata["labels"].labels().value_or(Labels{})};
    made.labels.insert_or_assign(kNameLabel, *name);  // as the API server does, whatever stands there
    result_.cluster.namespaces.push_back(std::move(made));
  }

  void read_node(const Value& object) {
    Lenient fields(object);
    Lenient metadata(fields.required("metadata"));
    const auto name = metadata.required("name").nonempty_text();
    if (!name || !first("Node", *name, object)) return;
    Node node{*name, metadata["labels"].labels().value_or(Labels{}), {}};
    Lenient status(fields["status"]);
    for (const auto& item : status["addresses"].list()) {
      Lenient entry(item);
      const auto type = entry["type"].text();
      if (type != "InternalIP" && type != "ExternalIP") continue;
      const Value value = entry.required("address");
      const auto address = value.address();
      if (!address) continue;
      const auto [owner, is_new] = node_of_.emplace(*address, *name);
      if (is_new)
        node.addresses.push_back(*address);
      else if (owner->second != *name)
        value.fail("found " + format(*address) + " at node " + owner->second + " too, expected one owner");
    }
    result_.cluster.nodes.push_back(std::move(node));
  }

  void read_pod(const Value& object) {
    Lenient fields(object);
    Lenient metadata(fields.required("metadata"));
    Lenient spec(fields["spec"]);
    Lenient status(fields["status"]);

    Endpoint pod;
    pod.kubernetes = true;
    pod.name = metadata.required("name").nonempty_text().value_or("");
    pod.namespace_name = metadata["namespace"].nonempty_text().value_or("default");
    const std::string full_name = pod.namespace_name + "/" + pod.name;
    if (pod.name.empty() || !first("Pod", full_name, object)) return;
    pod.id = metadata["uid"].text().value_or("");
    if (pod.id.empty()) pod.id = full_name;
    if (!first("Pod with uid", pod.id, object)) return;
    pod.labels = metadata["labels"].labels().value_or(Labels{});
    pod.node = spec["nodeName"].text().value_or("");
    pod.host_network = spec["hostNetwork"].boolean().value_or(false);
    // As the API server fills it in; serviceAccount is its old name.
    pod.service_account =
        spec["serviceAccountName"].text().value_or(spec["serviceAccount"].text().value_or(""));
    if (pod.service_account.empty()) pod.service_account = "default";
    read_ports(spec["containers"], false, pod.ports);
    read_ports(spec["initContainers"], true, pod.ports);
    pod.addresses = read_ips(status, "podIPs", "podIP");
    PodFacts facts{object.origin(), static_cast<bool>(metadata["deletionTimestamp"]),
                   read_ips(status, "hostIPs", "hostIP")};
    mentioned_namespaces_.insert(pod.namespace_name);

    if (has_finished(status["phase"])) {
      result_.finished.push_back(full_name);
      return;
    }
    result_.cluster.endpoints.push_back(std::move(pod));
    facts_.push_back(std::move(facts));
  }

  /// One owner an address: a terminating pod yields to one that is not.
  void settle_addresses() {
    std::map<AddressBytes, std::size_t> owner_of;
    auto& pods = result_.cluster.endpoints;
    for (std::size_t i = 0; i < pods.size(); ++i) {
      if (pods[i].host_network) continue;
      const auto addresses = pods[i].addresses;
      for (const auto& address : addresses) {
        const auto [owner, is_new] = owner_of.emplace(address, i);
        if (is_new) continue;
        const std::size_t other = owner->second;
        if (facts_[i].terminating == facts_[other].terminating) {
          if (++shared_addresses_ > Report::kErrorsMax) continue;
          result_.errors.push_back({facts_[i].origin, "status.podIPs",
                                    "found " + format(address) + " at pod " + pods[other].namespace_name +
                                        "/" + pods[other].name + " too, expected one owner"});
          continue;
        }
        const std::size_t loser = facts_[i].terminating ? i : other;
        std::erase(pods[loser].addresses, address);
        owner->second = loser == i ? other : i;
      }
    }
  }

  void add_mentioned_namespaces() {
    for (const auto& known : result_.cluster.namespaces) mentioned_namespaces_.erase(known.name);
    for (const auto& name : mentioned_namespaces_)
      result_.cluster.namespaces.push_back({name, {{kNameLabel, name}}});
  }

  void add_node_address(const std::string& name, const AddressBytes& address) {
    if (name.empty() || !node_of_.emplace(address, name).second) return;
    auto& nodes = result_.cluster.nodes;
    const auto [number, is_new] = node_numbers_.emplace(name, nodes.size());
    if (is_new) nodes.push_back({name, {}, {}});
    nodes[number->second].addresses.push_back(address);
  }

  void add_node_addresses() {
    auto& pods = result_.cluster.endpoints;
    auto& nodes = result_.cluster.nodes;
    for (std::size_t i = 0; i < nodes.size(); ++i) node_numbers_.emplace(nodes[i].name, i);
    for (std::size_t i = 0; i < pods.size(); ++i) {
      for (const auto& address : facts_[i].host_addresses) add_node_address(pods[i].node, address);
      if (!pods[i].host_network) continue;
      for (const auto& address : pods[i].addresses) add_node_address(pods[i].node, address);
    }
    for (auto& pod : pods) {
      if (!pod.host_network || !pod.addresses.empty()) continue;
      const auto known = node_numbers_.find(pod.node);
      if (known != node_numbers_.end()) pod.addresses = nodes[known->second].addresses;
    }
  }

  const LoadOptions& options_;
  Manifests result_;
  std::vector<PodFacts> facts_;  // one an endpoint
  PolicySet policies_;
  std::vector<Reference> references_;
  std::map<std::string, Origin> seen_;
  std::set<std::string> mentioned_namespaces_;
  std::map<AddressBytes, std::string> node_of_;
  std::map<std::string, std::size_t> node_numbers_;  // once every file is read
  std::size_t shared_addresses_ = 0;
};

}  // namespace

Manifests read_manifests(std::span<const File> files, const LoadOptions& options) {
  Reader reader(options);
  for (const auto& file : files) reader.read_file(file);
  return reader.finish();
}

Manifests read_manifest_paths(std::span<const std::string> paths, const LoadOptions& options) {
  Reader reader(options);
  for (const auto& path : paths) {
    Report report(path);
    if (const auto text = policies::read_file(path, report, options.limits)) reader.read_text(*text, report);
    reader.take(report);
  }
  return reader.finish();
}

}  // namespace bulkhead::source
