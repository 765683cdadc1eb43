#include "controlplane/config/config.h"

#include <gtest/gtest.h>

namespace bulkhead::config {
namespace {

std::string errors_of(std::string_view text) {
  const auto result = parse("node.yaml", text);
  std::string all;
  if (const auto* errors = std::get_if<std::vector<policies::Error>>(&result)) {
    for (const auto& error : *errors) all += format(error) + "\n";
  }
  return all;
}

Config good(std::string_view text) {
  auto result = parse("/etc/bulkhead/node.yaml", text);
  EXPECT_EQ(errors_of(text), "");
  return std::holds_alternative<Config>(result) ? std::get<Config>(result) : Config{};
}

TEST(Config, everything_that_may_be_said_is_read) {
  const Config config = good(R"(
run_directory: /run/other
state_directory: state
sources: {static: {path: who.yaml}}
policies: {directory: /srv/policies}
mesh: {trust_domain: prod.example, root_namespace: mesh}
node: {name: node-7, posture: allow, strict: true, gateways: [10.88.0.1, "fd88::1"]}
host: {interface: bulk0, addresses: [10.88.0.1/16, "fd88::1/64"], mtu: 1400}
uplink: {device: "0000:01:00.0", vlan: 100, gateways: [192.0.2.1], addresses: [192.0.2.10]}
image_bytes_max: 32MiB
debounce_ms: 5
limits: {endpoints_max: 12, file_bytes_max: 1MiB}
)");
  EXPECT_EQ(config.run_directory, "/run/other");
  EXPECT_EQ(config.state_directory, "/etc/bulkhead/state");
  EXPECT_EQ(config.endpoints_path, "/etc/bulkhead/who.yaml");
  EXPECT_EQ(config.policies_directory, "/srv/policies");
  EXPECT_EQ(config.mesh, (policies::Mesh{"prod.example", "mesh"}));
  EXPECT_EQ(config.node.name, "node-7");
  EXPECT_EQ(config.node.posture.action, policies::Action::kAllow);
  EXPECT_TRUE(config.node.posture.strict);
  EXPECT_EQ(policies::format(*config.node.gateway_v6), "fd88::1");
  ASSERT_EQ(config.host.addresses.size(), 2u);
  EXPECT_EQ(config.host.addresses[0].prefix_bits, 16);
  EXPECT_EQ(config.host.addresses[1].prefix_bits, 64);
  EXPECT_EQ(config.host.mtu, 1400u);
  ASSERT_TRUE(config.uplink);
  EXPECT_EQ(config.uplink->vlan, 100);
  EXPECT_EQ(config.image_bytes_max, 32u << 20);
  EXPECT_EQ(config.debounce_ms, 5u);
  EXPECT_EQ(config.endpoints_max, 12u);
  EXPECT_EQ(config.file_bytes_max, 1u << 20);
}

TEST(Config, files_lie_beside_the_configuration_by_default) {
  const Config config = good("node: {name: node-7}\n");
  EXPECT_EQ(config.endpoints_path, "/etc/bulkhead/endpoints.yaml");
  EXPECT_EQ(config.policies_directory, "/etc/bulkhead/policies");
  EXPECT_EQ(config.run_directory, "/run/bulkhead");
  EXPECT_EQ(config.node.posture.action, policies::Action::kDeny);
}

TEST(Config, an_unknown_field_is_refused_with_the_nearest_spelling) {
  EXPECT_EQ(
      errors_of("node: {strict: true, postures: deny}\n"),
      "node.yaml:1:22: node.postures: found the unknown field \"postures\"; did you mean \"posture\"?\n");
}

TEST(Config, a_wrong_word_is_refused_with_the_nearest_spelling) {
  EXPECT_EQ(
      errors_of("node: {posture: alow}\n"),
      "node.yaml:1:17: node.posture: found \"alow\", expected deny or allow; did you mean \"allow\"?\n");
}

TEST(Config, an_empty_file_is_refused) {
  EXPECT_EQ(errors_of(""), "node.yaml:1:1: the file is empty, expected the control plane's configuration\n");
}

TEST(Config, a_run_directory_too_long_for_sockets_is_refused) {
  const std::string path = "/run/" + std::string(100, 'a');
  EXPECT_EQ(errors_of("node: {}\nrun_directory: " + path + "\n"),
            "node.yaml:2:16: run_directory: found a path of 105 bytes, expected at most 89: sockets have no "
            "longer ones\n");
}

TEST(Config, every_error_is_reported_at_once) {
  EXPECT_EQ(
      errors_of("host: {addresses: [10.88.0.1, 10.88.0.2/33], interface: \"a b\"}\n"
                "node: {gateways: [10.0.0.1, 10.0.0.2]}\n"),
      "node.yaml:2:29: node.gateways[1]: found a second address of its family, expected one IPv4 and one "
      "IPv6 address at most\n"
      "node.yaml:1:57: host.interface: found \"a b\", expected an interface name: 1 to 15 bytes without "
      "'/', ':' or spaces\n"
      "node.yaml:1:20: host.addresses[0]: found an address without a prefix length, expected one such as "
      "10.88.0.1/16\n"
      "node.yaml:1:31: host.addresses[1]: found \"10.88.0.2/33\", expected a prefix length of 1 to 32\n");
}

TEST(Config, a_gateway_of_the_uplink_needs_an_address_there) {
  EXPECT_EQ(errors_of("uplink: {device: d, gateways: [192.0.2.1]}\n"),
            "node.yaml:1:9: uplink: a gateway needs an address of the same family in `addresses`\n");
}

TEST(Config, a_missing_file_is_named) {
  const auto result = load("/nonexistent/node.yaml");
  const auto* errors = std::get_if<std::vector<policies::Error>>(&result);
  ASSERT_NE(errors, nullptr);
  EXPECT_NE(format(errors->at(0)).find("/nonexistent/node.yaml"), std::string::npos);
}

}  // namespace
}  // namespace bulkhead::config
