// The addresses that a demand and the images of a Space treat alike, as *crowds*.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "controlplane/analysis/verdicts.h"
#include "controlplane/compile/compile.h"
#include "policies/model/policy.h"

namespace bulkhead::analysis {

inline constexpr std::uint32_t kNoOne = 0xffff'ffffu;

/// Whose address that is, as the input says.
struct Owner {
  std::uint32_t endpoint = kNoOne;  // of the cluster
  std::uint32_t node = kNoOne;      // the endpoint's, or the node that owns the address; kNoOne: world
};

/// Who owns which address. Refers to the input, which must outlive it.
class Owners {
 public:
  explicit Owners(const compile::Input& input);

  Owner of(const abi::Address& address) const;
  const policies::Endpoint& endpoint(std::uint32_t number) const { return input_.cluster.endpoints[number]; }
  bool selects(const policies::EndpointSelector& selector, std::uint32_t endpoint) const;
  bool selects(const policies::NodeSelector& selector, std::uint32_t node) const;

 private:
  struct Hash {
    std::size_t operator()(const policies::AddressBytes& address) const;
  };
  std::uint32_t node_number(std::string_view name);

  const compile::Input& input_;
  std::unordered_map<std::string_view, const policies::Labels*> namespaces_;
  std::unordered_map<std::string_view, std::uint32_t> node_of_name_;
  std::vector<const policies::Labels*> nodes_;
  std::unordered_map<policies::AddressBytes, Owner, Hash> owners_;
};

/// An address, and which endpoint is there: kNoOne for nodes and world.
struct Somebody {
  abi::Address address;
  std::uint32_t endpoint = kNoOne;
};

/// What all of a crowd have in common, and some of them.
struct Crowd {
  std::uint32_t subject[image::kDirections] = {},
                peer[image::kDirections] = {};  // in the image that is asked
  bool v4 = false;
  bool is_endpoint = false, is_node = false;
  bool judged_here = false;            // in the first image of the space
  bool as_sender = false;              // an end of `from` other than `host` means them
  bool as_receiver = false;            // likewise of `to`
  std::uint32_t node = 0;              // told apart where the demand speaks of `host`
  std::uint32_t ports = 0;             // which of the demand's port lists holds, where they receive
  std::vector<Somebody> somebody;      // one, and where there is one of another endpoint, a second
  std::vector<std::uint32_t> classes;  // address classes of the space that they are of, ascending

  /// An endpoint for which the asked image has no row.
  bool unjudged() const { return is_endpoint && subject[image::kIngress] == image::kNoSubject; }
};

struct Crowds {
  std::vector<Crowd> crowds;                  // in the order of the space's classes
  std::vector<std::vector<PortRange>> ports;  // joined; by Crowd::ports
  bool from_host = false, to_host = false;    // `host` is an end
  std::uint64_t fingerprint = 0;              // of all this, but for who somebody is

  bool may_send(const Crowd& crowd) const { return crowd.as_sender || (from_host && crowd.is_node); }
  bool may_receive(const Crowd& crowd) const { return crowd.as_receiver || (to_host && crowd.is_node); }
  /// Whether the demand means packets from here to there; true for many pairs, so the cheap questions come first.
  bool meant(const Crowd& from, const Crowd& to) const {
    return from.v4 == to.v4 && (from.is_endpoint || to.is_endpoint) &&
           (from.as_sender || (from_host && from.is_node && to.is_endpoint && from.node == to.node)) &&
           (to.as_receiver || (to_host && to.is_node && from.is_endpoint && from.node == to.node));
  }
};

/// Everybody a demand means. Peers of the kind Source are not known to demands.
Crowds gather(const Space& space, const Owners& owners, const policies::Demand& demand);

/// Two addresses that a packet could go between, and not an endpoint's with itself.
std::optional<Pair> apart(const Crowd& from, const Crowd& to);

}  // namespace bulkhead::analysis
