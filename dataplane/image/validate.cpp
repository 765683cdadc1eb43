#include "dataplane/image/validate.h"

#include <arpa/inet.h>

#include <cstring>

#include "dataplane/abi/telemetry.h"
#include "dataplane/image/layout.h"

namespace bulkhead::image {
namespace {

const char* section_name(SectionKind kind) {
  return kind == SectionKind::kPolicy ? "policy section" : "shard";
}

bool all_zero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte == std::byte{0}; });
}

/// Each table must lie exactly where the builder puts it, so that none overlaps another and no byte is
/// unaccounted for.
template <class Header>
std::optional<Refusal> check_layout(std::span<const std::byte> section, const Header& header,
                                    const char* name) {
  std::optional<Refusal> refusal;
  std::uint64_t end = sizeof(Header);
  for_each_table(header, [&](const char* table_name, const TableRef& ref, std::size_t element_bytes) {
    if (refusal) return;
    const std::uint64_t expected = align_table(end);
    if (ref.offset != expected)
      refusal = refuse(name, ", table ", table_name, ": lies at byte ", ref.offset, ", expected ", expected);
    else if (expected > section.size() || ref.count > (section.size() - expected) / element_bytes)
      refusal = refuse(name, ", table ", table_name, ": ", ref.count, " elements do not fit into ",
                       section.size(), " bytes");
    else if (!all_zero(section.subspan(end, expected - end)))
      refusal = refuse(name, ": padding before table ", table_name, " is not zero");
    else
      end = expected + ref.count * element_bytes;
  });
  if (refusal) return refusal;
  if (section.size() != align_table(end))
    return refuse(name, ": ", section.size(), " bytes, but its tables end at ", align_table(end));
  if (!all_zero(section.subspan(end))) return refuse(name, ": padding at the end is not zero");
  return std::nullopt;
}

template <class Header>
std::optional<Refusal> check_header(std::span<const std::byte> section, SectionKind kind, bool check_digest) {
  const char* name = section_name(kind);
  if (reinterpret_cast<std::uintptr_t>(section.data()) % alignof(std::uint64_t) != 0)
    return refuse(name, ": does not start on an 8-byte boundary");
  if (section.size() < sizeof(Header) || section.size() > kSectionBytesMax)
    return refuse(name, ": ", section.size(), " bytes, expected ", sizeof(Header), " to ", kSectionBytesMax);
  const auto& header = *reinterpret_cast<const Header*>(section.data());
  if (header.magic != kMagic) return refuse(name, ": does not start with the magic of an image");
  if (header.version != kFormatVersion)
    return refuse(name, ": format version ", header.version, ", expected ", kFormatVersion);
  if (header.kind != kind)
    return refuse(name, ": is of kind ", static_cast<std::uint32_t>(header.kind), ", expected ",
                  static_cast<std::uint32_t>(kind));
  if (header.bytes != section.size())
    return refuse(name, ": says ", header.bytes, " bytes, but there are ", section.size());
  if (auto refusal = check_layout(section, header, name)) return refusal;
  if (check_digest && section_digest(section) != header.digest)
    return refuse(name, ": the digest does not match the bytes");
  return std::nullopt;
}

std::string full_name(const View& view, std::uint32_t endpoint) {
  return std::string(view.namespace_of(endpoint)) + "/" + std::string(view.name_of(endpoint));
}

}  // namespace

std::optional<Refusal> check_frame(std::span<const std::byte> section, SectionKind kind, bool check_digest) {
  return kind == SectionKind::kPolicy ? check_header<PolicyHeader>(section, kind, check_digest)
                                      : check_header<ShardHeader>(section, kind, check_digest);
}

std::string text(const abi::Address& address) {
  char buffer[INET6_ADDRSTRLEN] = {};
  if (address.is_v4())
    inet_ntop(AF_INET, address.bytes.data() + 12, buffer, sizeof buffer);
  else
    inet_ntop(AF_INET6, address.bytes.data(), buffer, sizeof buffer);
  return buffer;
}

