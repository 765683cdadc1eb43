// A small shop, compiled into a real image: whom the tests ask about.
//
//   shop/web   app=web    10.0.0.1, fd00::1      edge web-to-api, customers-to-web
//   shop/api   app=api    10.0.0.2, fd00::2      reached from web on tcp/8080, from namespace far on tcp/9999
//   shop/db    app=db     10.0.0.3               reached from api on tcp/5432; deny edge no-legacy on tcp/23
//   shop/job   app=job    10.0.0.4               no policy speaks of it
//   lab/pod    app=lab    10.0.1.1               follows Kubernetes; NetworkPolicy pods-in on ingress
//   lab/open   app=open   10.0.1.2               follows Kubernetes, no policy
//   far/pod    app=far    10.0.2.1               on another node
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "controlplane/compile/compile.h"
#include "dataplane/image/validate.h"
#include "policies/load/load.h"
#include "policies/model/address.h"

namespace bulkhead::ctl::shop {

inline constexpr char kEdges[] = R"(apiVersion: bulkhead.io/v1alpha1
kind: SegmentationPolicy
metadata: {name: shop, namespace: shop}
spec:
  edges:
  - name: web-to-api
    from: {matchLabels: {app: web}}
    to: {matchLabels: {app: api}}
    ports: [tcp/8080, tcp/9000-9100]
  - name: api-to-db
    from: {matchLabels: {app: api}}
    to: {matchLabels: {app: db}}
    ports: [tcp/5432]
  - name: customers-to-web
    from: {world: {}}
    to: {matchLabels: {app: web}}
    ports: [tcp/443]
  - name: no-legacy
    from: {any: {}}
    to: {matchLabels: {app: db}}
    ports: [tcp/23]
    action: deny
  - name: far-to-api
    from: {namespace: far}
    to: {matchLabels: {app: api}}
    ports: [tcp/9999]
)";

inline constexpr char kPods[] = R"(apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: pods-in, namespace: lab}
spec:
  podSelector: {matchLabels: {app: lab}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: friend}}}]
    ports: [{port: 80}]
)";

inline policies::AddressBytes address(const char* text) {
  const auto parsed = policies::parse_address(text);
  EXPECT_TRUE(parsed) << text;
  return *parsed;
}

inline policies::Endpoint endpoint(const char* namespace_name, const char* name, const char* app,
                                   std::vector<const char*> addresses, bool kubernetes = false) {
  policies::Endpoint made;
  made.id = std::string(namespace_name) + "-" + name;
  made.namespace_name = namespace_name;
  made.name = name;
  made.labels = {{"app", app}};
  for (const char* text : addresses) made.addresses.push_back(address(text));
  made.kubernetes = kubernetes;
  return made;
}

/// Owns the bytes that `view` points into.
struct Image {
  compile::Output bytes;
  image::View view;
};

/// `more` is a file of further policies.
inline Image compile_shop(const char* more = "", std::span<const policies::Quarantine> quarantines = {}) {
  policies::Cluster cluster;
  for (const char* name : {"shop", "lab", "far"})
    cluster.namespaces.push_back({name, {{"kubernetes.io/metadata.name", name}}});
  cluster.endpoints = {endpoint("shop", "web", "web", {"10.0.0.1", "fd00::1"}),
                       endpoint("shop", "api", "api", {"10.0.0.2", "fd00::2"}),
                       endpoint("shop", "db", "db", {"10.0.0.3"}),
                       endpoint("shop", "job", "job", {"10.0.0.4"}),
                       endpoint("lab", "pod", "lab", {"10.0.1.1"}, true),
                       endpoint("lab", "open", "open", {"10.0.1.2"}, true),
                       endpoint("far", "pod", "far", {"10.0.2.1"})};
  cluster.endpoints.back().node = "elsewhere";
  const policies::File files[] = {
      {"shop.yaml", kEdges}, {"lab.yaml", kPods}, {"more.yaml", std::string(more) + "\n# end\n"}};
  const policies::Loaded loaded = policies::load(files);
  for (const policies::Error& error : loaded.errors) ADD_FAILURE() << policies::format(error);

  compile::Input input{cluster, loaded.policies};
  input.quarantines = quarantines;
  input.node.name = "here";
  input.node.addresses = {address("10.0.0.254")};
  std::uint32_t port = 1;
  for (const policies::Endpoint& each : cluster.endpoints)
    if (each.node.empty()) input.ports.push_back({each.id, port++, 1000 + port});
  auto compiled = compile::compile(input);
  if (const auto* refusal = std::get_if<compile::Refusal>(&compiled)) ADD_FAILURE() << refusal->reason;
  Image image{std::get<compile::Output>(std::move(compiled)), {}};
  auto checked = image::validate(image.bytes.image.sections());
  if (const auto* refusal = std::get_if<image::Refusal>(&checked)) ADD_FAILURE() << refusal->reason;
  image.view = std::get<image::View>(checked);
  return image;
}

}  // namespace bulkhead::ctl::shop
