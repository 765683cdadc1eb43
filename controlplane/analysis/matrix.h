// Who may talk to whom: actors that nothing tells apart together, and the ports between each two.
//
// An actor is a label set, the nodes, or a part of the world that policies name. Actors that every other treats alike, and
// that treat every other alike, are one row and one column. An actor's addresses may differ (address families, address
// blocks, named ports): what only some of them may is kept apart from what all may.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "controlplane/analysis/verdicts.h"

namespace bulkhead::analysis {

struct Cell {
  std::vector<PortRange> all;   // pass between every two addresses
  std::vector<PortRange> some;  // pass between some, and not between every two
  bool self_only = false;       // both ends are one endpoint: policies say nothing
  bool operator==(const Cell&) const = default;
  bool empty() const { return all.empty() && some.empty(); }
};

struct Matrix {
  std::vector<std::vector<std::uint32_t>> actors;  // address classes of the space
  std::vector<Cell> cells;                         // [from * actors + to]
  const Cell& cell(std::size_t from, std::size_t to) const { return cells[from * actors.size() + to]; }
};

/// More than this nobody reads, and their cells would not fit: a matrix of more actors comes without cells.
inline constexpr std::size_t kActorsMax = 2000;

/// Of the second image of the space, of the address classes that `chosen` says. ICMP counts where it belongs to the
/// family.
Matrix matrix(const Space& space, const std::function<bool(std::uint32_t)>& chosen);

}  // namespace bulkhead::analysis
