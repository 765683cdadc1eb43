// Policies of other systems in, objects that load/ reads out, and a report of all that could not be carried over.
//
//   CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy ──► SegmentationPolicy, application tier
//   Calico's NetworkPolicy, GlobalNetworkPolicy         ──► SegmentationPolicy, platform tier in Calico's order, and
//                                                           one of the application tier that isolates
//   Envoy's RBAC network filter                         ──► AuthorizationPolicy
//
//   text ── tree.h ──► the dialect's reader ──► edges.h ──► text
//                          '──► Loss: what was not carried over, where it stood, what that means
//
// The rule that everything here obeys: what is printed never allows what the original denies. A condition that packets
// do not show, or that these kinds cannot say, makes an allow rule go, and a deny rule deny more. Where neither is
// possible (a pass, a deny from somebody unknown) the object is refused, and nothing of it is printed: what it denied
// is then up to whoever reads the report. A field that is not known here is such a condition.
//
// The files are one set: groups of address blocks, network sets and tiers are looked up in all of them, and Calico's
// policies are put in one order.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "policies/load/load.h"
#include "policies/model/policy.h"

namespace bulkhead::policies::imports {

/// What a loss means for the result.
enum class Effect : std::uint8_t {
  kNone,      // no verdict
  kStricter,  // allows less, or denies more, than the original
  kRefused,   // nothing of the object is there
};

struct Loss {
  Origin origin;
  std::string object;  // "CiliumNetworkPolicy shop/web"; empty where a file could not be read
  std::string path;    // of the field, within the object
  Effect effect = Effect::kRefused;
  std::string message;
};

/// An object that load/ takes.
struct Object {
  std::string kind, namespace_name, name;
  std::string source;  // what it was made of: "CiliumNetworkPolicy shop/web"
  Origin origin;       // of that
  std::string text;    // YAML, with a comment that says so
};

struct Imported {
  std::vector<Object> objects;
  std::vector<Loss> losses;  // by file in the order given, then by line
};

struct Options {
  /// Where objects of the whole cluster are put, and the namespace that an Envoy filter stands for.
  std::string namespace_name = "default";
  /// Whom an Envoy filter guards, by label. Nobody told: every endpoint of the namespace.
  Labels selector;
  /// Of the first policy that has an order; the others follow. At most kPriorityMax.
  std::uint32_t priority = 100;
  Limits limits;
};

/// Never throws but std::bad_alloc. Objects without a single loss are exact.
Imported import_files(std::span<const File> files, const Options& options);

/// All objects as one stream of documents.
std::string to_yaml(const Imported& imported);

/// "none", "stricter", "refused".
std::string_view name(Effect effect);
/// "cilium.yaml:12:9: CiliumNetworkPolicy shop/web: spec.egress[0].toFQDNs: stricter: ..."
std::string format(const Loss& loss);

}  // namespace bulkhead::policies::imports
