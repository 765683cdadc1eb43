// Sections whose tables are longer or shorter than they should be, and yet lie in their proper places.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "dataplane/image/layout.h"

namespace bulkhead::image::sample {

/// The section with `count` elements in the named table, new ones zero. Its digest stays as it was.
template <class Header>
std::vector<std::byte> resize_table(std::span<const std::byte> section, std::string_view table,
                                    std::uint64_t count) {
  Header old;
  std::memcpy(&old, section.data(), sizeof old);
  std::vector<TableRef> old_places;
  for_each_table(old, [&](const char*, const TableRef& ref, std::size_t) { old_places.push_back(ref); });

  Header header = old;
  std::vector<std::byte> result(sizeof header);
  std::size_t i = 0;
  for_each_table(header, [&](const char* name, TableRef& ref, std::size_t element_bytes) {
    const TableRef from = old_places[i++];
    ref = {align_table(result.size()), name == table ? count : from.count};
    result.resize(ref.offset + ref.count * element_bytes);
    std::copy_n(section.begin() + static_cast<std::ptrdiff_t>(from.offset),
                std::min(ref.count, from.count) * element_bytes,
                result.begin() + static_cast<std::ptrdiff_t>(ref.offset));
  });
  result.resize(align_table(result.size()));
  header.bytes = result.size();
  std::memcpy(result.data(), &header, sizeof header);
  return result;
}

}  // namespace bulkhead::image::sample
