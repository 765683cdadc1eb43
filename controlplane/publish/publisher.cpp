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

std::variant<Publisher::SharedSection, std::string> Publisher::check(const image::SectionBytes& bytes,
                                                                     std::size_t place) {
  if (bytes->size() < sizeof(image::ShardHeader))
    return "a section of " + std::to_string(bytes->size()) + " bytes";
  const auto keep = [&](auto checked) -> std::variant<SharedSection, std::string> {
    if (const auto* refusal = std::get_if<image::Refusal>(&checked)) return refusal->reason;
    return std::make_shared<const Section>(Section{bytes, image::digest_of(*bytes),
                                                   std::move(std::get<0>(checked)),
                                                   sealed_memfd("bulkhead-section", *bytes)});
  };
  // Who looks at the digest is the data plane, and it alone: it was made of these very bytes.
  return place == 0 ? keep(image::validate_policy(*bytes, false))
                    : keep(image::validate_shard(*bytes, false));
}

std::variant<std::vector<Publisher::Change>, std::string> Publisher::changes(
    const image::ImageBytes& image) const {
  const bool comparable = sections_.size() == image.shards.size() + 1;
  std::vector<Change> found;
  for (std::size_t place = 0; place <= image.shards.size(); ++place) {
    const image::SectionBytes& bytes = place == 0 ? image.policy : image.shards[place - 1];
    if (comparable && (sections_[place]->bytes == bytes || *sections_[place]->bytes == *bytes)) continue;
    auto checked = check(bytes, place);
    if (auto* wrong = std::get_if<std::string>(&checked)) return std::move(*wrong);
    found.push_back({place, std::get<SharedSection>(std::move(checked))});
  }
  return found;
}

std::optional<std::string> Publisher::offer(const image::ImageBytes& image) {
  // All are made before any is kept: a failure leaves what was wanted before whole.
  auto changed = changes(image);
  if (auto* wrong = std::get_if<std::string>(&changed)) return std::move(*wrong);
  const auto& found = std::get<std::vector<Change>>(changed);
  if (found.empty()) return std::nullopt;
  const image::View* policy = nullptr;
  std::vector<image::Shard> shards;
  for (const Change& change : found) {
    if (const auto* shard = std::get_if<image::Shard>(&change.section->part)) shards.push_back(*shard);
    if (change.place == 0) policy = &std::get<image::View>(change.section->part);
  }
  const bool anew = found.size() == image.shards.size() + 1;
  auto joined = anew ? image::join(*policy, std::move(shards)) : image::amend(*view_, policy, shards);
  if (const auto* refusal = std::get_if<image::Refusal>(&joined)) return refusal->reason;

  view_ = std::get<image::View>(std::move(joined));
  wanted_.digest = digests_.of(*view_);
  if (sections_.size() != image.shards.size() + 1) base_.reset();
  sections_.resize(image.shards.size() + 1);
  for (const Change& change : found) {
    sections_[change.place] = change.section;
    unsent_.insert(change.place);
  }
  renumber();
  return std::nullopt;
}

void Publisher::connected(const abi::HelloReply& hello) {
  enforced_.number = hello.generation;
  std::memcpy(enforced_.digest.bytes, hello.digest, sizeof enforced_.digest.bytes);
  if (hello.generation == 0) enforced_ = {};
  base_.reset();
  highest_ = std::max(highest_, hello.generation);
  if (!sections_.empty()) renumber();
}

void Publisher::renumber() {
  const bool enforced = enforced_.number != 0 && wanted_.digest == enforced_.digest;
  wanted_.number = enforced ? enforced_.number : highest_ + 1;
  if (!enforced) return;
  base_ = wanted_.digest;
  unsent_.clear();
}

/// The last resort names every section, and sends those that are not known to be there.
abi::SwapReply Publisher::send_whole(Channel& channel, bool knows_rest) {
  std::vector<OfferedSection> offered;
  offered.reserve(sections_.size());
  for (std::size_t place = 0; place < sections_.size(); ++place) {
    const bool known = knows_rest && !unsent_.contains(place);
    offered.push_back({sections_[place]->digest, known ? -1 : sections_[place]->fd.get()});
  }
  return channel.swap(wanted_.number, offered);
}

Delivery Publisher::deliver(Channel& channel) {
  const bool amends = base_ && unsent_.size() <= abi::kFdsMax;
  Delivery delivery;
  delivery.whole = !amends;
  delivery.shared_policy = base_ && !unsent_.contains(0);
  delivery.sent = static_cast<std::uint32_t>(base_ ? unsent_.size() : sections_.size());
  abi::SwapReply reply{};
  try {
    if (amends) {
      std::vector<ChangedSection> changed;
      for (const std::size_t place : unsent_)
        changed.push_back({static_cast<std::uint16_t>(place), sections_[place]->fd.get()});
      reply = channel.amend(wanted_.number, *base_, wanted_.digest, changed);
    } else {
      reply = send_whole(channel, base_.has_value());
    }
  } catch (const RequestRefused&) {
    // It may have another image by now than this connection delivered.
    if (!base_) throw;
    delivery = {0, false, static_cast<std::uint32_t>(sections_.size()), true};
    reply = send_whole(channel, false);
  }
  delivery.swap_ns = reply.swap_ns;
  base_ = wanted_.digest;
  unsent_.clear();
  enforced_.number = reply.generation;
  std::memcpy(enforced_.digest.bytes, reply.digest, sizeof enforced_.digest.bytes);
  highest_ = std::max(highest_, reply.generation);
  if (pending()) {
    throw ChannelError("the data plane enforces another image than the one it acknowledged");
  }
  return delivery;
}

}  // namespace bulkhead::publish
