#include "controlplane/compile/ports.h"

#include <algorithm>
#include <tuple>

#include "dataplane/image/query.h"

namespace bulkhead::compile {

static_assert(static_cast<int>(policies::Protocol::kOther) == image::kOtherProtocol &&
                  policies::kProtocolCount == image::kProtocolSlots,
              "a protocol's number is its slot in the image");

Ports::Ports() {
  term_lists_.intern({});
  names_of_.intern({});
  resolved_.intern({});
}

std::uint32_t Ports::intern(const policies::Rule& rule) {
  Use use;
  use.everything = rule.all_ports;
  std::vector<std::uint32_t> terms, names;
  for (const auto& match : rule.ports) {
    if (!match.name.empty())
      names.push_back(name(match.name, match.protocol));
    else if (match.first <= match.last)
      terms.push_back(term({match.protocol, match.first, match.last}));
  }
  sort_unique(terms);
  sort_unique(names);
  use.terms = term_lists_.intern(terms);
  use.names = names_of_.intern(names);
  const std::uint32_t number = uses_known_.intern({use.everything, use.terms, use.names});
  if (number == uses_.size()) uses_.push_back(use);
  return number;
}

std::uint32_t Ports::term(const Term& wanted) {
  const auto [known, is_new] = term_numbers_.try_emplace(wanted, static_cast<std::uint32_t>(terms_.size()));
  if (is_new) terms_.push_back(wanted);
  return known->second;
}

std::uint32_t Ports::name(std::string_view text, policies::Protocol protocol) {
  const auto [known, is_new] =
      name_numbers_.try_emplace({text, protocol}, static_cast<std::uint32_t>(names_.size()));
  if (is_new) names_.push_back(known->first);
  return known->second;
}

std::uint32_t Ports::resolve(const std::vector<policies::NamedPort>& ports,
                             std::span<const std::uint32_t> names) {
  std::vector<std::uint32_t> pairs;
  for (const std::uint32_t wanted : names) {
    std::vector<std::uint32_t> found;
    for (const auto& port : ports)
      if (port.name == names_[wanted].first && port.protocol == names_[wanted].second)
        found.push_back(term({port.protocol, port.port, port.port}));
    sort_unique(found);
    for (const std::uint32_t number : found) pairs.insert(pairs.end(), {wanted, number});
  }
  return resolved_.intern(pairs);
}

void Ports::settle() {
  class_terms_.intern({});
  term_classes_.resize(terms_.size());
  for (int protocol = 0; protocol < policies::kProtocolCount; ++protocol)
    settle_protocol(static_cast<policies::Protocol>(protocol));
  for (std::uint32_t index = 0; index < class_count(); ++index)
    for (const std::uint32_t number : class_terms_[index]) term_classes_[number].push_back(index);
}

void Ports::settle_protocol(policies::Protocol protocol) {
  struct Edge {
    std::uint32_t port, term;
    bool opens;
  };
  std::vector<Edge> edges;
  for (std::uint32_t number = 0; number < terms_.size(); ++number) {
    if (terms_[number].protocol != protocol) continue;
    edges.push_back({terms_[number].first, number, true});
    edges.push_back({terms_[number].last + 1u, number, false});
  }
  std::sort(edges.begin(), edges.end(),
            [](const Edge& a, const Edge& b) { return std::tie(a.port, a.term) < std::tie(b.port, b.term); });

  // Classes of one page after another; a page in which nothing begins or ends is of one class.
  Page page;
  std::vector<std::uint32_t> open;  // ascending
  std::uint16_t current = 0;
  auto edge = edges.begin();
  std::optional<std::uint16_t> plain;  // the page that is all `current`, if it was met
  for (std::uint32_t start = 0; start < 65536; start += image::kPageEntries) {
    std::uint32_t at = start;
    if (plain && (edge == edges.end() || edge->port >= start + image::kPageEntries)) {
      page_of.push_back(*plain);
      continue;
    }
    const bool is_plain = edge == edges.end() || edge->port >= start + image::kPageEntries;
    while (edge != edges.end() && edge->port < start + image::kPageEntries) {
      std::fill(page.begin() + (at - start), page.begin() + (edge->port - start), current);
      at = edge->port;
      for (; edge != edges.end() && edge->port == at; ++edge) {
        const auto place = std::lower_bound(open.begin(), open.end(), edge->term);
        if (edge->opens)
          open.insert(place, edge->term);
        else
          open.erase(place);
      }
      const std::uint32_t number = class_terms_.intern(open);
      if (number > 0xffff) throw Refused{"the policies tell more than 65,536 classes of ports apart"};
      current = static_cast<std::uint16_t>(number);
    }
    std::fill(page.begin() + (at - start), page.end(), current);
    page_of.push_back(page_number(page));
    plain = is_plain ? std::optional(page_of.back()) : std::nullopt;
  }
}

std::uint16_t Ports::page_number(const Page& page) {
  const auto [known, is_new] =
      page_numbers_.try_emplace(page, static_cast<std::uint16_t>(pages.size() / image::kPageEntries));
  if (is_new) pages.insert(pages.end(), page.begin(), page.end());
  return known->second;
}

void Ports::classes(std::uint32_t ports, std::uint32_t resolved, std::vector<std::uint32_t>& out) const {
  const auto add = [&](std::uint32_t number) {
    out.insert(out.end(), term_classes_[number].begin(), term_classes_[number].end());
  };
  for (const std::uint32_t number : term_lists_[uses_[ports].terms]) add(number);
  const auto wanted = names_of_[uses_[ports].names];
  if (wanted.empty()) return;
  const auto pairs = resolved_[resolved];
  for (std::size_t i = 0; i < pairs.size(); i += 2)
    if (std::binary_search(wanted.begin(), wanted.end(), pairs[i])) add(pairs[i + 1]);
}

std::optional<std::pair<policies::Protocol, std::uint16_t>> Ports::example(std::uint32_t port_class) const {
  std::optional<std::pair<policies::Protocol, std::uint16_t>> zero;
  for (std::uint32_t slot = 0; slot < image::kProtocolSlots; ++slot) {
    const bool has_ports = slot <= image::kSctp;
    for (std::uint32_t port = 0; port < (has_ports ? 65536 : 256); ++port) {
      const std::uint32_t page = page_of[slot * 256 + port / image::kPageEntries];
      if (pages[page * image::kPageEntries + port % image::kPageEntries] != port_class) continue;
      if (slot == image::kOtherProtocol && image::protocol_slot(static_cast<std::uint8_t>(port)) != slot)
        continue;
      const std::pair found{static_cast<policies::Protocol>(slot), static_cast<std::uint16_t>(port)};
      if (!has_ports || port != 0) return found;
      if (!zero) zero = found;
    }
  }
  return zero;
}

}  // namespace bulkhead::compile
