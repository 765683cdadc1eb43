#include "controlplane/compile/merge.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace bulkhead::compile {
namespace {

using Cells = std::vector<std::uint32_t>;

/// Two subjects to each set of clauses, all of one posture.
ClassesDirection classes_of(std::size_t subjects, std::size_t peers) {
  ClassesDirection classes;
  classes.subjects.resize(subjects);
  for (std::uint32_t i = 0; i < subjects; ++i) classes.subjects[i].clauses = i / 2;
  classes.peers.resize(peers);
  return classes;
}

Matrix merged(const ClassesDirection& classes, const std::vector<Cells>& rows) {
  MatrixBuilder builder(classes, 1 << 30);
  for (const Cells& row : rows) builder.add(row);
  return std::move(builder).finish();
}

Cells written(Matrix& matrix) {
  Cells cells(std::size_t{matrix.rows} * matrix.columns);
  for (std::uint32_t row = 0; row < matrix.rows; ++row)
    matrix.read(row, std::span(cells).subspan(std::size_t{row} * matrix.columns, matrix.columns));
  return cells;
}

TEST(Merge, every_cell_is_found_again_however_many_rule_sets_a_row_has) {
  std::mt19937 random(7);
  for (const std::uint32_t distinct : {1u, 15u, 16u, 17u, 200u, 256u, 257u, 5000u, 65536u, 70000u}) {
    const std::size_t peers = distinct + 100;
    const ClassesDirection classes = classes_of(4, peers);
    std::vector<Cells> rows(4, Cells(peers));
    for (Cells& row : rows)
      for (std::size_t peer = 0; peer < peers; ++peer)
        row[peer] = peer < distinct ? static_cast<std::uint32_t>(peer) * 3
                                    : static_cast<std::uint32_t>(random() % distinct) * 3;
    rows[1] = rows[0];
    Matrix matrix = merged(classes, rows);
    const Cells cells = written(matrix);
    for (std::size_t subject = 0; subject < rows.size(); ++subject)
      for (std::size_t peer = 0; peer < peers; ++peer)
        ASSERT_EQ(cells[std::size_t{matrix.row_of[subject]} * matrix.columns + matrix.column_of[peer]],
                  rows[subject][peer])
            << distinct << " rule sets, subject " << subject << ", peer " << peer;
    EXPECT_EQ(matrix.row_of[0], matrix.row_of[1]);
  }
}

TEST(Merge, equal_columns_are_one_and_equal_rows_of_other_clauses_stay_two) {
  const ClassesDirection classes = classes_of(3, 4);
  const Cells row = {5, 9, 5, 2};
  Matrix matrix = merged(classes, {row, row, row});
  EXPECT_EQ(matrix.subject_of_row, (Cells{0, 2}));
  EXPECT_EQ(matrix.row_of, (Cells{0, 0, 1}));
  EXPECT_EQ(matrix.column_of, (Cells{0, 1, 0, 2}));
  EXPECT_EQ(written(matrix), (Cells{5, 9, 2, 5, 9, 2}));
}

TEST(Merge, rows_beyond_the_bound_are_refused) {
  const ClassesDirection classes = classes_of(2, 100);
  MatrixBuilder builder(classes, 100);
  Cells row(100, 1);
  builder.add(row);
  row[0] = 2;
  EXPECT_THROW(builder.add(row), Refused);
}

/// Lists share parts; what they match is the union, ascending, whether a part is listed or has bits.
TEST(Peers, a_list_matches_whom_its_parts_match) {
  std::mt19937 random(3);
  for (const std::size_t width : {1u, 40u, 64u, 1000u}) {
    PeerIndex index;
    index.width = width;
    index.by_selector.resize(4);
    index.by_block.resize(3);
    std::vector<std::vector<bool>> in(8, std::vector<bool>(width));
    for (std::uint32_t peer = 0; peer < width; ++peer)
      for (std::uint32_t part = 0; part < 8; ++part) {
        if (random() % (1u << (2 * (part % 4))) != 0) continue;
        in[part][peer] = true;
        (part < 4   ? index.by_selector[part]
         : part < 7 ? index.by_block[part - 4]
                    : index.world)
            .add(peer, width);
      }
    for (std::uint32_t parts = 0; parts < 256; ++parts) {
      PeerList list;
      for (std::uint32_t part = 0; part < 7; ++part)
        if ((parts >> part & 1) != 0) (part < 4 ? list.selectors : list.blocks).push_back(part % 4);
      list.world = (parts >> 7 & 1) != 0;
      Cells expected, matched = {77};
      for (std::uint32_t peer = 0; peer < width; ++peer)
        for (std::uint32_t part = 0; part < 8; ++part)
          if ((parts >> part & 1) != 0 && in[part][peer]) {
            expected.push_back(peer);
            break;
          }
      index.matching(list, matched);
      ASSERT_EQ(matched, expected) << width << " peers, parts " << parts;
    }
  }
}

}  // namespace
}  // namespace bulkhead::compile
