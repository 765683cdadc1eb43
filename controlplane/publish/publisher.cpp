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

constexpr char kName[] = "bulkhead-section";

/// Beyond it, compiling takes so long that memory at hand helps nobody.
constexpr std::size_t kSpareBytesMax = std::size_t{4} << 20;

Fd blank_memfd(const char* name) {
  return Fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
}

void write_and_seal(const Fd& fd, std::span<const std::byte> bytes) {
  for (std::size_t written = 0; written < bytes.size();) {
    const ssize_t result = ::write(fd.get(), bytes.data() + written, bytes.size() - written);
    if (result < 0 && errno == EINTR) continue;
    if (result < 0) throw_errno("writing an image section");
    written += static_cast<std::size_t>(result);
  }
  if (::ftruncate(fd.get(), static_cast<off_t>(bytes.size())) != 0) throw_errno("ending an image section");
  if (::fcntl(fd.get(), F_ADD_SEALS, kSeals) != 0) throw_errno("sealing an image section");
}

}  // namespace

Fd sealed_memfd(const char* name, std::span<const std::byte> bytes) {
  Fd fd = blank_memfd(name);
  if (!fd) throw_errno("memfd_create");
  write_and_seal(fd, bytes);
  return fd;
}

void Publisher::make_ready() {
  if (sections_.empty()) return;
  const auto fill = [](std::vector<Spare>& spares, std::size_t count, std::size_t bytes) {
    while (spares.size() < count && bytes <= kSpareBytesMax) {
      Spare spare{blank_memfd(kName), bytes};
      if (!spare.fd || ::fallocate(spare.fd.get(), 0, 0, static_cast<off_t>(bytes)) != 0) return;  // then not
      spares.push_back(std::move(spare));
    }
  };
  // Sections grow with what they hold: an eighth more is enough for most changes.
  const auto room = [](const SharedSection& section) { return section->bytes->size() * 9 / 8; };
  fill(spare_policies_, 1, room(sections_[0]));
  fill(spare_shards_, 2, room(*std::max_element(sections_.begin() + 1, sections_.end(), [](auto& a, auto& b) {
         return a->bytes->size() < b->bytes->size();
       })));
}

Fd Publisher::sealed(const image::SectionBytes& bytes, std::size_t place) {
  std::vector<Spare>& spares = place == 0 ? spare_policies_ : spare_shards_;
  if (spares.empty()) return sealed_memfd(kName, *bytes);
  Spare spare = std::move(spares.back());
  spares.pop_back();
  if (spare.bytes < bytes->size()) return sealed_memfd(kName, *bytes);
  write_and_seal(spare.fd, *bytes);
  return std::move(spare.fd);
}

std::vector<Publisher::Change> Publisher::changes(const image::ImageBytes& image) {
  const bool comparable = sections_.size() == image.shards.size() + 1;
  std::vector<Change> found;
  for (std::size_t place = 0; place <= image.shards.size(); ++place) {
    const image::SectionBytes& bytes = place == 0 ? image.policy : image.shards[place - 1];
    if (comparable && (sections_[place]->bytes == bytes || *sections_[place]->bytes == *bytes)) continue;
    found.push_back({place, std::make_shared<const Section>(
                                Section{bytes, image::digest_of(*bytes), sealed(bytes, place)})});
  }
  return found;
}

void Publisher::offer(const image::ImageBytes& image) {
  // All are made before any is kept: a failure leaves what was wanted before whole.
  const std::vector<Change> found = changes(image);
  if (found.empty()) return;
  if (sections_.size() != image.shards.size() + 1) base_.reset();
  sections_.resize(image.shards.size() + 1);
  shard_digests_.resize(image.shards.size());
  for (const Change& change : found) {
    sections_[change.place] = change.section;
    if (change.place != 0) shard_digests_[change.place - 1] = change.section->digest;
    unsent_.insert(change.place);
  }
  wanted_.digest = digests_.of(sections_[0]->digest, shard_digests_);
  renumber();
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
