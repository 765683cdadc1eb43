// A cluster and its policies, of any size: what the benches of the compiler compile.
//
// Every policy selects one app of its namespace for both directions, with peers by label, by namespace and by address block,
// and ports by number, range and name. cluster_policy() makes those of the other tiers.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <utility>

#include "policies/model/cluster.h"
#include "policies/model/policy.h"

namespace bulkhead::bench {

struct Shape {
  std::uint32_t policies, identities, namespaces, pods, local_pods;
  bool of_many_kinds = false;  // a node's pods share as few label sets as possible, else as many
};

inline policies::AddressBytes address(std::uint32_t v4) {
  return {0,
          0,
          0,
          0,
          0,
          0,
          0,
          0,
          0,
          0,
          0xff,
          0xff,
          static_cast<std::uint8_t>(v4 >> 24),
          static_cast<std::uint8_t>(v4 >> 16),
          static_cast<std::uint8_t>(v4 >> 8),
          static_cast<std::uint8_t>(v4)};
}

inline policies::AddressBlock block(std::uint32_t v4, std::uint8_t bits) {
  return {address(v4), static_cast<std::uint8_t>(96 + bits)};
}

inline std::string numbered(const char* prefix, std::uint32_t number) {
  return prefix + std::to_string(number);
}

inline std::string namespace_of(const Shape& shape, std::uint32_t identity) {
  return numbered("team-", identity % shape.namespaces);
}

inline std::string app_of(const Shape& shape, std::uint32_t identity) {
  return numbered("app-", identity / shape.namespaces);
}

inline policies::Cluster make_cluster(const Shape& shape) {
  policies::Cluster cluster;
  for (std::uint32_t i = 0; i < shape.namespaces; ++i)
    cluster.namespaces.push_back(
        {numbered("team-", i),
         {{"kubernetes.io/metadata.name", numbered("team-", i)}, {"env", i % 3 == 0 ? "prod" : "test"}}});
  const std::uint32_t nodes = (shape.pods + shape.local_pods - 1) / shape.local_pods;
  for (std::uint32_t i = 0; i < nodes; ++i)
    cluster.nodes.push_back({numbered("node-", i), {}, {address(0xc0a8'0000 + i)}});
  for (std::uint32_t i = 0; i < shape.pods; ++i) {
    const std::uint32_t identity = i % shape.identities;
    policies::Endpoint endpoint;
    endpoint.id = numbered("uid-", i);
    endpoint.namespace_name = namespace_of(shape, identity);
    endpoint.name = numbered("pod-", i);
    endpoint.labels = {{"app", app_of(shape, identity)},
                       {"tier", identity % 4 == 0 ? "front" : "back"},
                       {"pod-template-hash", numbered("h", identity)}};
    endpoint.node = numbered("node-", shape.of_many_kinds ? i / shape.local_pods : i % nodes);
    endpoint.addresses = {address(0x0a00'0000 + i)};
    endpoint.ports = {{"http", policies::Protocol::kTcp, static_cast<std::uint16_t>(8000 + identity % 5)}};
    endpoint.kubernetes = true;
    cluster.endpoints.push_back(std::move(endpoint));
  }
  return cluster;
}

class PolicyMaker {
 public:
  explicit PolicyMaker(const Shape& shape) : shape_(shape) {}

  policies::PolicySet run() {
    policies::PolicySet set;
    for (std::uint32_t i = 0; i < shape_.policies; ++i) set.policies.push_back(policy(i));
    return set;
  }

  /// A policy of a tier about a third or all of the namespaces: ten rules a direction that pass, deny and allow.
  policies::Policy cluster_policy(std::uint32_t number) {
    policies::Policy policy;
    policy.kind = "ClusterNetworkPolicy";
    policy.name = numbered("guard-", number);
    policy.tier = number % 2 == 0 ? policies::Tier::kPlatform : policies::Tier::kBaseline;
    policy.priority = number / 4;  // two of a tier share each
    const policies::Selector prod{{{"env", policies::Operator::kIn, {"prod"}}}};
    const policies::EndpointSelector subject{std::nullopt, number % 3 == 0 ? prod : policies::Selector{}, {}};
    for (const auto direction : {policies::Direction::kIngress, policies::Direction::kEgress}) {
      policies::Clause clause{direction, subject, false, {}};
      for (std::uint32_t i = 0; i < 10; ++i) {
        policies::Peer peer = app(random_() % shape_.identities);
        if (i % 2 == 1) peer = other_peer();
        clause.rules.push_back(
            rule(i, {std::move(peer)}, port(static_cast<std::uint16_t>(2000 + random_() % 50))));
        clause.rules.back().action = static_cast<policies::Action>(random_() % 3);
      }
      policy.clauses.push_back(std::move(clause));
    }
    return policy;
  }

 private:
  policies::Policy policy(std::uint32_t number) {
    const std::uint32_t identity = number % shape_.identities;
    policies::Policy policy;
    policy.kind = "NetworkPolicy";
    policy.namespace_name = namespace_of(shape_, identity);
    policy.name = numbered("allow-", number);
    policy.origin = {numbered("policies/", number) + ".yaml", 1, 1};
    for (const auto direction : {policies::Direction::kIngress, policies::Direction::kEgress}) {
      policies::Clause clause{direction, app(identity), true, {}};
      clause.rules.push_back(
          rule(0, {app(random_() % shape_.identities)}, port(static_cast<std::uint16_t>(443))));
      clause.rules.push_back(rule(1, {app(random_() % shape_.identities), app(random_() % shape_.identities)},
                                  {policies::Protocol::kTcp, 0, 0, "http"}));
      clause.rules.push_back(rule(2, {other_peer()}, port(static_cast<std::uint16_t>(1024 + number % 100))));
      policy.clauses.push_back(std::move(clause));
    }
    return policy;
  }

  policies::EndpointSelector app(std::uint32_t identity) const {
    return {
        namespace_of(shape_, identity), {}, {{{"app", policies::Operator::kIn, {app_of(shape_, identity)}}}}};
  }

  policies::Peer other_peer() {
    switch (random_() % 3) {
      case 0:  // every front end of production
        return policies::EndpointSelector{std::nullopt,
                                          {{{"env", policies::Operator::kIn, {"prod"}}}},
                                          {{{"tier", policies::Operator::kIn, {"front"}}}}};
      case 1:
        return policies::IpBlock{block(0x0a00'0000, 8), {block(0x0a00'0000 + (random_() % 64) * 256, 24)}};
      default:
        return policies::IpBlock{block(0xcb00'0000 + (random_() % 256) * 256, 24), {}};
    }
  }

  static policies::PortMatch port(std::uint16_t number) {
    return {policies::Protocol::kTcp, number, number, {}};
  }

  static policies::Rule rule(std::uint32_t number, std::vector<policies::Peer> peers,
                             policies::PortMatch port) {
    return {
        numbered("rule-", number), policies::Action::kAllow, std::move(peers), false, {std::move(port)}, {}};
  }

  Shape shape_;
  std::mt19937 random_{42};
};

}  // namespace bulkhead::bench
