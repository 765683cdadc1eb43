#include "controlplane/source/static_file.h"

#include <openssl/sha.h>

#include <algorithm>
#include <map>
#include <set>

#include "controlplane/config/interface_fields.h"
#include "policies/load/fields.h"
#include "policies/load/load.h"

namespace bulkhead::source {
namespace {

using policies::Fields;
using policies::Report;
using policies::Value;

constexpr char kNamespaceNameLabel[] =
    "kubernetes.io/metadata.name";  // Kubernetes sets it on every namespace

enum class Kind { kNone, kTap, kVeth, kEthdev };

/// What may be there only once in the file, and where it was first.
class Reader {
 public:
  Reader(Report& report, const StaticOptions& options) : report_(report), options_(options) {}

  void read(const policies::YamlNode& document) {
    Fields root{Value{document, report_}};
    for (const Value& item : root.optional("namespaces").list()) read_namespace(item);
    const auto items = root.required("endpoints").list();
    if (items.size() > options_.endpoints_max) {
      root.value().fail("found " + std::to_string(items.size()) + " endpoints, expected at most " +
                        std::to_string(options_.endpoints_max) + " (limits.endpoints_max)");
      return;
    }
    for (const Value& item : items) read_endpoint(item);
  }

  Snapshot take() {
    for (auto& [name, labels] : namespaces_) {
      labels[kNamespaceNameLabel] = name;
      snapshot_.namespaces.push_back({name, labels});
    }
    return std::move(snapshot_);
  }

 private:
  struct Written {
    policies::AddressBytes address;
    std::optional<std::uint8_t> prefix_bits;
  };

  /// Reports where the same thing was said before.
  void once(std::map<std::string, std::string>& seen, const std::string& key, const Value& value,
            const std::string& what) {
    const auto origin = value.origin();
    const std::string here = "line " + std::to_string(origin.line);
    const auto [first, fresh] = seen.emplace(key, here);
    if (!fresh) value.fail(what + " is already taken in " + first->second);
  }

  std::string dns_label(const Value& value) {
    const auto text = value.nonempty_text();
    if (!text) return {};
    if (const auto wrong = policies::wrong_dns_label(*text)) value.fail_expected(*wrong);
    return *text;
  }

  void read_namespace(const Value& item) {
    Fields fields = item.fields();
    const Value name = fields.required("name");
    const std::string text = dns_label(name);
    const auto labels = fields.optional("labels").labels().value_or(policies::Labels{});
    if (text.empty()) return;
    once(names_, "namespace " + text, name, "namespace " + text);
    namespaces_[text] = labels;
  }

  void read_endpoint(const Value& item) {
    Fields fields = item.fields();
    Described described;
    policies::Endpoint& endpoint = described.endpoint;
    const Value name = fields.required("name");
    if (const auto text = name.nonempty_text()) {
      if (const auto wrong = policies::wrong_dns_subdomain(*text)) name.fail_expected(*wrong);
      endpoint.name = *text;
    }
    const Value space = fields.optional("namespace");
    endpoint.namespace_name = space ? dns_label(space) : "default";
    endpoint.id = "static/" + endpoint.namespace_name + "/" + endpoint.name;
    endpoint.labels = fields.optional("labels").labels().value_or(policies::Labels{});
    endpoint.ports = fields.optional("ports").named_ports().value_or(std::vector<policies::NamedPort>{});
    endpoint.kubernetes = fields.optional("kubernetes").boolean().value_or(false);
    const Value account = fields.optional("serviceAccount");
    if (const auto text = account.nonempty_text()) {
      if (const auto wrong = policies::wrong_dns_subdomain(*text)) account.fail_expected(*wrong);
      endpoint.service_account = *text;
    }
    std::vector<Written> written;
    for (const Value& value : fields.optional("addresses").list()) {
      const auto address = config::interface_address(value);
      if (!address) continue;
      const std::string text = policies::format(address->address);
      once(addresses_, text, value, "address " + text);
      written.push_back({address->address, address->prefix_bits});
      endpoint.addresses.push_back(address->address);
    }
    if (const Value port = fields.optional("port")) described.port = read_port(port, endpoint, written);
    if (endpoint.name.empty()) return;
    once(names_, endpoint.id, name, "endpoint " + endpoint.namespace_name + "/" + endpoint.name);
    namespaces_.try_emplace(endpoint.namespace_name);
    snapshot_.endpoints.push_back(std::move(described));
  }

  std::optional<Port> read_port(const Value& value, const policies::Endpoint& endpoint,
                                const std::vector<Written>& written) {
    Fields fields = value.fields();
    if (!fields.valid()) return std::nullopt;
    const auto kind = fields.required("kind").choice<Kind>(
        {{"tap", Kind::kTap}, {"veth", Kind::kVeth}, {"ethdev", Kind::kEthdev}, {"none", Kind::kNone}});
    Port port;
    port.mac = fields.optional("mac").mac();
    if (port.mac && (port.mac->front() & 1) != 0) {
      fields.optional("mac").fail("found a group address, expected the address of one interface");
    }
    port.mtu = config::mtu(fields.optional("mtu"));
    const Value interface = fields.optional("interface");
    port.interface_name = config::interface_name(interface).value_or("");
    port.netns_path = read_namespace_path(fields);
    const Value device = fields.optional("device");
    port.device = device.nonempty_text().value_or("");
    const auto prefix = fields.optional("prefix").integer(1, 128);
    if (!kind || *kind == Kind::kNone) return std::nullopt;

    if (*kind != Kind::kEthdev && !interface) fields.required("interface");
    if (*kind != Kind::kEthdev && device) device.fail("only a port of kind ethdev has a device");
    if (*kind == Kind::kEthdev) check_ethdev(fields, interface, device, port);
    if (*kind == Kind::kTap) port.kind = abi::PortKind::kTap;
    if (*kind == Kind::kVeth) port.kind = abi::PortKind::kVeth;
    if (*kind == Kind::kEthdev) port.kind = abi::PortKind::kEthdev;
    if (endpoint.addresses.empty()) value.fail("a port needs an endpoint with at least one address");

    const std::string place = *kind == Kind::kEthdev ? "device " + port.device
                              : *kind == Kind::kTap
                                  ? "interface " + port.interface_name + " in " +
                                        (port.netns_path.empty() ? "the node's namespace" : port.netns_path)
                                  : "interface " + port.interface_name + " in the node's namespace";
    once(places_, place, value, place);
    if (!port.mac && *kind == Kind::kTap) port.mac = derived_mac(endpoint.id);
    for (const Written& address : written) {
      port.addresses.push_back({address.address, prefix_of(address, prefix, fields)});
    }
    return port;
  }

