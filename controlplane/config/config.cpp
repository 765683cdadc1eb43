#include "controlplane/config/config.h"

#include <unistd.h>

#include <filesystem>

#include "controlplane/config/interface_fields.h"
#include "policies/load/fields.h"
#include "policies/load/load.h"

namespace bulkhead::config {
namespace {

using policies::Fields;
using policies::Report;
using policies::Value;

constexpr std::size_t kSocketPathMax = 107;  // sun_path of unix(7), less its end
constexpr std::string_view kLongestSocket = "/controlplane.sock";

std::string host_name() {
  char name[256] = {};
  if (::gethostname(name, sizeof name - 1) != 0 || name[0] == '\0') return "localhost";
  return name;
}

std::string path_of(const Value& value, const std::string& base, std::string otherwise) {
  const auto text = value.nonempty_text();
  std::filesystem::path path = text ? *text : std::move(otherwise);
  if (path.is_relative()) path = std::filesystem::path(base) / path;
  return path.lexically_normal().string();
}

/// At most one address of each family.
void pair_of(const Value& list, std::optional<policies::AddressBytes>& v4,
             std::optional<policies::AddressBytes>& v6) {
  for (const Value& item : list.list()) {
    const auto address = item.address();
    if (!address) continue;
    auto& slot = policies::is_v4(*address) ? v4 : v6;
    if (slot) {
      item.fail("found a second address of its family, expected one IPv4 and one IPv6 address at most");
    } else {
      slot = address;
    }
  }
}

void read_node(Value value, Node& node) {
  node.name = host_name();
  if (!value) return;
  Fields fields = value.fields();
  const Value name = fields.optional("name");
  if (const auto text = name.nonempty_text()) {
    if (const auto wrong = policies::wrong_dns_subdomain(*text)) name.fail_expected(*wrong);
    node.name = *text;
  }
  node.posture.action =
      fields.optional("posture")
          .choice<policies::Action>({{"deny", policies::Action::kDeny}, {"allow", policies::Action::kAllow}})
          .value_or(policies::Action::kDeny);
  node.posture.strict = fields.optional("strict").boolean().value_or(false);
  pair_of(fields.optional("gateways"), node.gateway_v4, node.gateway_v6);
}

void read_mesh(Value value, policies::Mesh& mesh) {
  if (!value) return;
  Fields fields = value.fields();
  const Value domain = fields.optional("trust_domain"), root = fields.optional("root_namespace");
  if (const auto text = domain.nonempty_text()) {
    if (const auto wrong = policies::wrong_dns_subdomain(*text)) domain.fail_expected(*wrong);
    mesh.trust_domain = *text;
  }
  if (const auto text = root.nonempty_text()) {
    if (const auto wrong = policies::wrong_dns_label(*text)) root.fail_expected(*wrong);
    mesh.root_namespace = *text;
  }
}

void read_host(Value value, Host& host) {
  if (!value) return;
  Fields fields = value.fields();
  if (const auto name = interface_name(fields.optional("interface"))) host.interface_name = *name;
  host.mtu = mtu(fields.optional("mtu"));
  for (const Value& item : fields.optional("addresses").list()) {
    const auto address = interface_address(item);
    if (!address) continue;
    if (!address->prefix_bits) {
      item.fail("found an address without a prefix length, expected one such as 10.88.0.1/16");
      continue;
    }
    host.addresses.push_back({address->address, *address->prefix_bits});
  }
}

std::optional<Uplink> read_uplink(Value value) {
  if (!value) return std::nullopt;
  Uplink uplink;
  Fields fields = value.fields();
  const Value device = fields.required("device");
  uplink.device = device.nonempty_text().value_or("");
  if (uplink.device.size() > 127) device.fail("longer than 127 bytes");
  uplink.vlan = static_cast<std::uint16_t>(fields.optional("vlan").integer(0, 4094).value_or(0));
  uplink.mtu = mtu(fields.optional("mtu"));
  pair_of(fields.optional("gateways"), uplink.gateway_v4, uplink.gateway_v6);
  const Value addresses = fields.optional("addresses");
  pair_of(addresses, uplink.address_v4, uplink.address_v6);
  // Without an address of ours there the data plane could ask for nobody's link-layer address.
  if ((uplink.gateway_v4 && !uplink.address_v4) || (uplink.gateway_v6 && !uplink.address_v6)) {
    fields.value().fail("a gateway needs an address of the same family in `addresses`");
  }
  return uplink;
}

}  // namespace

std::variant<Config, std::vector<policies::Error>> parse(const std::string& path, std::string_view text) {
  Report report(path);
  Config config;
  const std::string base = std::filesystem::absolute(path).parent_path().string();
  const auto documents = policies::parse_documents(text, report);
  if (documents.size() > 1) {
    report.add(documents[1].line, documents[1].column, "", "found a second document, expected one");
  }
  static const policies::YamlNode kEmpty{};
  const policies::YamlNode& document = documents.empty() ? kEmpty : documents[0];
  if (document.kind == policies::NodeKind::kNull && report.empty()) {
    report.add(1, 1, "", "the file is empty, expected the control plane's configuration");
  }
  if (report.empty()) {
    Fields root{Value{document, report}};
    const Value run_directory = root.optional("run_directory");
    config.run_directory = path_of(run_directory, base, config.run_directory);
    config.state_directory = path_of(root.optional("state_directory"), base, config.state_directory);
    if (config.run_directory.size() + kLongestSocket.size() > kSocketPathMax) {
      run_directory.fail(
          "found a path of " + std::to_string(config.run_directory.size()) + " bytes, expected at most " +
          std::to_string(kSocketPathMax - kLongestSocket.size()) + ": sockets have no longer ones");
    }
    Value static_path;
    if (const Value sources = root.optional("sources")) {
      Fields kinds = sources.fields();
      if (const Value static_source = kinds.optional("static")) {
        static_path = static_source.fields().required("path");
      }
    }
    config.endpoints_path = path_of(static_path, base, "endpoints.yaml");
    Value directory;
    if (const Value policies = root.optional("policies")) directory = policies.fields().required("directory");
    config.policies_directory = path_of(directory, base, "policies");
    read_mesh(root.optional("mesh"), config.mesh);
    read_node(root.optional("node"), config.node);
    read_host(root.optional("host"), config.host);
    config.uplink = read_uplink(root.optional("uplink"));
    config.image_bytes_max = root.optional("image_bytes_max")
                                 .bytes(std::uint64_t{64} << 10, std::uint64_t{1} << 30)
                                 .value_or(config.image_bytes_max);
    config.debounce_ms =
        static_cast<std::uint32_t>(root.optional("debounce_ms").integer(0, 10'000).value_or(20));
    if (const Value limits = root.optional("limits")) {
      Fields fields = limits.fields();
      config.endpoints_max = static_cast<std::uint32_t>(
          fields.optional("endpoints_max").integer(1, 1'000'000).value_or(config.endpoints_max));
      config.file_bytes_max = fields.optional("file_bytes_max")
                                  .bytes(1024, std::uint64_t{1} << 30)
                                  .value_or(config.file_bytes_max);
    }
  }
  if (!report.empty()) return report.errors();
  return config;
}

std::variant<Config, std::vector<policies::Error>> load(const std::string& path) {
  Report report(path);
  const auto text = policies::read_file(path, report);
  if (!text) return report.errors();
  return parse(path, *text);
}

}  // namespace bulkhead::config
