// Compiling again and again: what one change costs follows its size.
//
//   update(input)            whichever of the two it takes
//   compile(input)           everything anew                    linear in the cluster
//   change(before, after)    an endpoint came, changed or went   its shard or two; the policy section is shared
//
// The image is always the one that compile.h's compile() would make of the whole input, byte for byte. Where a change
// cannot be told from what the last compile() kept (labels that nobody bore, the last endpoint of its profile, an
// address that moves to another one), change() says so and compile() is due. One thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "controlplane/compile/binding.h"
#include "controlplane/compile/blocks.h"
#include "controlplane/compile/compile.h"
#include "controlplane/compile/profiles.h"

namespace bulkhead::compile {

/// An endpoint, and its port where it has one here.
struct Placed {
  const policies::Endpoint* endpoint = nullptr;
  std::optional<LocalPort> port = std::nullopt;
};

class Compiler {
 public:
  /// By change() where a few endpoints are all that is not as it was at the last update(), else by compile(). `same_policies`:
  /// the caller knows that the policies are those of the last update(), and that none of their rules has expired since.
  std::variant<Output, Refusal> update(const Input& input, bool same_policies);

  /// A refusal leaves what was kept as it was.
  std::variant<Output, Refusal> compile(const Input& input);

  /// `before` is as it was at the last compile() or change(), `after` as it is now; either may have no endpoint. Nothing:
  /// compile() is due. Requires that everything else of the input is as it was.
  std::optional<Output> change(const Placed& before, const Placed& after);

 private:
  struct IdHash {
    std::size_t operator()(const identity::Id& id) const;
  };
  struct Known {
    image::Profile profile = 0;
    std::uint32_t addresses = 0;
  };
  struct Kept {
    Output output;
    Binding binding;
    std::optional<Blocks> blocks;
    identity::Id bound = {};  // fingerprint of all that is in `binding`; zero after a change()
    std::string own_node;
    bool every = false;                                         // Subjects::kEvery
    bool some_subjects_too = false;                             // which, only the input says
    std::set<std::pair<std::string, std::string>> quarantined;  // namespace, name
    std::uint64_t section_bytes_max = 0;
    std::unordered_map<identity::Id, Known, IdHash> profiles;  // by content
    std::vector<policies::AddressBytes> shadowed;  // of nodes, where an endpoint has them too; ascending
  };

  static void keep(const Input& input, const Census& census, const Profiles& profiles, Kept& kept);
  /// What an endpoint's addresses, in ascending order, are known as. Nothing where some are not.
  std::optional<std::vector<Known*>> known(const Placed& placed,
                                           std::span<const policies::AddressBytes> addresses);

  /// What an input says of everything but endpoints, and who they are.
  struct Told {
    std::vector<policies::Namespace> namespaces;
    std::vector<policies::Node> nodes;
    policies::Posture posture;
    LocalNode node;
    Subjects subjects = Subjects::kLocal;
    Limits limits;
    std::vector<policies::Quarantine> quarantines;
    std::map<std::string, std::pair<policies::Endpoint, std::optional<LocalPort>>> endpoints;  // by id
  };
  /// Nothing where two endpoints have one id.
  static std::optional<Told> look(const Input& input);
  std::optional<Output> change_few(const Told& now);

  std::optional<Kept> kept_;
  std::optional<Told> told_;
};

}  // namespace bulkhead::compile
