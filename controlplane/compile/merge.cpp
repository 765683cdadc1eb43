#include "controlplane/compile/merge.h"

#include <algorithm>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

namespace bulkhead::compile {
namespace {

/// Numbers 0..count-1 by equality, given a hash each and an exact test. Returns the classes' first members.
template <typename Equal>
std::vector<std::uint32_t> group(std::span<const std::uint64_t> hashes, Equal equal,
                                 std::vector<std::uint32_t>& class_of) {
  std::vector<std::uint32_t> firsts;
  std::unordered_map<std::uint64_t, std::vector<std::uint32_t>> known;  // classes by hash
  for (std::uint32_t index = 0; index < hashes.size(); ++index) {
    auto& candidates = known[hashes[index]];
    const auto found = std::find_if(candidates.begin(), candidates.end(),
                                    [&](std::uint32_t candidate) { return equal(firsts[candidate], index); });
    if (found != candidates.end()) {
      class_of.push_back(*found);
      continue;
    }
    candidates.push_back(static_cast<std::uint32_t>(firsts.size()));
    class_of.push_back(candidates.back());
    firsts.push_back(index);
  }
  return firsts;
}

}  // namespace

Matrix merge(const ClassesDirection& classes, std::vector<std::uint32_t> full) {
  const std::size_t width = classes.peers.size();
  const auto row = [&](std::uint32_t subject) {
    return std::span<const std::uint32_t>(full).subspan(subject * width, width);
  };
  Matrix matrix;

  std::vector<std::uint64_t> hashes(classes.subjects.size());
  for (std::uint32_t subject = 0; subject < hashes.size(); ++subject)
    hashes[subject] = mix(classes.subjects[subject].clauses, classes.subjects[subject].posture_allows);
  matrix.subject_of_row = group(
      hashes,
      [&](std::uint32_t a, std::uint32_t b) {
        const Subject &first = classes.subjects[a], &second = classes.subjects[b];
        return first.clauses == second.clauses && first.posture_allows == second.posture_allows &&
               std::equal(row(a).begin(), row(a).end(), row(b).begin());
      },
      matrix.row_of);

  // A weighted sum is weak but lets the compiler work on many columns at once; equality is tested exactly.
  hashes.assign(width, 0);
  std::uint64_t weight = 1;
  for (const std::uint32_t subject : matrix.subject_of_row) {
    weight = mix(weight, subject) | 1;
    const auto cells = row(subject);
    for (std::size_t peer = 0; peer < width; ++peer) hashes[peer] += weight * cells[peer];
  }
  const std::vector<std::uint32_t> peer_of_column = group(
      hashes,
      [&](std::uint32_t a, std::uint32_t b) {
        return std::all_of(matrix.subject_of_row.begin(), matrix.subject_of_row.end(),
                           [&](std::uint32_t subject) { return row(subject)[a] == row(subject)[b]; });
      },
      matrix.column_of);

  matrix.rows = static_cast<std::uint32_t>(matrix.subject_of_row.size());
  matrix.columns = static_cast<std::uint32_t>(peer_of_column.size());
  // In place: what is kept only moves towards the front.
  auto cell = full.begin();
  for (const std::uint32_t subject : matrix.subject_of_row) {
    const auto cells = row(subject);
    for (const std::uint32_t peer : peer_of_column) *cell++ = cells[peer];
  }
  full.erase(cell, full.end());
  matrix.cells = std::move(full);
  return matrix;
}

}  // namespace bulkhead::compile
