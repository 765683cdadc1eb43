#include "controlplane/compile/known_requirements.h"

#include <utility>

#include "controlplane/compile/intern.h"

namespace bulkhead::compile {
namespace {

/// A policy set asks for few again and again. Whoever asks for more pays as if nothing were kept.
constexpr std::size_t kKnownMax = 256;

}  // namespace

void KnownRequirements::enter(std::uint32_t place, const policies::Labels& labels) {
  for (auto& [requirement, bits] : known_) {
    if (bits.size() <= place / 64) bits.resize(place / 64 + 1);
    bits[place / 64] &= ~(std::uint64_t{1} << place % 64);  // another's, who had the place before
    if (requirement.matches(labels)) set_bit(bits, place);
  }
}

const KnownRequirements::Bits* KnownRequirements::find(const policies::Requirement& requirement) const {
  const auto found = known_.find(requirement);
  return found == known_.end() ? nullptr : &found->second;
}

void KnownRequirements::keep(const policies::Requirement& requirement, Bits met) {
  if (known_.size() >= kKnownMax) known_.clear();
  known_.emplace(requirement, std::move(met));
}

}  // namespace bulkhead::compile
