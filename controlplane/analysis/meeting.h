// Who meets a selector or lies in a block, in numbers and a few names: what lint says of them.
//
// Selectors are answered by the compiler's inverted index, blocks by the addresses in order, each distinct one once. What
// is kept of an answer does not grow with the endpoints that it is about.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "controlplane/compile/census.h"
#include "controlplane/compile/selectors.h"
#include "policies/model/cluster.h"
#include "policies/model/policy.h"

namespace bulkhead::analysis {

/// Some endpoints of the cluster.
struct Met {
  std::size_t count = 0;
  std::vector<std::uint32_t> first;        // the first few, by their numbers
  std::vector<policies::NamedPort> ports;  // that they declare: each name and protocol once
  std::vector<std::string> numbers;  // of those ports, in the order of texts: "tcp/80"; no more than a few
  bool all_declare = true;           // each declares a port
};

class Meeting {
 public:
  static constexpr std::size_t kNamesMax = 4, kNumbersMax = 4;

  /// The input compiles, and outlives this; so do the selectors that are asked about.
  explicit Meeting(const compile::Input& input);

  const Met& meeting(const policies::EndpointSelector& selector);
  const Met& everyone();
  /// Several one after another, as somebody would name them: counted again where they are met again.
  static Met together(const std::vector<const Met*>& parts);
  /// Endpoints with an address in the block, but for those that are their node.
  const Met& covered(const policies::IpBlock& block);
  bool is_a_node(const policies::NodeSelector& selector) const;

  /// "shop/web, shop/db and 7 more".
  std::string names(const Met& met) const;

 private:
  Met look_at(std::vector<std::uint32_t> endpoints) const;
  const compile::Input input_;
  const compile::Census census_;
  compile::Selectors selectors_;
  std::vector<std::vector<std::uint32_t>> endpoints_of_;  // by identity, ascending
  std::vector<std::pair<policies::AddressBytes, std::uint32_t>>
      addresses_[2];  // [1] IPv4: ascending, with endpoints
  std::unordered_map<std::uint32_t, Met> by_selector_;
  std::map<policies::IpBlock, Met> by_block_;
  std::vector<Met> everyone_;  // none or one
};

}  // namespace bulkhead::analysis