std::variant<Sections, Refusal> split_file(std::span<const std::byte> file) {
  const auto padded = [](std::uint64_t bytes) {
    return (bytes + kSectionAlign - 1) / kSectionAlign * kSectionAlign;
  };
  Sections sections;
  std::uint64_t shards = 0;
  for (std::uint64_t at = 0; at == 0 || sections.shards.size() < shards;) {
    const std::string name = at == 0 ? "policy section" : "shard " + std::to_string(sections.shards.size());
    ShardHeader header;  // both kinds of header begin alike
    if (file.size() < at + sizeof header) return refuse("image file: ends before its ", name);
    std::memcpy(&header, file.data() + at, sizeof header);
    if (header.magic != kMagic)
      return refuse("image file: its ", name, " does not start with the magic of an image");
    if (header.bytes > file.size() - at || header.bytes < sizeof header)
      return refuse("image file: its ", name, " says ", header.bytes, " bytes, but there are ",
                    file.size() - at);
    const auto section = file.subspan(at, header.bytes);
    if (at == 0) {
      sections.policy = section;
      shards = 1;
    } else {
      if (sections.shards.empty()) shards = std::clamp<std::uint64_t>(header.shards, 1, kShardsMax);
      sections.shards.push_back(section);
    }
    const std::uint64_t end = std::min<std::uint64_t>(at + padded(header.bytes), file.size());
    if (!all_zero(file.subspan(at + header.bytes, end - at - header.bytes)))
      return refuse("image file: padding behind its ", name, " is not zero");
    at = end;
    if (sections.shards.size() == shards && at != file.size())
      return refuse("image file: holds more than ", shards, shards == 1 ? " shard" : " shards");
  }
  return sections;
}

std::vector<std::byte> join_file(const Sections& sections) {
  std::vector<std::byte> file;
  const auto add = [&](std::span<const std::byte> section) {
    file.insert(file.end(), section.begin(), section.end());
    file.resize((file.size() + kSectionAlign - 1) / kSectionAlign * kSectionAlign);
  };
  add(sections.policy);
  for (const auto shard : sections.shards) add(shard);
  return file;
}

std::variant<View, Refusal> validate_policy(std::span<const std::byte> section, bool check_digest) {
  View view;
  if (auto refusal = check_policy(section, check_digest, view)) return *std::move(refusal);
  return view;
}

std::variant<Shard, Refusal> validate_shard(std::span<const std::byte> section, bool check_digest) {
  Shard shard;
  if (auto refusal = check_shard(section, check_digest, shard)) return *std::move(refusal);
  return shard;
}

namespace {

/// The policy section of `policy` with these shards, unless two endpoints claim one port: each could send as the other.
std::variant<View, Refusal> with_shards(const View& policy, std::shared_ptr<const View::Kept> kept) {
  View view = policy;
  view.kept = std::move(kept);
  view.shards = view.kept->shards.data();
  view.slots = view.kept->slots.data();
  view.shard_mask = static_cast<std::uint32_t>(view.kept->shards.size() - 1);
  std::uint32_t owners[abi::kPortsMax] = {};
  std::optional<Refusal> refusal;
  view.for_each_local([&](std::uint32_t number) {
    const std::uint32_t port = view.endpoint(number).port;
    if (port != 0 && owners[port] != 0 && !refusal)
      refusal = refuse("image: port ", port, " is claimed by two endpoints, ", full_name(view, owners[port]),
                       " and ", full_name(view, number));
    if (port != 0) owners[port] = number;
  });
  if (refusal) return *std::move(refusal);
  return view;
}

}  // namespace

std::variant<View, Refusal> join(const View& policy, std::vector<Shard> shards) {
  if (shards.empty()) return refuse("image: has no shard");
  for (std::size_t i = 0; i < shards.size(); ++i)
    if (shards[i].number != i || shards[i].of != shards.size())
      return refuse("image: shard ", i, " of ", shards.size(), " is number ", shards[i].number, " of ",
                    shards[i].of);
  std::vector<Slots> slots;
  slots.reserve(shards.size());
  for (const Shard& shard : shards) slots.push_back(shard.slots);
  return with_shards(policy,
                     std::make_shared<const View::Kept>(View::Kept{std::move(shards), std::move(slots)}));
}

std::variant<View, Refusal> amend(const View& before, const View* policy, std::span<const Shard> shards) {
  std::shared_ptr<const View::Kept> kept = before.kept;
  if (!shards.empty()) {
    auto changed = std::make_shared<View::Kept>(*kept);
    for (const Shard& shard : shards) {
      if (shard.of != changed->shards.size() || shard.number >= shard.of)
        return refuse("image: shard ", shard.number, " of ", shard.of, " in an image of ",
                      changed->shards.size());
      changed->shards[shard.number] = shard;
      changed->slots[shard.number] = shard.slots;
    }
    kept = std::move(changed);
  }
  return with_shards(policy != nullptr ? *policy : before, std::move(kept));
}

std::variant<View, Refusal> validate(const Sections& sections, bool check_digests) {
  auto policy = validate_policy(sections.policy, check_digests);
  if (auto* refusal = std::get_if<Refusal>(&policy)) return std::move(*refusal);
  std::vector<Shard> shards;
  for (const auto section : sections.shards) {
    auto shard = validate_shard(section, check_digests);
    if (auto* refusal = std::get_if<Refusal>(&shard)) return std::move(*refusal);
    shards.push_back(std::get<Shard>(shard));
  }
  return join(std::get<View>(policy), std::move(shards));
}

}  // namespace bulkhead::image