  std::string read_namespace_path(Fields& fields) {
    const Value netns = fields.optional("netns");
    const Value pid = fields.optional("pid");
    std::string path = netns.nonempty_text().value_or("");
    if (!path.empty() && path.front() != '/') {
      netns.fail("found " + policies::quoted(path) + ", expected an absolute path such as /run/netns/web");
    }
    if (netns && pid) pid.fail("`netns` and `pid` both say where the port goes, expected one of them");
    if (const auto number = pid.integer(1, 1 << 22)) path = "/proc/" + std::to_string(*number) + "/ns/net";
    if (path.size() >= abi::kDeviceBytes) {
      netns.fail("longer than " + std::to_string(abi::kDeviceBytes - 1) + " bytes");
    }
    return path;
  }

  static void check_ethdev(Fields& fields, const Value& interface, const Value& device, const Port& port) {
    if (interface) interface.fail("a port of kind ethdev has a device, not an interface");
    if (!device) fields.required("device");
    if (port.device.size() >= abi::kDeviceBytes) {
      device.fail("longer than " + std::to_string(abi::kDeviceBytes - 1) + " bytes");
    }
    if (!port.mac) {
      fields.value().fail("a port of kind ethdev needs the `mac` of the endpoint behind it");
    }
  }

  std::uint8_t prefix_of(const Written& written, std::optional<std::int64_t> prefix, Fields& fields) {
    const bool v4 = policies::is_v4(written.address);
    if (written.prefix_bits) return *written.prefix_bits;
    if (prefix) {
      if (v4 && *prefix > 32)
        fields.optional("prefix").fail("found " + std::to_string(*prefix) +
                                       ", expected at most the 32 bits of an IPv4 address");
      return static_cast<std::uint8_t>(std::min<std::int64_t>(*prefix, v4 ? 32 : 128));
    }
    for (const auto& host : options_.host_addresses) {
      if (policies::is_v4(host.address) != v4) continue;
      const int shift = v4 ? 96 : 0;
      policies::AddressBlock block{host.address, static_cast<std::uint8_t>(host.prefix_bits + shift)};
      for (int bit = block.prefix_bits; bit < 128; ++bit) {
        block.base[static_cast<std::size_t>(bit / 8)] &= static_cast<std::uint8_t>(~(0x80 >> (bit % 8)));
      }
      if (block.contains(written.address)) return host.prefix_bits;
    }
    return v4 ? 32 : 128;
  }

  Report& report_;
  const StaticOptions& options_;
  std::map<std::string, policies::Labels> namespaces_;
  std::map<std::string, std::string> names_, addresses_, places_;
  Snapshot snapshot_;
};

}  // namespace

std::variant<Snapshot, std::vector<policies::Error>> parse_static(const std::string& file,
                                                                  std::string_view text,
                                                                  const StaticOptions& options) {
  Report report(file);
  const auto documents = policies::parse_documents(text, report);
  if (documents.size() > 1) {
    report.add(documents[1].line, documents[1].column, "", "found a second document, expected one");
  }
  const bool empty = documents.empty() || documents[0].kind == policies::NodeKind::kNull;
  if (empty && report.empty()) {
    // An editor's truncated file must not read as "there are no endpoints".
    report.add(1, 1, "", "the file is empty, expected `endpoints:` (write `endpoints: []` for none)");
  }
  Reader reader(report, options);
  if (report.empty()) reader.read(documents[0]);
  if (!report.empty()) return report.errors();
  return reader.take();
}

bool StaticFile::reload() {
  Report report(path_);
  policies::Limits limits;
  limits.file_bytes_max = options_.file_bytes_max;
  auto text = policies::read_file(path_, report, limits);
  if (!text) {
    health_.errors = report.errors();
    return false;
  }
  const bool same = health_.synced && *text == text_;
  if (!same) {
    auto parsed = parse_static(path_, *text, options_);
    if (auto* errors = std::get_if<std::vector<policies::Error>>(&parsed)) {
      health_.errors = std::move(*errors);
      return false;
    }
    snapshot_ = std::move(std::get<Snapshot>(parsed));
    text_ = std::move(*text);
  }
  health_.synced = true;
  health_.read_at = std::chrono::steady_clock::now();
  health_.errors.clear();
  return !same;
}

policies::MacBytes derived_mac(std::string_view endpoint_id) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(endpoint_id.data()), endpoint_id.size(), digest);
  policies::MacBytes mac;
  std::copy_n(digest, mac.size(), mac.begin());
  mac[0] = static_cast<std::uint8_t>((mac[0] | 0x02) & ~0x01);
  return mac;
}

}  // namespace bulkhead::source
