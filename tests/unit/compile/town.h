// A small town to compile: a shop of three apps on one node, a second node, and a policy for the web.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <variant>

#include "controlplane/compile/compile.h"
#include "dataplane/image/validate.h"
#include "policies/model/address.h"

namespace bulkhead::compile {

inline policies::EndpointSelector app(const std::string& namespace_name, const std::string& name) {
  return {namespace_name, {}, {{{"app", policies::Operator::kIn, {name}}}}};
}

inline policies::PortMatch tcp(std::uint16_t port) {
  return {policies::Protocol::kTcp, port, port, {}};
}

inline policies::Rule allow(policies::Peer peer, policies::PortMatch port) {
  return {"ingress[0]", policies::Action::kAllow, {std::move(peer)},
          false,        {std::move(port)},        {"p.yaml", 9, 5}};
}

inline policies::Policy isolate(const std::string& name, policies::EndpointSelector subject,
                                std::vector<policies::Rule> rules) {
  return {"NetworkPolicy",
          "shop",
          name,
          {{policies::Direction::kIngress, std::move(subject), true, std::move(rules)}},
          {"p.yaml", 3, 1}};
}

struct Town {
  policies::Cluster cluster;
  policies::PolicySet policies;

  Town() {
    cluster.namespaces = {{"shop", {}}, {"bank", {}}};
    cluster.nodes = {{"here", {}, {*policies::parse_address("192.168.0.1")}},
                     {"there", {}, {*policies::parse_address("192.168.0.2")}}};
    add("shop", "web-1", "web", "10.0.0.1");
    add("shop", "web-2", "web", "10.0.0.2");
    add("shop", "api-1", "api", "10.0.0.3");
    add("bank", "vault", "vault", "10.0.1.1", "there");
    policies.policies = {isolate("web", app("shop", "web"), {allow(app("shop", "api"), tcp(80))})};
  }

  policies::Endpoint& add(const std::string& namespace_name, const std::string& name,
                          const std::string& label, const std::string& address,
                          const std::string& node = "here") {
    policies::Endpoint endpoint;
    endpoint.id = "id-" + name;
    endpoint.namespace_name = namespace_name;
    endpoint.name = name;
    endpoint.labels = {{"app", label}};
    endpoint.node = node;
    endpoint.addresses = {*policies::parse_address(address)};
    endpoint.kubernetes = true;
    cluster.endpoints.push_back(endpoint);
    return cluster.endpoints.back();
  }

  Input input() const { return {.cluster = cluster, .policies = policies, .node = {.name = "here"}}; }
};

inline Output must_compile(const Input& input) {
  auto compiled = compile(input);
  if (const auto* refusal = std::get_if<Refusal>(&compiled)) {
    ADD_FAILURE() << refusal->reason;
    return {};
  }
  return std::get<Output>(std::move(compiled));
}

/// Of an output that stays where it is.
inline image::View view_of(const Output& output) {
  const auto validated = image::validate(output.image.sections());
  if (const auto* refusal = std::get_if<image::Refusal>(&validated)) {
    ADD_FAILURE() << refusal->reason;
    return {};
  }
  return std::get<image::View>(validated);
}

inline image::Bound bound(const image::View& view, const std::string& address) {
  return image::bind(view, {*policies::parse_address(address)});
}

inline image::Judgement judge(const image::View& view, const std::string& source,
                              const std::string& destination, std::uint16_t tcp_port) {
  return image::judge(view, bound(view, source), bound(view, destination), image::kTcp, tcp_port);
}

}  // namespace bulkhead::compile
