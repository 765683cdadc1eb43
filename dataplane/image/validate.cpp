#include "dataplane/image/validate.h"

#include <arpa/inet.h>

#include <cstring>

#include "dataplane/image/layout.h"

namespace bulkhead::image {
namespace {

const char* section_name(SectionKind kind) {
  return kind == SectionKind::kPolicy ? "policy" : "binding";
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
      refusal = refuse(name, " section, table ", table_name, ": lies at byte ", ref.offset, ", expected ",
                       expected);
    else if (expected > section.size() || ref.count > (section.size() - expected) / element_bytes)
      refusal = refuse(name, " section, table ", table_name, ": ", ref.count, " elements do not fit into ",
                       section.size(), " bytes");
    else if (!all_zero(section.subspan(end, expected - end)))
      refusal = refuse(name, " section: padding before table ", table_name, " is not zero");
    else
      end = expected + ref.count * element_bytes;
  });
  if (refusal) return refusal;
  if (section.size() != align_table(end))
    return refuse(name, " section: ", section.size(), " bytes, but its tables end at ", align_table(end));
  if (!all_zero(section.subspan(end))) return refuse(name, " section: padding at the end is not zero");
  return std::nullopt;
}

template <class Header>
std::optional<Refusal> check_header(std::span<const std::byte> section, SectionKind kind, bool check_digest) {
  const char* name = section_name(kind);
  if (reinterpret_cast<std::uintptr_t>(section.data()) % alignof(std::uint64_t) != 0)
    return refuse(name, " section: does not start on an 8-byte boundary");
  if (section.size() < sizeof(Header) || section.size() > kSectionBytesMax)
    return refuse(name, " section: ", section.size(), " bytes, expected ", sizeof(Header), " to ",
                  kSectionBytesMax);
  const auto& header = *reinterpret_cast<const Header*>(section.data());
  if (header.magic != kMagic) return refuse(name, " section: does not start with the magic of an image");
  if (header.version != kFormatVersion)
    return refuse(name, " section: format version ", header.version, ", expected ", kFormatVersion);
  if (header.kind != kind)
    return refuse(name, " section: is of kind ", static_cast<std::uint32_t>(header.kind), ", expected ",
                  static_cast<std::uint32_t>(kind));
  if (header.bytes != section.size())
    return refuse(name, " section: says ", header.bytes, " bytes, but there are ", section.size());
  if (auto refusal = check_layout(section, header, name)) return refusal;
  if (check_digest && section_digest(section) != header.digest)
    return refuse(name, " section: the digest does not match the bytes");
  return std::nullopt;
}

}  // namespace

std::optional<Refusal> check_frame(std::span<const std::byte> section, SectionKind kind, bool check_digest) {
  return kind == SectionKind::kPolicy ? check_header<PolicyHeader>(section, kind, check_digest)
                                      : check_header<BindingHeader>(section, kind, check_digest);
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
  if (file.size() < sizeof(PolicyHeader)) return refuse("image file: ", file.size(), " bytes, too short");
  PolicyHeader policy;
  std::memcpy(&policy, file.data(), sizeof policy);
  if (policy.magic != kMagic) return refuse("image file: does not start with the magic of an image");
  if (policy.bytes > file.size())
    return refuse("image file: its policy section says ", policy.bytes, " bytes, but there are ",
                  file.size());
  const std::uint64_t second = (policy.bytes + kSectionAlign - 1) / kSectionAlign * kSectionAlign;
  BindingHeader binding;
  if (file.size() < second + sizeof binding) return refuse("image file: lacks its binding section");
  std::memcpy(&binding, file.data() + second, sizeof binding);
  if (binding.bytes > file.size() - second)
    return refuse("image file: its binding section says ", binding.bytes, " bytes, but there are ",
                  file.size() - second);
  const std::uint64_t end = second + binding.bytes;
  if (file.size() - end >= kSectionAlign || !all_zero(file.subspan(policy.bytes, second - policy.bytes)) ||
      !all_zero(file.subspan(end)))
    return refuse("image file: holds more than two sections and their padding");
  return Sections{file.first(policy.bytes), file.subspan(second, binding.bytes)};
}

std::variant<View, Refusal> validate(std::span<const std::byte> policy, std::span<const std::byte> binding,
                                     bool check_digests) {
  View view;
  if (auto refusal = check_policy(policy, check_digests, view)) return *std::move(refusal);
  PolicyBounds bounds;
  bounds.identities = view.policy->identities.count;
  for (std::uint32_t direction = 0; direction < kDirections; ++direction) {
    bounds.subject_classes[direction] = view.policy->subject_classes[direction];
    bounds.peer_classes[direction] = view.policy->peer_classes[direction];
  }
  if (auto refusal = check_binding(binding, check_digests, bounds, view)) return *std::move(refusal);
  if (view.binding->policy != view.policy->digest)
    return refuse("binding section: belongs to policy section ", hex(view.binding->policy),
                  ", but was given with ", hex(view.policy->digest));
  return view;
}

}  // namespace bulkhead::image
