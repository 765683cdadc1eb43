// Who exists, as it is kept between compiles: what policies can see of a cluster, without its endpoints.
//
// A census and its profiles, in the very order in which a new census would have them, with how many endpoints and addresses
// bear each. It owns what these refer to. An endpoint comes and goes by what it would be in them; who is new takes a
// place among the others, and those behind move on by one. One thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "controlplane/compile/binding.h"
#include "controlplane/compile/census.h"
#include "controlplane/compile/known_requirements.h"
#include "controlplane/compile/profiles.h"

namespace bulkhead::compile {

/// An endpoint with addresses, in the eyes of policies.
struct Resident {
  const policies::Endpoint* endpoint = nullptr;
  std::string encoding;  // of its identity
  identity::Id identity;
  std::string_view node;
  bool subject = false;
  struct Place {
    policies::AddressBytes address;
    identity::Id content;  // of its profile there
    image::Profile profile = 0;
    std::uint32_t region = 0;  // of the Blocks that profiles were seen by
  };
  std::vector<Place> places;  // by address, ascending
};

class Population {
 public:
  /// Of whom these tell; they may go afterwards. Requires that nobody is quarantined.
  Population(const Census& census, const Profiles& profiles);

  const Census& census() const { return census_; }        // without members
  const Profiles& profiles() const { return profiles_; }  // without addresses and examples
  KnownRequirements& requirements() { return requirements_; }

  /// What comes or goes. Nothing, and nobody has moved, where this cannot tell what a new census would be: a namespace or
  /// a node that nobody knows, or two profiles of one number. Otherwise whether anybody is there now who was not, or
  /// nobody who was. Identities come and go in `binding` too.
  std::optional<bool> enter(const Resident& resident, Binding& binding);
  std::optional<bool> leave(const Resident& resident, Binding& binding);

  /// False where there is no such namespace.
  bool relabel(std::string_view namespace_name, const policies::Labels& labels);

  /// `now` tells the regions in which the addresses lie from here on. Requires that each lies in one of the same prefix.
  void see_by(const Blocks& before, const Blocks& now);

 private:
  struct Home {
    std::string name;
    policies::Labels labels;
    std::uint32_t subjects = 0;  // endpoints judged here
  };
  struct Kin {
    std::string encoding, service_account;
    policies::Labels labels;
    std::uint32_t members = 0, subjects = 0;  // endpoints
  };
  struct Host {
    std::string name;
    policies::Labels labels;
  };
  using PortLists = std::map<std::vector<policies::NamedPort>, std::uint32_t>;  // how many profiles have each

  std::optional<std::uint32_t> namespace_of(std::string_view name) const;
  std::optional<std::uint32_t> node_of(std::string_view name) const;
  /// Where in its namespace an identity is, or would be.
  std::uint32_t place_of(std::uint32_t namespace_index, const std::string& encoding) const;
  bool is_at(std::uint32_t place, const std::string& encoding) const;
  void insert_identity(std::uint32_t place, std::uint32_t namespace_index, const Resident& resident,
                       std::uint32_t bound);
  void erase_identity(std::uint32_t place);
  void insert_profile(const Resident& resident, const Resident::Place& place, std::uint32_t identity);
  void erase_profile(const Resident::Place& place);
  std::vector<Seen>::iterator find(image::Profile profile);
  const std::vector<policies::NamedPort>* keep_ports(const std::vector<policies::NamedPort>& ports);
  void count_subject(std::uint32_t identity, int change);

  Census census_;
  Profiles profiles_;
  std::vector<std::unique_ptr<Home>> homes_;  // by Census::namespaces
  std::vector<std::unique_ptr<Kin>> kin_;     // by Census::identities
  std::vector<std::unique_ptr<Host>> hosts_;  // by Census::nodes
  PortLists ports_;
  KnownRequirements requirements_;
  std::unordered_map<identity::Id, std::uint32_t, identity::IdHash> addresses_;  // by content
};

}  // namespace bulkhead::compile
