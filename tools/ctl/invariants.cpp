#include "tools/ctl/invariants.h"

#include "controlplane/analysis/party.h"
#include "tools/ctl/claim.h"

namespace bulkhead::ctl {
namespace {

void refuse_what_no_image_says(const policies::Invariant& invariant, const policies::Demand& demand) {
  const auto refuse = [&](const std::string& what) {
    throw Failure(kExitUsage, escape(demand.origin.file) + ":" + std::to_string(demand.origin.line) + ": " +
                                  escape(describe(invariant, demand)) + " speaks of " + what +
                                  ", which an image does not say; give --policies and --cluster");
  };
  for (const auto* end : {&demand.from, &demand.to})
    for (const policies::Peer& peer : *end) {
      if (std::holds_alternative<policies::LocalNode>(peer)) refuse("host");
      if (const auto* nodes = std::get_if<policies::NodeSelector>(&peer);
          nodes != nullptr && !nodes->nodes.requirements.empty())
        refuse("labels of nodes");
      if (const auto* selector = std::get_if<policies::EndpointSelector>(&peer);
          selector != nullptr && !selector->namespaces.requirements.empty())
        refuse("labels of namespaces");
    }
  for (const policies::PortMatch& port : demand.ports)
    if (!port.name.empty()) refuse("a port by its name");
}

/// Who is in an image.
policies::Cluster cluster_of(const image::View& view) {
  policies::Cluster cluster;
  view.for_each_endpoint([&](std::uint32_t number) {
    if ((view.endpoint(number).flags & image::kEndpointNode) != 0) return;
    policies::Endpoint endpoint;
    endpoint.id = view.id_of(number);
    endpoint.namespace_name = view.namespace_of(number);
    endpoint.name = view.name_of(number);
    endpoint.labels = labels_of(view.labels_of_identity(image::identity_of(view, number)));
    for (const abi::Address& address : view.addresses_of(number)) endpoint.addresses.push_back(address.bytes);
    cluster.endpoints.push_back(std::move(endpoint));
  });
  policies::Node nodes{"nodes", {}, {}};
  view.for_each_address([&](const image::AddressSlot& slot) {
    if ((view.record(image::record_of(view, slot.profile)).flags & image::kRecordNode) != 0)
      nodes.addresses.push_back(slot.address.bytes);
  });
  cluster.nodes.push_back(std::move(nodes));
  return cluster;
}

}  // namespace

Value invariants_value(const analysis::Proof& proof) {
  Value broken = Value::array();
  for (const analysis::Breach& breach : proof.breaches)
    broken.push_back({{"demand", breach.demand},
                      {"file", breach.origin.file},
                      {"line", breach.origin.line},
                      {"column", breach.origin.column},
                      {"packet",
                       {{"source", analysis::address_text(breach.witness.source)},
                        {"destination", analysis::address_text(breach.witness.destination)},
                        {"protocol", analysis::slot_name(breach.witness.slot)},
                        {"port", breach.witness.port}}},
                      {"allowed", breach.allowed},
                      {"text", message(breach)}});
  return {{"demands", proof.demands}, {"refusal", proof.refusal}, {"broken", std::move(broken)}};
}

void say_broken(const Value& invariants, Terminal& terminal) {
  for (const Value& each : invariants["broken"])
    terminal.out() << terminal.paint(Colour::kBad, escape(plain(each["text"]))) << '\n';
  if (invariants["refusal"] != "") terminal.out() << escape(plain(invariants["refusal"])) << '\n';
}

analysis::Proof prove_of_image(const image::View& view, const std::vector<policies::Invariant>& invariants) {
  for (const policies::Invariant& invariant : invariants)
    for (const policies::Demand& demand : invariant.demands) refuse_what_no_image_says(invariant, demand);
  const policies::Cluster cluster = cluster_of(view);
  const policies::PolicySet set{{}, invariants};
  return analysis::prove_image({.cluster = cluster, .policies = set}, view);
}

}  // namespace bulkhead::ctl
