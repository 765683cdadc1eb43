// A small cluster, and what imported policies say in it.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "policies/import/import.h"
#include "policies/load/load.h"
#include "policies/model/address.h"
#include "policies/oracle/oracle.h"

namespace bulkhead::policies::imports {

inline Cluster shop_cluster() {
  Cluster cluster;
  const auto space = [&](const std::string& name, Labels labels) {
    labels["kubernetes.io/metadata.name"] = name;
    cluster.namespaces.push_back({name, labels});
  };
  space("shop", {{"team", "sales"}});
  space("mon", {{"team", "ops"}});
  cluster.nodes = {{"n1", {}, {*parse_address("192.168.0.1")}}, {"n2", {}, {*parse_address("192.168.0.2")}}};
  const auto pod = [&](const std::string& home, const std::string& name, const std::string& address,
                       Labels labels) {
    labels["app"] = name;
    cluster.endpoints.push_back({home + "/" + name,
                                 home,
                                 name,
                                 labels,
                                 "n1",
                                 {*parse_address(address)},
                                 {{"http", Protocol::kTcp, 8080}},
                                 true,
                                 false,
                                 name + "-sa"});
  };
  pod("shop", "web", "10.0.0.1", {{"tier", "front"}});
  pod("shop", "api", "10.0.0.2", {{"tier", "back"}});
  pod("shop", "db", "10.0.0.3", {});
  pod("mon", "prom", "10.1.0.1", {{"role", "scrape"}});
  return cluster;
}

/// Policies imported from `text`, read back by load/ and judged by the oracle. Ends: "web", "api", "db", "prom",
/// "own" and "other" (nodes), or an address.
class Shop {
 public:
  explicit Shop(const std::string& text, const Options& options = {}, const std::string& beside = "") {
    const std::vector<File> files = {{"in.yaml", text}};
    imported = import_files(files, options);
    yaml = to_yaml(imported);
    const std::vector<File> results = {
        {"out.yaml", "# imported\n" + yaml + (beside.empty() ? "" : "\n---\n" + beside)}};
    loaded_ = load(results);
    for (const auto& error : loaded_.errors) ADD_FAILURE() << policies::format(error) << "\n" << yaml;
  }

  bool passes(const std::string& from, const std::string& to, std::uint16_t port,
              Protocol protocol = Protocol::kTcp) const {
    const Oracle oracle(cluster_, loaded_.policies, {}, "n1");
    return oracle.judge(address(from), address(to), protocol, port).allow;
  }

  std::string losses() const {
    std::string text;
    for (const auto& loss : imported.losses)
      text += std::to_string(loss.origin.line) + ":" + std::to_string(loss.origin.column) + " " + loss.path +
              " " + std::string(name(loss.effect)) + "\n";
    return text;
  }

  Imported imported;
  std::string yaml;

 private:
  AddressBytes address(const std::string& end) const {
    for (const auto& endpoint : cluster_.endpoints)
      if (endpoint.name == end) return endpoint.addresses[0];
    return *parse_address(end == "own" ? "192.168.0.1" : end == "other" ? "192.168.0.2" : end);
  }

  Cluster cluster_ = shop_cluster();
  Loaded loaded_;
};

}  // namespace bulkhead::policies::imports
