// Port terms -> classes of ports that no term tells apart, and the two-step pages that lead to them.
//
// A term is a range of one protocol's ports. Names are resolved to terms first, for the endpoints on which
// they are looked up; then settle() cuts each protocol's 65,536 ports where terms begin and end, and pieces
// covered by the same terms become one class, over all protocols.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "controlplane/compile/intern.h"
#include "dataplane/image/format.h"
#include "policies/model/policy.h"

namespace bulkhead::compile {

class Ports {
 public:
  Ports();

  /// Number of a rule's ports; equal ones share it.
  std::uint32_t intern(const policies::Rule& rule);

  /// Names that these ports use, ascending; a number for each (name, protocol).
  std::span<const std::uint32_t> names(std::uint32_t ports) const { return names_of_[uses_[ports].names]; }

  /// What those of `names` that an endpoint's ports have mean on it: a number, 0 where they have none of them.
  std::uint32_t resolve(const std::vector<policies::NamedPort>& ports, std::span<const std::uint32_t> names);

  /// Fixes the classes. No intern() or resolve() afterwards.
  void settle();

  std::uint32_t class_count() const { return static_cast<std::uint32_t>(class_terms_.size()); }
  bool everything(std::uint32_t ports) const { return uses_[ports].everything; }
  /// Appends the classes of these ports, names as `resolved` has them; a class may come twice.
  void classes(std::uint32_t ports, std::uint32_t resolved, std::vector<std::uint32_t>& out) const;

  /// A port of the class that a packet can bear, 0 only where there is no other; nothing where there is none.
  std::optional<std::pair<policies::Protocol, std::uint16_t>> example(std::uint32_t port_class) const;

  std::vector<std::uint16_t> page_of, pages;  // as image::PolicyTables has them

 private:
  struct Term {
    policies::Protocol protocol;
    std::uint16_t first, last;
    auto operator<=>(const Term&) const = default;
  };
  struct Use {
    bool everything = false;
    std::uint32_t terms = 0, names = 0;  // lists
  };

  std::uint32_t term(const Term& wanted);
  std::uint32_t name(std::string_view text, policies::Protocol protocol);
  void settle_protocol(policies::Protocol protocol);

  using Page = std::array<std::uint16_t, image::kPageEntries>;
  std::uint16_t page_number(const Page& page);

  std::map<Term, std::uint32_t> term_numbers_;
  std::vector<Term> terms_;
  std::map<std::pair<std::string_view, policies::Protocol>, std::uint32_t> name_numbers_;
  std::vector<std::pair<std::string_view, policies::Protocol>> names_;
  ListTable term_lists_, names_of_, uses_known_;
  std::vector<Use> uses_;
  ListTable resolved_;  // pairs (name, term), ascending; 0 is none

  std::map<Page, std::uint16_t> page_numbers_;
  ListTable class_terms_;                                 // the terms that cover a class; class 0: none
  std::vector<std::vector<std::uint32_t>> term_classes_;  // by term
};

}  // namespace bulkhead::compile
