// What an image allows between two address classes, as sets of port classes of a Space.
//
// Rule sets that allow the same ports are one set here, whichever rules allow them and whichever image they stand
// in: so equal numbers mean equal verdicts, across both images, and comparing is comparing numbers.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "controlplane/analysis/space.h"

namespace bulkhead::analysis {

/// A number for each distinct set of port classes.
class PortSets {
 public:
  static constexpr std::uint32_t kNone = 0, kAll = 1;

  explicit PortSets(std::size_t port_classes);

  std::uint32_t intern(std::span<const std::uint64_t> words);
  std::uint32_t both(std::uint32_t a, std::uint32_t b);     // in a and in b
  std::uint32_t without(std::uint32_t a, std::uint32_t b);  // in a, not in b
  bool contains(std::uint32_t set, std::uint32_t port_class) const;
  std::vector<std::uint32_t> classes(std::uint32_t set) const;
  std::size_t words() const { return words_; }

 private:
  /// Pairs of sets to a set: one probe for a pair seen before.
  class Memo {
   public:
    std::uint32_t* find(std::uint64_t key);  // UINT32_MAX there: the caller fills it in
   private:
    struct Slot {
      std::uint64_t key = UINT64_MAX;
      std::uint32_t value = UINT32_MAX;
    };
    std::uint32_t* probe(std::uint64_t key);
    std::vector<Slot> slots_ = std::vector<Slot>(1024);
    std::size_t used_ = 0;
  };

  std::size_t words_, port_classes_;
  std::vector<std::uint64_t> bits_;
  std::unordered_multimap<std::uint64_t, std::uint32_t> known_;
  Memo both_, without_;
};

class Verdicts {
 public:
  explicit Verdicts(const Space& space);

  PortSets& sets() { return sets_; }

  /// What one end allows; all ports where the end is not judged.
  std::uint32_t end(std::uint32_t side, std::uint32_t direction, std::uint32_t subject,
                    std::uint32_t peer) const {
    if (subject == image::kNoSubject) return PortSets::kAll;
    return set_of_[side][image::rule_set(space_.view(side), direction, subject, peer)];
  }

  /// By rule set: the set of ports that it allows.
  const std::vector<std::uint32_t>& sets_of_rule_sets(std::uint32_t side) const { return set_of_[side]; }

  /// What both ends allow, from one address class to another that is not the same endpoint.
  std::uint32_t allowed(std::uint32_t side, const AddressClass& from, const AddressClass& to) {
    const image::Record source = space_.view(side).record(from.record[side]);
    const image::Record destination = space_.view(side).record(to.record[side]);
    return sets_.both(
        end(side, image::kEgress, source.subject[image::kEgress], destination.peer[image::kEgress]),
        end(side, image::kIngress, destination.subject[image::kIngress], source.peer[image::kIngress]));
  }

 private:
  const Space& space_;
  PortSets sets_;
  std::vector<std::uint32_t> set_of_[kSides];  // by rule set
};

/// Two addresses that a packet could go between.
struct Pair {
  abi::Address source, destination;
};

/// Addresses of two classes that are not one endpoint's in either image; nothing if there are none.
std::optional<Pair> apart(const AddressClass& from, const AddressClass& to);

}  // namespace bulkhead::analysis
