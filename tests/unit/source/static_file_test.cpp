#include "controlplane/source/static_file.h"

#include <gtest/gtest.h>

#include <fstream>

namespace bulkhead::source {
namespace {

StaticOptions options() {
  StaticOptions result;
  result.host_addresses = {{*policies::parse_address("10.88.0.1"), 16},
                           {*policies::parse_address("fd88::1"), 64}};
  return result;
}

std::string errors_of(std::string_view text) {
  const auto result = parse_static("e.yaml", text, options());
  std::string all;
  if (const auto* errors = std::get_if<std::vector<policies::Error>>(&result)) {
    for (const auto& error : *errors) all += format(error) + "\n";
  }
  return all;
}

Snapshot good(std::string_view text) {
  auto result = parse_static("e.yaml", text, options());
  EXPECT_EQ(errors_of(text), "");
  return std::holds_alternative<Snapshot>(result) ? std::get<Snapshot>(result) : Snapshot{};
}

TEST(StaticFile, a_whole_endpoint_is_read) {
  const Snapshot snapshot = good(R"(
namespaces:
  - {name: shop, labels: {team: retail}}
endpoints:
  - name: web
    namespace: shop
    labels: {app: web}
    addresses: [10.88.0.10, "fd88::10", 192.0.2.7, 10.88.0.11/24]
    ports: [{name: http, port: 80, protocol: TCP}]
    kubernetes: true
    port: {kind: tap, netns: /run/netns/web, interface: eth0, mac: "02:00:00:00:00:10", mtu: 1400}
)");
  ASSERT_EQ(snapshot.namespaces.size(), 1u);
  EXPECT_EQ(snapshot.namespaces[0].labels.at("team"), "retail");
  EXPECT_EQ(snapshot.namespaces[0].labels.at("kubernetes.io/metadata.name"), "shop");
  ASSERT_EQ(snapshot.endpoints.size(), 1u);
  const policies::Endpoint& endpoint = snapshot.endpoints[0].endpoint;
  EXPECT_EQ(endpoint.id, "static/shop/web");
  EXPECT_EQ(endpoint.ports.at(0).name, "http");
  EXPECT_TRUE(endpoint.kubernetes);
  const Port& port = snapshot.endpoints[0].port.value();
  EXPECT_EQ(port.kind, abi::PortKind::kTap);
  EXPECT_EQ(port.netns_path, "/run/netns/web");
  EXPECT_EQ(port.interface_name, "eth0");
  EXPECT_EQ(policies::format(port.mac.value()), "02:00:00:00:00:10");
  EXPECT_EQ(port.mtu, 1400u);
  ASSERT_EQ(port.addresses.size(), 4u);
  EXPECT_EQ(port.addresses[0].prefix_bits, 16) << "of the host port's network";
  EXPECT_EQ(port.addresses[1].prefix_bits, 64) << "of the host port's network";
  EXPECT_EQ(port.addresses[2].prefix_bits, 32) << "alone: no network of the host port";
  EXPECT_EQ(port.addresses[3].prefix_bits, 24) << "as written";
}

TEST(StaticFile, a_namespace_that_nobody_describes_exists_all_the_same) {
  const Snapshot snapshot = good("endpoints: [{name: a, addresses: [10.0.0.1]}]\n");
  ASSERT_EQ(snapshot.namespaces.size(), 1u);
  EXPECT_EQ(snapshot.namespaces[0].name, "default");
  EXPECT_FALSE(snapshot.endpoints[0].port);
}

TEST(StaticFile, a_process_id_names_its_namespace) {
  const Snapshot snapshot =
      good("endpoints: [{name: a, addresses: [10.0.0.1], port: {kind: tap, pid: 1234, interface: eth0}}]\n");
  EXPECT_EQ(snapshot.endpoints[0].port->netns_path, "/proc/1234/ns/net");
}

TEST(StaticFile, a_derived_mac_is_local_unicast_and_depends_on_the_id_alone) {
  const auto mac = derived_mac("static/shop/web");
  EXPECT_EQ(mac, derived_mac("static/shop/web"));
  EXPECT_NE(mac, derived_mac("static/shop/api"));
  EXPECT_EQ(mac[0] & 3, 2);
}

TEST(StaticFile, an_address_belongs_to_one_endpoint) {
  EXPECT_EQ(errors_of("endpoints:\n"
                      "  - {name: a, addresses: [10.0.0.1]}\n"
                      "  - {name: b, addresses: [10.0.0.1/8]}\n"),
            "e.yaml:3:27: endpoints[1].addresses[0]: address 10.0.0.1 is already taken in line 2\n");
}

TEST(StaticFile, a_name_is_unique_in_its_namespace) {
  EXPECT_EQ(errors_of("endpoints:\n"
                      "  - {name: a, namespace: one}\n"
                      "  - {name: a, namespace: two}\n"
                      "  - {name: a, namespace: one}\n"),
            "e.yaml:4:12: endpoints[2].name: endpoint one/a is already taken in line 2\n");
}

TEST(StaticFile, one_interface_of_one_namespace_serves_one_endpoint) {
  EXPECT_EQ(
      errors_of("endpoints:\n"
                "  - {name: a, addresses: [10.0.0.1], port: {kind: tap, netns: /n, interface: eth0}}\n"
                "  - {name: b, addresses: [10.0.0.2], port: {kind: tap, netns: /n, interface: eth0}}\n"),
      "e.yaml:3:44: endpoints[1].port: interface eth0 in /n is already taken in line 2\n");
}

TEST(StaticFile, an_unknown_field_is_refused_with_the_nearest_spelling) {
  EXPECT_EQ(errors_of("endpoints: [{name: a, adresses: [10.0.0.1]}]\n"),
            "e.yaml:1:23: endpoints[0].adresses: found the unknown field \"adresses\"; did you mean "
            "\"addresses\"?\n");
}

TEST(StaticFile, an_empty_file_is_not_an_empty_world) {
  EXPECT_EQ(errors_of(""),
            "e.yaml:1:1: the file is empty, expected `endpoints:` (write `endpoints: []` for none)\n");
  EXPECT_EQ(errors_of("endpoints: []\n"), "");
}

TEST(StaticFile, a_port_without_an_address_or_a_place_is_refused) {
  EXPECT_EQ(
      errors_of("endpoints: [{name: a, port: {kind: tap, netns: web, pid: 7}}]\n"),
      "e.yaml:1:48: endpoints[0].port.netns: found \"web\", expected an absolute path such as "
      "/run/netns/web\n"
      "e.yaml:1:58: endpoints[0].port.pid: `netns` and `pid` both say where the port goes, expected one "
      "of them\n"
      "e.yaml:1:29: endpoints[0].port.interface: the field \"interface\" is missing\n"
      "e.yaml:1:29: endpoints[0].port: a port needs an endpoint with at least one address\n");
}

TEST(StaticFile, an_ethdev_needs_its_device_and_mac) {
  EXPECT_EQ(
      errors_of("endpoints: [{name: a, addresses: [10.0.0.1], port: {kind: ethdev, interface: eth0}}]\n"),
      "e.yaml:1:78: endpoints[0].port.interface: a port of kind ethdev has a device, not an interface\n"
      "e.yaml:1:52: endpoints[0].port.device: the field \"device\" is missing\n"
      "e.yaml:1:52: endpoints[0].port: a port of kind ethdev needs the `mac` of the endpoint behind it\n");
}

TEST(StaticFile, a_prefix_longer_than_an_address_is_refused) {
  EXPECT_EQ(
      errors_of(
          "endpoints: [{name: a, addresses: [10.0.0.1], port: {kind: tap, interface: e, prefix: 64}}]\n"),
      "e.yaml:1:86: endpoints[0].port.prefix: found 64, expected at most the 32 bits of an IPv4 address\n");
}

TEST(StaticFile, too_many_endpoints_are_refused) {
  StaticOptions few = options();
  few.endpoints_max = 1;
  const auto result = parse_static("e.yaml", "endpoints: [{name: a}, {name: b}]\n", few);
  const auto* errors = std::get_if<std::vector<policies::Error>>(&result);
  ASSERT_NE(errors, nullptr);
  EXPECT_EQ(format(errors->at(0)),
            "e.yaml:1:1: found 2 endpoints, expected at most 1 (limits.endpoints_max)");
}

TEST(StaticFile, a_bad_file_leaves_the_last_good_snapshot) {
  const std::string path = ::testing::TempDir() + "bulkhead-static-" + std::to_string(::getpid()) + ".yaml";
  const auto write = [&](const char* text) { std::ofstream(path) << text; };
  StaticFile file(path, options());
  EXPECT_FALSE(file.reload());
  EXPECT_FALSE(file.health().synced);
  write("endpoints: [{name: a}]\n");
  EXPECT_TRUE(file.reload());
  EXPECT_FALSE(file.reload()) << "the same bytes are no news";
  write("endpoints: [{name: a}, {nam: b}]\n");
  EXPECT_FALSE(file.reload());
  EXPECT_TRUE(file.health().synced);
  EXPECT_EQ(file.health().errors.size(), 2u);
  EXPECT_EQ(file.snapshot().endpoints.size(), 1u);
  write("endpoints: [{name: a}]\n");
  EXPECT_FALSE(file.reload()) << "back to what is in force already";
  EXPECT_TRUE(file.health().errors.empty());
  ::unlink(path.c_str());
}

}  // namespace
}  // namespace bulkhead::source
