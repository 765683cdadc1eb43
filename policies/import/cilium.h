// CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy, cilium.io/v2.
//
// Cilium's rules speak for one end each; a deny wins over every allow, an endpoint is isolated in the directions for
// which some policy that selects it has rules: the application tier, edge by edge. CIDRs match what is neither an
// endpoint nor a node, which is the world here.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "policies/import/edges.h"

namespace bulkhead::policies::imports {

class CiliumImport {
 public:
  /// `home`: where policies of the whole cluster are put.
  explicit CiliumImport(std::string home) : home_(std::move(home)) {}

  /// CiliumCIDRGroup: before any policy that refers to it.
  void add_group(const Original& source);
  /// Throws Refused.
  void add(const Original& source, std::vector<Loss>& losses);
  /// What a whole set needs beyond its policies.
  std::vector<Segmentation> finish();

 private:
  friend class CiliumRules;

  std::string home_;
  std::map<std::string, std::vector<AddressBlock>> groups_;
  std::vector<Segmentation> policies_;
  std::vector<Ledger> ledgers_;
  std::vector<TowardsNode> towards_node_;
};

/// An address block, or an address alone.
std::optional<AddressBlock> block_of_text(const std::string& text);

/// A label selector of Cilium: what it says about namespaces stands among the labels, as labels do with their sources.
struct CiliumSelector {
  EndpointSelector selector;
  bool names_namespace = false;
  std::string reserved;  // "host" for `reserved:host`, which stands alone
};
/// Throws Unsaid.
CiliumSelector read_cilium_selector(const Item& item);

/// Ports of one item of toPorts, added to `ports`; true where they are all. Throws Unsaid.
bool read_cilium_ports(const Item& list, std::vector<PortMatch>& ports);
/// The fields of one item of icmps. Throws Unsaid.
void read_cilium_icmp(const Item& list, std::vector<PortMatch>& ports);

}  // namespace bulkhead::policies::imports
