// Which identities a selector means, each distinct selector asked once.
//
// A selector of one small namespace is tried on that namespace's identities. A wide one is answered from an
// inverted index: each distinct requirement is a bitset over all identities, a selector the AND of its
// requirements' bitsets over the identities of its namespaces. Of a few requirements only, the bitsets are made without
// the index.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <unordered_map>
#include <vector>

#include "controlplane/compile/census.h"
#include "controlplane/compile/intern.h"
#include "controlplane/compile/known_requirements.h"
#include "policies/model/policy.h"

namespace bulkhead::compile {

class Selectors {
 public:
  /// Both outlive this. Selectors given to intern() must stay where they are.
  /// `known`: what earlier passes found, whose identities this census has; null where there is no telling.
  Selectors(const Census& census, const Limits& limits, KnownRequirements* known = nullptr);

  /// Number of the selector; equal ones share it.
  std::uint32_t intern(const policies::EndpointSelector& selector);
  /// By the terms of a source, whatever its addresses; numbered together with the selectors.
  std::uint32_t intern(const policies::Source& source);

  /// Identities that the selector matches, ascending.
  std::span<const std::uint32_t> identities(std::uint32_t selector) const { return matches_[selector]; }
  std::size_t size() const { return matches_.size(); }

 private:
  struct Hash {
    std::size_t operator()(const policies::EndpointSelector* selector) const;
    std::size_t operator()(const policies::Selector* selector) const;
    std::size_t operator()(const policies::Requirement* requirement) const;
  };
  struct Equal {
    template <typename T>
    bool operator()(const T* a, const T* b) const {
      return *a == *b;
    }
  };
  template <typename T>
  using Known = std::unordered_map<const T*, std::uint32_t, Hash, Equal>;

  struct Range {
    std::uint32_t first, end;  // identities
  };
  using Bits = std::vector<std::uint64_t>;

  std::vector<Range> ranges_of(const policies::EndpointSelector& selector);
  std::vector<std::uint32_t> match(const policies::EndpointSelector& selector);
  std::vector<std::uint32_t> match(const policies::Source& source) const;
  const Bits& bits_of(const policies::Requirement& requirement);
  void mark_by_trying(const policies::Requirement& requirement, Bits& bits) const;
  bool mark_by_what_is_known(const policies::Requirement& requirement, Bits& bits) const;
  void let_know(const policies::Requirement& requirement, const Bits& bits) const;
  void mark_by_index(const policies::Requirement& requirement, Bits& bits);
  void build_index();

  const Census& census_;
  const Limits& limits_;
  KnownRequirements* known_requirements_;
  Known<policies::EndpointSelector> selectors_;
  struct Less {
    bool operator()(const std::vector<policies::SourceTerm>* a,
                    const std::vector<policies::SourceTerm>* b) const {
      return *a < *b;
    }
  };
  std::map<const std::vector<policies::SourceTerm>*, std::uint32_t, Less> sources_;  // by their terms
  std::vector<std::vector<std::uint32_t>> matches_;
  Known<policies::Selector> namespace_selectors_;
  std::vector<std::vector<Range>> namespace_ranges_;
  Known<policies::Requirement> requirements_;
  std::vector<Bits> requirement_bits_;
  std::uint64_t bits_bytes_ = 0;

  using Postings = std::unordered_map<std::string_view, std::vector<std::uint32_t>>;  // by value
  std::unordered_map<std::string_view, Postings> index_;                              // by key
  bool indexed_ = false;
};

}  // namespace bulkhead::compile
