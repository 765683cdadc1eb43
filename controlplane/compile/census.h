// Who exists, in one order whatever the order they came in: the compiler's view of a cluster.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "controlplane/compile/compile.h"
#include "controlplane/compile/intern.h"
#include "controlplane/identity/identity.h"
#include "policies/model/cluster.h"

namespace bulkhead::compile {

struct NamespaceEntry {
  std::string_view name;
  const policies::Labels* labels = nullptr;  // never null
  std::uint32_t identities_first = 0;        // its identities are neighbours
  std::uint32_t identities_count = 0;
  bool subjects = false;  // some endpoint of it is judged here
};

struct IdentityEntry {
  identity::Id id;
  std::uint32_t namespace_index = 0;
  const policies::Labels* labels = nullptr;
  bool subject = false;  // some endpoint of it is judged here
  std::string_view service_account = {};
  std::uint32_t bound = 0;  // its place in Binding::numbers()
};

struct NodeEntry {
  std::string_view name;
  const policies::Labels* labels = nullptr;       // never null
  std::vector<policies::AddressBytes> addresses;  // sorted, unique; none of them an endpoint's
};

/// An endpoint with an identity of its own: host-network ones are their node.
struct Member {
  const policies::Endpoint* endpoint = nullptr;
  std::uint32_t identity = 0;
  std::uint32_t node = 0;
  bool subject = false;
  const LocalPort* port = nullptr;
};

struct Census {
  std::vector<NamespaceEntry> namespaces;  // by name; declared ones and those endpoints name
  std::vector<IdentityEntry> identities;   // by namespace, then encoding
  std::vector<NodeEntry> nodes;            // by name
  std::vector<Member> members;             // by namespace, name, id
  std::uint32_t own_node = 0;

  const NamespaceEntry* find_namespace(std::string_view name) const;
};

/// Throws Refused where an address or an identity is claimed twice.
Census take_census(const Input& input);

}  // namespace bulkhead::compile
