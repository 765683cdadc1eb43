// Compiling again and again: what one change costs follows its size.
//
//   update(input)           whichever of the two it takes
//   compile(input)          everything anew                      linear in the cluster
//   change(input, changes)  endpoints came, changed or went,     their shards; and the policy section anew, of what is
//                           policies or labels of namespaces     kept of the cluster, where it says anything else now
//                           are others
//
// The image is always the one that compile.h's compile() would make of the whole input, byte for byte. Where a change
// cannot be told from what is kept (a namespace or a node that nobody knew, an address that moves to another endpoint,
// a block that divides addresses anew, a conflict to show with a packet, somebody in quarantine), change() says so and
// compile() is due. One thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "controlplane/compile/binding.h"
#include "controlplane/compile/blocks.h"
#include "controlplane/compile/compile.h"
#include "controlplane/compile/policy_index.h"
#include "controlplane/compile/population.h"

namespace bulkhead::compile {

/// An endpoint, and its port where it has one here.
struct Placed {
  const policies::Endpoint* endpoint = nullptr;
  std::optional<LocalPort> port = std::nullopt;
};

/// What is not as it was at the latest compile() or change().
struct Changes {
  /// As it was, as it is now; either may have no endpoint. Whose address is another's now comes before that other one.
  std::vector<std::pair<Placed, Placed>> endpoints = {};
  std::vector<std::string_view> relabelled = {};      // namespaces of the cluster
  std::vector<std::uint32_t> replaced_policies = {};  // positions in the set
  bool other_policies = false;                        // another set
};

/// What a caller knows to be as it was at the latest update(), so that nobody has to look.
struct Same {
  bool policies = false;  // and none of their rules has expired since
  bool cluster = false;   // endpoints, namespaces and nodes
};

class Compiler {
 public:
  /// By change() where what is not as it was at the latest update() allows it, else by compile().
  std::variant<Output, Refusal> update(const Input& input, Same same);

  /// After a refusal compile() is due again.
  std::variant<Output, Refusal> compile(const Input& input);

  /// The same, and nothing is kept.
  static std::variant<Output, Refusal> compile_once(const Input& input);

  /// `input` is what there is now, of whose endpoints it does not look at any. Nothing: compile() is due. Requires that
  /// everything but `changes` is as it was; a rule that expires is a change to its policy.
  std::optional<Output> change(const Input& input, const Changes& changes);

 private:
  struct Kept {
    Output output;
    Binding binding;
    Population population;
    Blocks blocks;
    PolicyIndex policies;
    bool can_change = true;
    std::vector<policies::AddressBytes> shadowed;  // of nodes, where an endpoint has them too; ascending
    std::uint64_t section_bytes_max = 0;
  };
  static Output make(const Input& input, std::optional<Kept>* kept);
  bool change_kept(const Input& input, const Changes& changes);
  /// Whose strings it refers to are those of both.
  Resident resident(const Placed& placed, const Input& input) const;
  bool rebind(const Placed& before, const Placed& after, const Resident& resident);
  bool judge_again(const Input& input);
  bool same_for_everybody(const Blocks& now) const;

  /// What an input says of everything but policies.
  struct Told {
    std::vector<policies::Namespace> namespaces;
    std::vector<policies::Node> nodes;
    policies::Posture posture;
    LocalNode node;
    Subjects subjects = Subjects::kLocal;
    Limits limits;
    std::vector<policies::Quarantine> quarantines;
    std::vector<LocalPort> ports;
    struct Known {
      policies::Endpoint endpoint;
      std::optional<LocalPort> port;
      std::uint64_t look = 0;  // the latest that it was there in
    };
    std::unordered_map<std::string, Known> endpoints;  // by id
    std::uint64_t looks = 0;

    /// Whether all that is neither endpoints nor namespaces is as it was.
    bool frames(const Input& input) const;
  };
  struct Difference;
  /// What is not as it was told, which it is from here on. Nothing where change() cannot do it.
  std::optional<Difference> look(const Input& input, bool same_cluster);

  std::optional<Kept> kept_;
  std::optional<Told> told_;
};

}  // namespace bulkhead::compile
