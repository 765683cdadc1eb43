#include "controlplane/publish/publisher.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "dataplane/image/validate.h"

namespace bulkhead::publish {
namespace {

constexpr int kSeals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

[[noreturn]] void throw_errno(const char* doing) {
  throw std::system_error(errno, std::generic_category(), doing);
}

}  // namespace

Fd sealed_memfd(const char* name, std::span<const std::byte> bytes) {
  Fd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) throw_errno("memfd_create");
  for (std::size_t written = 0; written < bytes.size();) {
    const ssize_t result = ::write(fd.get(), bytes.data() + written, bytes.size() - written);
    if (result < 0 && errno == EINTR) continue;
    if (result < 0) throw_errno("writing an image section");
    written += static_cast<std::size_t>(result);
  }
  if (::fcntl(fd.get(), F_ADD_SEALS, kSeals) != 0) throw_errno("sealing an image section");
  return fd;
}

std::variant<Publisher::SharedSection, std::string> Publisher::take(const image::SectionBytes& bytes,
                                                                    std::size_t place) const {
  if (place < sections_.size() && sections_[place]->bytes == bytes) return sections_[place];
  if (bytes->size() < sizeof(image::ShardHeader))
    return "a section of " + std::to_string(bytes->size()) + " bytes";
  // The same bytes made anew: nothing needs to be checked or sent again.
  const image::Digest digest = image::digest_of(*bytes);
  for (const SharedSection& known : sections_)
    if (known->digest == digest && *known->bytes == *bytes) return known;
  const auto keep = [&](auto checked) -> std::variant<SharedSection, std::string> {
    if (const auto* refusal = std::get_if<image::Refusal>(&checked)) return refusal->reason;
    return std::make_shared<const Section>(
        Section{bytes, digest, std::move(std::get<0>(checked)), sealed_memfd("bulkhead-section", *bytes)});
  };
  // Who looks at the digest is the data plane, and it alone: it was made of these very bytes.
  return place == 0 ? keep(image::validate_policy(*bytes, false))
                    : keep(image::validate_shard(*bytes, false));
}

std::optional<std::string> Publisher::offer(const image::ImageBytes& image) {
  // All are made before any is kept: a failure leaves what was wanted before whole.
  std::vector<SharedSection> sections;
  std::vector<image::Shard> shards;
  const auto add = [&](const image::SectionBytes& bytes) -> std::optional<std::string> {
    auto taken = take(bytes, sections.size());
    if (auto* wrong = std::get_if<std::string>(&taken)) return std::move(*wrong);
    sections.push_back(std::get<SharedSection>(std::move(taken)));
    if (sections.size() > 1) shards.push_back(std::get<image::Shard>(sections.back()->part));
    return std::nullopt;
  };
  if (auto wrong = add(image.policy)) return wrong;
  for (const image::SectionBytes& shard : image.shards)
    if (auto wrong = add(shard)) return wrong;
  const auto joined = image::join(std::get<image::View>(sections[0]->part), std::move(shards));
  if (const auto* refusal = std::get_if<image::Refusal>(&joined)) return refusal->reason;
  const image::Digest digest = digests_.of(std::get<image::View>(joined));
  if (wanted_.number != 0 && digest == wanted_.digest) return std::nullopt;
  sections_ = std::move(sections);
  wanted_.digest = digest;
  renumber();
  return std::nullopt;
}

void Publisher::connected(const abi::HelloReply& hello) {
  enforced_.number = hello.generation;
  std::memcpy(enforced_.digest.bytes, hello.digest, sizeof enforced_.digest.bytes);
  if (hello.generation == 0) enforced_ = {};
  delivered_.clear();
  highest_ = std::max(highest_, hello.generation);
  if (!sections_.empty()) renumber();
}

void Publisher::renumber() {
  const bool enforced = enforced_.number != 0 && wanted_.digest == enforced_.digest;
  wanted_.number = enforced ? enforced_.number : highest_ + 1;
}

Delivery Publisher::deliver(Channel& channel) {
  Delivery delivery;
  std::vector<OfferedSection> offered;
  for (std::size_t i = 0; i < sections_.size(); ++i) {
    const bool known = i < delivered_.size() && delivered_[i] == sections_[i];
    offered.push_back({sections_[i]->digest, known ? -1 : sections_[i]->fd.get()});
    delivery.sent += known ? 0 : 1;
  }
  delivery.shared_policy = offered[0].fd < 0;
  abi::SwapReply reply{};
  try {
    reply = channel.swap(wanted_.number, offered);
  } catch (const RequestRefused&) {
    // It may have another image by now than this connection delivered.
    if (delivery.sent == offered.size()) throw;
    for (std::size_t i = 0; i < sections_.size(); ++i) offered[i].fd = sections_[i]->fd.get();
    delivery.sent = static_cast<std::uint32_t>(offered.size());
    reply = channel.swap(wanted_.number, offered);
  }
  delivery.swap_ns = reply.swap_ns;
  delivered_ = sections_;
  enforced_.number = reply.generation;
  std::memcpy(enforced_.digest.bytes, reply.digest, sizeof enforced_.digest.bytes);
  highest_ = std::max(highest_, reply.generation);
  if (pending()) {
    throw ChannelError("the data plane enforces another image than the one it acknowledged");
  }
  return delivery;
}

}  // namespace bulkhead::publish
