#include "controlplane/compile/selectors.h"

#include <algorithm>
#include <bit>
#include <optional>
#include <string_view>

namespace bulkhead::compile {
namespace {

/// Up to here, trying each identity is cheaper than looking at whole bitsets.
constexpr std::uint32_t kNarrow = 64;

/// Up to here, trying each identity is cheaper than the index, which reads all labels of all identities.
constexpr std::size_t kTried = 8;

std::uint64_t hash_of(const policies::Requirement& requirement) {
  std::uint64_t hash = mix(static_cast<std::uint64_t>(requirement.op), requirement.key);
  for (const auto& value : requirement.values) hash = mix(hash, value);
  return hash;
}

std::uint64_t hash_of(const policies::Selector& selector) {
  std::uint64_t hash = selector.requirements.size();
  for (const auto& requirement : selector.requirements) hash = mix(hash, hash_of(requirement));
  return hash;
}

/// The one namespace that a pattern can hold in.
std::optional<std::string_view> namespace_of(const policies::SourceTerm& term,
                                             const policies::Pattern& pattern) {
  if (pattern.form != policies::Pattern::Form::kExact) return std::nullopt;
  std::string_view text = pattern.text;
  if (term.field == policies::SourceTerm::Field::kNamespace) return text;
  constexpr std::string_view kBefore = "/ns/", kBehind = "/sa/";
  const std::size_t before = text.find(kBefore);
  if (before == text.npos) return std::nullopt;
  text.remove_prefix(before + kBefore.size());
  const std::size_t behind = text.find(kBehind);
  return behind == text.npos ? std::nullopt : std::optional(text.substr(0, behind));
}

/// The only namespaces in which the terms can hold; nothing where they tell none.
std::optional<std::vector<std::string_view>> namespaces_of(const policies::Source& source) {
  for (const auto& term : source.terms) {
    if (term.negated) continue;
    std::vector<std::string_view> names;
    for (const auto& pattern : term.patterns)
      if (const auto name = namespace_of(term, pattern)) names.push_back(*name);
    if (names.size() != term.patterns.size()) continue;
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    return names;
  }
  return std::nullopt;
}

}  // namespace

std::size_t Selectors::Hash::operator()(const policies::EndpointSelector* selector) const {
  std::uint64_t hash = hash_of(selector->endpoints);
  if (selector->namespace_name) return mix(hash, *selector->namespace_name);
  return mix(hash, hash_of(selector->namespaces));
}

std::size_t Selectors::Hash::operator()(const policies::Selector* selector) const {
  return hash_of(*selector);
}

std::size_t Selectors::Hash::operator()(const policies::Requirement* requirement) const {
  return hash_of(*requirement);
}

Selectors::Selectors(const Census& census, const Limits& limits, KnownRequirements* known)
    : census_(census), limits_(limits), known_requirements_(known) {}

std::uint32_t Selectors::intern(const policies::EndpointSelector& selector) {
  const auto [known, is_new] = selectors_.try_emplace(&selector, static_cast<std::uint32_t>(matches_.size()));
  if (is_new) matches_.push_back(match(selector));
  return known->second;
}

std::uint32_t Selectors::intern(const policies::Source& source) {
  const auto [known, is_new] =
      sources_.try_emplace(&source.terms, static_cast<std::uint32_t>(matches_.size()));
  if (is_new) matches_.push_back(match(source));
  return known->second;
}

std::vector<std::uint32_t> Selectors::match(const policies::Source& source) const {
  std::vector<std::uint32_t> result;
  const auto try_all_of = [&](const NamespaceEntry& home) {
    for (std::uint32_t i = 0; i < home.identities_count; ++i)
      if (source.matches_identity(home.name, census_.identities[home.identities_first + i].service_account))
        result.push_back(home.identities_first + i);
  };
  if (const auto names = namespaces_of(source)) {
    for (const auto name : *names)
      if (const NamespaceEntry* home = census_.find_namespace(name)) try_all_of(*home);
  } else {
    for (const auto& home : census_.namespaces) try_all_of(home);
  }
  return result;
}

std::vector<Selectors::Range> Selectors::ranges_of(const policies::EndpointSelector& selector) {
  if (selector.namespace_name) {
    const NamespaceEntry* found = census_.find_namespace(*selector.namespace_name);
    if (found == nullptr || found->identities_count == 0) return {};
    return {{found->identities_first, found->identities_first + found->identities_count}};
  }
  if (selector.namespaces.requirements.empty())
    return {{0, static_cast<std::uint32_t>(census_.identities.size())}};
  const auto [known, is_new] = namespace_selectors_.try_emplace(
      &selector.namespaces, static_cast<std::uint32_t>(namespace_ranges_.size()));
  if (is_new) {
    auto& ranges = namespace_ranges_.emplace_back();
    for (const auto& entry : census_.namespaces) {
      if (entry.identities_count == 0 || !selector.namespaces.matches(*entry.labels)) continue;
      const std::uint32_t end = entry.identities_first + entry.identities_count;
      if (!ranges.empty() && ranges.back().end == entry.identities_first)
        ranges.back().end = end;
      else
        ranges.push_back({entry.identities_first, end});
    }
  }
  return namespace_ranges_[known->second];
}

std::vector<std::uint32_t> Selectors::match(const policies::EndpointSelector& selector) {
  const std::vector<Range> ranges = ranges_of(selector);
  std::uint32_t width = 0;
  for (const auto& range : ranges) width += range.end - range.first;
  std::vector<std::uint32_t> result;
  const auto& requirements = selector.endpoints.requirements;
  if (width <= kNarrow || requirements.empty()) {
    for (const auto& range : ranges)
      for (std::uint32_t identity = range.first; identity < range.end; ++identity)
        if (selector.endpoints.matches(*census_.identities[identity].labels)) result.push_back(identity);
    return result;
  }

  std::vector<const Bits*> wanted;
  for (const auto& requirement : requirements) bits_of(requirement);  // all first: a new one moves the others
  for (const auto& requirement : requirements) wanted.push_back(&bits_of(requirement));
  for (const auto& range : ranges) {
    for (std::uint32_t word = range.first / 64; word * 64 < range.end; ++word) {
      std::uint64_t bits = ~std::uint64_t{0};
      if (word == range.first / 64) bits &= ~std::uint64_t{0} << (range.first % 64);
      if (range.end - word * 64 < 64) bits &= (std::uint64_t{1} << (range.end % 64)) - 1;
      for (const Bits* set : wanted) bits &= (*set)[word];
      for (; bits != 0; bits &= bits - 1)
        result.push_back(word * 64 + static_cast<std::uint32_t>(std::countr_zero(bits)));
    }
  }
  return result;
}

const Selectors::Bits& Selectors::bits_of(const policies::Requirement& requirement) {
  const auto [known, is_new] =
      requirements_.try_emplace(&requirement, static_cast<std::uint32_t>(requirement_bits_.size()));
  if (!is_new) return requirement_bits_[known->second];
  Bits bits((census_.identities.size() + 63) / 64);
  bits_bytes_ += bits.size() * sizeof(bits[0]);
  if (bits_bytes_ > limits_.work_bytes_max)
    throw Refused{"the index of label requirements needs more than " +
                  std::to_string(limits_.work_bytes_max) + " bytes"};
  if (!mark_by_what_is_known(requirement, bits)) {
    if (requirement_bits_.size() < kTried)
      mark_by_trying(requirement, bits);
    else
      mark_by_index(requirement, bits);
    let_know(requirement, bits);
  }
  return requirement_bits_.emplace_back(std::move(bits));
}

void Selectors::mark_by_trying(const policies::Requirement& requirement, Bits& bits) const {
  for (std::uint32_t identity = 0; identity < census_.identities.size(); ++identity)
    if (requirement.matches(*census_.identities[identity].labels)) set_bit(bits, identity);
}

bool Selectors::mark_by_what_is_known(const policies::Requirement& requirement, Bits& bits) const {
  const auto* met = known_requirements_ == nullptr ? nullptr : known_requirements_->find(requirement);
  if (met == nullptr) return false;
  for (std::uint32_t identity = 0; identity < census_.identities.size(); ++identity)
    if (has_bit(*met, census_.identities[identity].bound)) set_bit(bits, identity);
  return true;
}

void Selectors::let_know(const policies::Requirement& requirement, const Bits& bits) const {
  if (known_requirements_ == nullptr) return;
  KnownRequirements::Bits met(bits.size());
  for (std::uint32_t identity = 0; identity < census_.identities.size(); ++identity) {
    const std::uint32_t place = census_.identities[identity].bound;
    if (met.size() <= place / 64) met.resize(place / 64 + 1);
    if (has_bit(bits, identity)) set_bit(met, place);
  }
  known_requirements_->keep(requirement, std::move(met));
}

void Selectors::mark_by_index(const policies::Requirement& requirement, Bits& bits) {
  build_index();
  const auto mark = [&](const std::vector<std::uint32_t>& identities) {
    for (const std::uint32_t identity : identities)
      bits[identity / 64] |= std::uint64_t{1} << (identity % 64);
  };
  const bool by_value =
      requirement.op == policies::Operator::kIn || requirement.op == policies::Operator::kNotIn;
  if (const auto key = index_.find(requirement.key); key != index_.end()) {
    if (by_value) {
      for (const auto& value : requirement.values)
        if (const auto found = key->second.find(value); found != key->second.end()) mark(found->second);
    } else {
      for (const auto& [value, identities] : key->second) mark(identities);
    }
  }
  if (requirement.op == policies::Operator::kNotIn || requirement.op == policies::Operator::kDoesNotExist)
    for (auto& word : bits) word = ~word;
}

void Selectors::build_index() {
  if (indexed_) return;
  indexed_ = true;
  for (std::uint32_t identity = 0; identity < census_.identities.size(); ++identity)
    for (const auto& [key, value] : *census_.identities[identity].labels)
      index_[key][value].push_back(identity);
}

}  // namespace bulkhead::compile
