#include "controlplane/compile/merge.h"

#include <algorithm>
#include <string>
#include <utility>

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

PackedRow::PackedRow(std::span<const std::uint32_t> cells, std::vector<std::uint32_t>& scratch)
    : columns_(static_cast<std::uint32_t>(cells.size())) {
  std::vector<std::uint16_t> places(cells.size());
  for (std::size_t column = 0; column < cells.size(); ++column) {
    const std::uint32_t cell = cells[column];
    if (cell >= scratch.size()) scratch.resize(cell + cell / 2 + 1, kNone);
    if (scratch[cell] == kNone) {
      scratch[cell] = static_cast<std::uint32_t>(palette_.size());
      palette_.push_back(cell);
    }
    places[column] = static_cast<std::uint16_t>(scratch[cell]);
  }
  for (const std::uint32_t cell : palette_) scratch[cell] = kNone;
  cell_bits_ = palette_.size() <= 16         ? 4
               : palette_.size() <= 0x100    ? 8
               : palette_.size() <= 0x1'0000 ? 16
                                             : 32;
  if (cell_bits_ == 32) {
    palette_ = {};
    plain_.assign(cells.begin(), cells.end());
    return;
  }
  palette_.shrink_to_fit();
  bytes_.resize((cells.size() * cell_bits_ + 7) / 8);
  if (cell_bits_ == 4) {
    for (std::size_t column = 0; column < places.size(); ++column)
      bytes_[column / 2] |= static_cast<std::uint8_t>(places[column] << column % 2 * 4);
  } else if (cell_bits_ == 8) {
    for (std::size_t column = 0; column < places.size(); ++column)
      bytes_[column] = static_cast<std::uint8_t>(places[column]);
  } else {
    for (std::size_t column = 0; column < places.size(); ++column) {
      bytes_[column * 2] = static_cast<std::uint8_t>(places[column]);
      bytes_[column * 2 + 1] = static_cast<std::uint8_t>(places[column] >> 8);
    }
  }
}

void PackedRow::unpack(std::span<std::uint32_t> cells) const {
  if (cell_bits_ == 4)
    for (std::size_t column = 0; column < columns_; ++column)
      cells[column] = palette_[bytes_[column / 2] >> column % 2 * 4 & 15];
  else if (cell_bits_ == 8)
    for (std::size_t column = 0; column < columns_; ++column) cells[column] = palette_[bytes_[column]];
  else
    for (std::size_t column = 0; column < columns_; ++column) cells[column] = (*this)[column];
}

std::uint64_t PackedRow::hash() const {
  std::uint64_t hash = palette_.size();
  for (const auto* numbers : {&palette_, &plain_})
    for (const std::uint32_t number : *numbers) hash = mix(hash, number);
  return mix(hash, std::string_view(reinterpret_cast<const char*>(bytes_.data()), bytes_.size()));
}

void Matrix::read(std::uint32_t row, std::span<std::uint32_t> cells) const {
  std::vector<std::uint32_t> plain(column_of.size());
  packed[row].unpack(plain);
  auto cell = cells.begin();
  for (const std::uint32_t peer : peer_of_column) *cell++ = plain[peer];
}

MatrixBuilder::MatrixBuilder(const ClassesDirection& classes, std::uint64_t bytes_max)
    : classes_(classes), bytes_max_(bytes_max) {}

void MatrixBuilder::add(std::span<const std::uint32_t> cells) {
  const auto number = static_cast<std::uint32_t>(matrix_.row_of.size());
  const Subject& subject = classes_.subjects[number];
  PackedRow row(cells, scratch_);
  auto& candidates = known_[mix(mix(row.hash(), subject.clauses), subject.posture_allows)];
  const auto found = std::find_if(candidates.begin(), candidates.end(), [&](std::uint32_t candidate) {
    const Subject& other = classes_.subjects[matrix_.subject_of_row[candidate]];
    return subject.clauses == other.clauses && subject.posture_allows == other.posture_allows &&
           matrix_.packed[candidate] == row;
  });
  if (found != candidates.end()) {
    matrix_.row_of.push_back(*found);
    return;
  }
  bytes_ += row.bytes();
  if (bytes_ > bytes_max_)
    throw Refused{std::to_string(classes_.subjects.size()) + " subject classes and " +
                  std::to_string(classes_.peers.size()) +
                  " peer classes make a matrix that needs more than " + std::to_string(bytes_max_) +
                  " bytes"};
  candidates.push_back(matrix_.rows);
  matrix_.row_of.push_back(matrix_.rows++);
  matrix_.subject_of_row.push_back(number);
  matrix_.packed.push_back(std::move(row));
}

Matrix MatrixBuilder::finish() && {
  // A weighted sum is weak but lets the compiler work on many columns at once; equality is tested exactly.
  std::vector<std::uint64_t> hashes(classes_.peers.size());
  std::vector<std::uint32_t> plain(classes_.peers.size());
  std::uint64_t weight = 1;
  for (std::uint32_t row = 0; row < matrix_.rows; ++row) {
    weight = mix(weight, matrix_.subject_of_row[row]) | 1;
    matrix_.packed[row].unpack(plain);
    for (std::size_t peer = 0; peer < plain.size(); ++peer) hashes[peer] += weight * plain[peer];
  }
  matrix_.peer_of_column = group(
      hashes,
      [&](std::uint32_t a, std::uint32_t b) {
        return std::all_of(matrix_.packed.begin(), matrix_.packed.end(),
                           [&](const PackedRow& row) { return row[a] == row[b]; });
      },
      matrix_.column_of);
  matrix_.columns = static_cast<std::uint32_t>(matrix_.peer_of_column.size());
  return std::move(matrix_);
}

}  // namespace bulkhead::compile
