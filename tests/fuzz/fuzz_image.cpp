// Hostile images: whatever the validator accepts must answer every question from inside its bytes.
//
// Inputs are image files. The mutator starts from built images and damages them field by field, so that most inputs
// get past the header; digests are not checked, as an attacker would compute them.
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "dataplane/image/layout.h"
#include "tests/unit/image/probe.h"
#include "tests/unit/image/reshape.h"
#include "tests/unit/image/sample.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace bulkhead::image {
namespace {

struct Place {
  std::size_t offset = 0;
  std::size_t bytes = 0;
  std::size_t element_bytes = 1;
};

/// One header or table, chosen at random. Nothing where the damage so far leads out of the input.
template <class Header>
Place pick_place(std::span<const std::byte> section, std::size_t section_offset, std::mt19937& random) {
  std::vector<Place> places{{0, sizeof(Header), sizeof(std::uint32_t)}};
  Header header;
  std::memcpy(&header, section.data(), sizeof header);
  for_each_table(header, [&](const char*, const TableRef& ref, std::size_t element_bytes) {
    if (ref.offset < section.size() && ref.count != 0 &&
        ref.count <= (section.size() - ref.offset) / element_bytes)
      places.push_back({ref.offset, ref.count * element_bytes, element_bytes});
  });
  Place place = places[random() % places.size()];
  place.offset += section_offset;
  return place;
}

std::uint32_t interesting(std::uint32_t old, std::mt19937& random) {
  switch (random() % 8) {
    case 0:
      return old + 1;
    case 1:
      return old - 1;
    case 2:
      return old ^ (1u << random() % 32);
    case 3:
      return 0;
    case 4:
      return 0xffff'ffffu;
    case 5:
      return kTrieChildBit | random() % 32;
    case 6:
      return random() % 64;
    default:
      return static_cast<std::uint32_t>(random());
  }
}

/// Changes one field, copies one element over another, or lets libFuzzer loose on a few bytes of one table.
void damage(std::uint8_t* data, const Place& place, std::mt19937& random) {
  std::uint8_t* bytes = data + place.offset;
  const std::uint64_t kind = random() % 4;
  if (kind == 0 && place.bytes >= 2 * place.element_bytes) {
    const std::size_t count = place.bytes / place.element_bytes;
    std::memmove(bytes + random() % count * place.element_bytes,
                 bytes + random() % count * place.element_bytes, place.element_bytes);
  } else if (kind == 1) {
    const std::size_t at = random() % place.bytes;
    const std::size_t length = std::min<std::size_t>(place.bytes - at, 1 + random() % 16);
    LLVMFuzzerMutate(bytes + at, length, length);
  } else if (place.bytes >= sizeof(std::uint32_t)) {
    std::uint8_t* field = bytes + random() % (place.bytes / sizeof(std::uint32_t)) * sizeof(std::uint32_t);
    std::uint32_t value;
    std::memcpy(&value, field, sizeof value);
    value = interesting(value, random);
    std::memcpy(field, &value, sizeof value);
  }
}

sample::Shape random_shape(std::mt19937& random) {
  sample::Shape shape;
  shape.endpoints = random() % 12;
  shape.local = random() % (shape.endpoints + 1);
  shape.identities = 1 + random() % 4;
  shape.classes = 1 + random() % shape.identities;
  shape.rules = random() % 8;
  shape.rule_sets = 1 + random() % 4;
  shape.port_classes = 1 + random() % 4;
  shape.blocks = random() % 8;
  shape.seed = random();
  return shape;
}

std::size_t fresh_image(std::uint8_t* data, std::size_t max_size, std::mt19937& random) {
  sample::Tables tables = sample::make_tables(random_shape(random));
  tables.shards = 1u << random() % 3;
  const std::vector<std::byte> file = sample::file_of(sample::build(tables));
  if (file.size() > max_size) return 0;
  std::memcpy(data, file.data(), file.size());
  return file.size();
}

/// An allocation of exactly the section's bytes: a sanitizer sees the first step beyond them.
std::vector<std::byte> own_copy(std::span<const std::byte> section) {
  return {section.begin(), section.end()};
}

/// Makes one table longer or shorter and moves the others along.
template <class Header>
std::vector<std::byte> resized(std::span<const std::byte> section, SectionKind kind, std::mt19937& random) {
  if (check_frame(section, kind, false)) return own_copy(section);
  Header header;
  std::memcpy(&header, section.data(), sizeof header);
  std::vector<std::pair<const char*, std::uint64_t>> tables;
  for_each_table(header, [&](const char* name, const TableRef& ref, std::size_t) {
    tables.push_back({name, ref.count});
  });
  const auto [name, count] = tables[random() % tables.size()];
  const std::uint64_t change = 1 + random() % 8;
  return sample::resize_table<Header>(section, name,
                                      random() % 2 == 0 ? count + change : count - std::min(count, change));
}

sample::Image own_copy(const Sections& sections) {
  sample::Image image{own_copy(sections.policy), {}};
  for (const auto shard : sections.shards) image.shards.push_back(own_copy(shard));
  return image;
}

std::size_t resize(std::uint8_t* data, std::size_t size, std::size_t max_size, const Sections& sections,
                   std::mt19937& random) {
  sample::Image image = own_copy(sections);
  auto& shard = image.shards[random() % image.shards.size()];
  if (random() % 2 == 0)
    image.policy = resized<PolicyHeader>(image.policy, SectionKind::kPolicy, random);
  else
    shard = resized<ShardHeader>(shard, SectionKind::kShard, random);
  const std::vector<std::byte> file = sample::file_of(image);
  if (file.size() > max_size) return size;
  std::memcpy(data, file.data(), file.size());
  return file.size();
}

}  // namespace
}  // namespace bulkhead::image

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned int seed) {
  using namespace bulkhead::image;
  std::mt19937 random(seed);
  const auto split = split_file(std::as_bytes(std::span(data, size)));
  const auto* sections = std::get_if<Sections>(&split);
  if (sections == nullptr || sections->policy.size() < sizeof(PolicyHeader) || sections->shards.empty() ||
      random() % 64 == 0)
    return fresh_image(data, max_size, random);
  if (random() % 8 == 0) return resize(data, size, max_size, *sections, random);
  for (std::uint64_t left = 1 + random() % 3; left != 0; --left) {
    const auto shard = sections->shards[random() % sections->shards.size()];
    const auto offset = static_cast<std::size_t>(reinterpret_cast<const std::uint8_t*>(shard.data()) - data);
    const Place place = random() % 2 == 0 ? pick_place<PolicyHeader>(sections->policy, 0, random)
                                          : pick_place<ShardHeader>(shard, offset, random);
    damage(data, place, random);
  }
  return size;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bulkhead::image;
  const auto split = split_file(std::as_bytes(std::span(data, size)));
  const auto* sections = std::get_if<Sections>(&split);
  if (sections == nullptr) return 0;
  const sample::Image image = own_copy(*sections);
  const auto result = validate(image.sections(), false);
  if (const View* view = std::get_if<View>(&result))
    if (!sample::answers_stay_inside(*view, size ^ std::to_integer<std::uint64_t>(image.policy.back()), 50))
      std::abort();
  return 0;
}
