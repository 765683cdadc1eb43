// Arbitrary bytes as a policy file: refused with reasons, or loaded whole and good enough to be judged by.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "policies/load/load.h"
#include "policies/model/address.h"
#include "policies/oracle/oracle.h"

namespace {

using namespace bulkhead::policies;

void require(bool holds) {
  if (!holds) std::abort();
}

Cluster small_cluster() {
  Endpoint pod{"id",
               "shop",
               "web",
               {{"app", "web"}},
               "n",
               {*parse_address("10.0.0.1")},
               {{"http", Protocol::kTcp, 80}},
               true,
               false};
  Cluster cluster;
  cluster.namespaces = {{"shop", {{"kubernetes.io/metadata.name", "shop"}}}};
  cluster.nodes = {{"n", {}, {*parse_address("192.168.0.1")}}};
  cluster.endpoints = {pod};
  return cluster;
}

void use(const PolicySet& set) {
  static const Cluster cluster = small_cluster();
  for (const auto& policy : set.policies) {
    require(!policy.name.empty() && policy.origin.line != 0);
    for (const auto& clause : policy.clauses)
      for (const auto& rule : clause.rules) {
        require(rule.all_ports == rule.ports.empty());
        require(!describe_peers(rule).empty() && !describe_ports(rule).empty());
        for (const auto& peer : rule.peers)
          if (const auto* block = std::get_if<IpBlock>(&peer)) {
            require(parse_block(format(block->block)) == block->block);
            for (const auto& hole : block->except)
              require(contains(block->block, hole) && hole != block->block);
          }
      }
  }
  const Oracle oracle(cluster, set, {});
  (void)oracle.judge(*parse_address("10.0.0.1"), *parse_address("203.0.113.1"), Protocol::kTcp, 80);
  (void)oracle.judge(*parse_address("203.0.113.1"), *parse_address("10.0.0.1"), Protocol::kUdp, 53);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::vector<File> files = {{"f.yaml", std::string(reinterpret_cast<const char*>(data), size)}};
  const Loaded loaded = load(files);
  require(loaded.ok() || loaded.policies.policies.empty());
  require(loaded.errors.size() <= Report::kErrorsMax + 2);
  for (const auto& error : loaded.errors) require(!error.message.empty() && !format(error).empty());
  use(loaded.policies);
  return 0;
}
