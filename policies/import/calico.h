// Calico's NetworkPolicy and GlobalNetworkPolicy, projectcalico.org/v3 and crd.projectcalico.org/v1.
//
//   tiers in their order ─ policies by order, then name ─ rules as written: the first that matches counts
//        │                                                   '── platform tier, a priority for each policy
//        '── who is selected in a tier and met no rule: denied ── default tier: isolated in the application tier,
//                                                                 where Kubernetes' own policies may still allow;
//                                                                 other tiers: a deny after the tier's policies
//
// Pass leaves Calico's tier, and here the whole platform tier: it is carried over in the last tier only.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "policies/import/edges.h"
#include "policies/import/expression.h"

namespace bulkhead::policies::imports {

struct NetworkSet {
  std::string namespace_name;  // empty: GlobalNetworkSet
  Labels labels;
  std::vector<AddressBlock> nets;
};

/// What rules are read against.
struct CalicoWorld {
  std::vector<NetworkSet> sets;
  std::map<std::string, Labels> namespaces;  // those whose labels are known
};

struct CalicoPolicy {
  Original source;
  std::string tier = "default";
  double order = 0;
  std::vector<Peer> subjects;
  bool ingress = false, egress = false;
  std::vector<Edge> edges;
  std::vector<Item> passes;
  std::vector<Loss> losses;
};

/// Throws Refused.
CalicoPolicy read_calico_policy(const Original& source, const CalicoWorld& world);

class CalicoImport {
 public:
  CalicoImport(std::string home, std::uint32_t priority) : home_(std::move(home)), priority_(priority) {}

  void add_namespace(const Original& source);
  void add_set(const Original& source);   // throws Refused
  void add_tier(const Original& source);  // throws Refused
  void add(const Original& source) { sources_.push_back(source); }
  /// Reads the policies against all the rest.
  std::vector<Segmentation> finish(std::vector<Loss>& losses);

 private:
  struct Tier {
    double order = 0;
    bool denies = true;  // whom no rule matched
  };
  Segmentation policy_of(const CalicoPolicy& policy, std::string name) const;
  void read_all(std::vector<Loss>& losses);
  void refuse_early_passes(std::vector<Loss>& losses);

  std::string home_;
  std::uint32_t priority_;
  CalicoWorld world_;
  std::map<std::string, Tier> tiers_;
  std::vector<Original> sources_;
  std::vector<CalicoPolicy> policies_;
};

}  // namespace bulkhead::policies::imports
