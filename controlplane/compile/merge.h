// Equal rows and equal columns of a matrix, stored once.
//
// Rows come one after another and most tell few peers apart, so each is kept as small numbers into a palette of its
// own. At full width the matrix exists nowhere.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "controlplane/compile/classes.h"

namespace bulkhead::compile {

/// Packed into half a byte, one, two or four bytes a cell. Equal rows are equal objects.
class PackedRow {
 public:
  /// `scratch`: by value, kNone between calls; it grows as needed.
  PackedRow(std::span<const std::uint32_t> cells, std::vector<std::uint32_t>& scratch);

  bool operator==(const PackedRow&) const = default;
  std::uint32_t operator[](std::size_t column) const {
    return cell_bits_ == 4    ? palette_[bytes_[column / 2] >> column % 2 * 4 & 15]
           : cell_bits_ == 8  ? palette_[bytes_[column]]
           : cell_bits_ == 16 ? palette_[bytes_[column * 2] | bytes_[column * 2 + 1] << 8]
                              : plain_[column];
  }
  /// All of them, as they were given.
  void unpack(std::span<std::uint32_t> cells) const;
  /// The distinct cells; nothing where they are too many for a palette.
  std::span<const std::uint32_t> palette() const { return palette_; }
  std::uint64_t hash() const;
  std::uint64_t bytes() const { return bytes_.size() + (palette_.size() + plain_.size()) * 4; }

 private:
  std::uint32_t columns_;
  std::uint8_t cell_bits_;
  std::vector<std::uint32_t> palette_, plain_;
  std::vector<std::uint8_t> bytes_;
};

/// One direction's matrix after merging.
struct Matrix {
  std::uint32_t rows = 0, columns = 0;
  std::vector<std::uint32_t> row_of;          // by subject class of classes.h
  std::vector<std::uint32_t> column_of;       // by peer class of classes.h
  std::vector<std::uint32_t> subject_of_row;  // one subject class for each row
  std::vector<std::uint32_t> peer_of_column;  // one peer class for each column
  std::vector<PackedRow> packed;              // by row; cells by peer class

  /// [column] -> rule set.
  void read(std::uint32_t row, std::span<std::uint32_t> cells) const;
};

class MatrixBuilder {
 public:
  /// Throws Refused where the rows need more than `bytes_max`.
  MatrixBuilder(const ClassesDirection& classes, std::uint64_t bytes_max);

  /// The next subject class's, by peer class. Rows merge only where the subjects' clauses and posture are the same
  /// too, because those are what an explanation tells.
  void add(std::span<const std::uint32_t> row);
  Matrix finish() &&;

 private:
  const ClassesDirection& classes_;
  const std::uint64_t bytes_max_;
  std::uint64_t bytes_ = 0;
  Matrix matrix_;
  std::vector<std::uint32_t> scratch_;
  std::unordered_map<std::uint64_t, std::vector<std::uint32_t>> known_;  // rows by hash
};

}  // namespace bulkhead::compile
