// What policies can see of each address's owner: a *profile*.
//
// Two addresses have one profile where no rule that could ever be written tells them apart, as blocks lie now: same
// identity, same named ports, same region of the address space, and, for who is judged here, same node. Classes are
// worked out by profile, not by endpoint, so thirty thousand containers of one kind cost what one does; and an image's
// shards name profiles, whose numbers depend on their contents alone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "controlplane/compile/blocks.h"
#include "controlplane/compile/census.h"
#include "controlplane/compile/intern.h"
#include "dataplane/image/format.h"

namespace bulkhead::compile {

/// An address with an owner.
struct Bound {
  policies::AddressBytes address;
  std::uint32_t member = kNone;  // into Census::members; kNone: a node's
  std::uint32_t node = kNone;
  std::uint32_t seen = 0;  // into Profiles::seen
};

/// Whoever has one profile.
struct Seen {
  identity::Id content;            // of what encode_endpoint() or encode_node() said
  image::Profile profile = 0;      // the start of it, unless another content starts alike
  std::uint32_t identity = kNone;  // kNone: a node's address
  std::uint32_t node = kNone;      // of a node, or of an endpoint that is judged here
  std::uint32_t region = 0;        // of Blocks
  bool kubernetes = false;
  bool subject = false;                                     // judged here
  std::uint32_t quarantine = kNone;                         // into Rules::quarantines
  const std::vector<policies::NamedPort>* ports = nullptr;  // equal ones are one; null: a node's
  std::uint32_t examples[2] = {kNone, kNone};               // into Profiles::bound, of different owners
};

struct Profiles {
  std::vector<Seen> seen;    // by profile
  std::vector<Bound> bound;  // members in order, then nodes
};

/// An endpoint's addresses, each once, ascending.
std::vector<policies::AddressBytes> sorted_addresses(const policies::Endpoint& endpoint);

/// The number of a profile, from its content's: never 0.
image::Profile profile_number(const identity::Id& content);
/// Injective. `node` is empty for an endpoint that is judged elsewhere.
void encode_endpoint(const identity::Id& identity, const policies::Endpoint& endpoint, bool subject,
                     bool quarantined, std::string_view node, const policies::AddressBlock& region,
                     std::string& out);
void encode_node(std::string_view node, const policies::AddressBlock& region, std::string& out);

/// `quarantine_of`: by Census::members.
Profiles see(const Census& census, const Blocks& blocks, const std::vector<std::uint32_t>& quarantine_of);

}  // namespace bulkhead::compile
