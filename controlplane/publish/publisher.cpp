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

/// Of a section that validate() has passed.
template <class Header>
image::Digest digest_of(std::span<const std::byte> section) {
  Header header;
  std::memcpy(&header, section.data(), sizeof header);
  return header.digest;
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

std::optional<std::string> Publisher::offer(std::span<const std::byte> policy,
                                            std::span<const std::byte> binding) {
  const auto checked = image::validate(policy, binding);
  if (const auto* refusal = std::get_if<image::Refusal>(&checked)) return refusal->reason;
  const image::Digest digest = image::image_digest(std::get<image::View>(checked));
  if (wanted_.number != 0 && digest == wanted_.digest) return std::nullopt;

  const auto policy_digest = digest_of<image::PolicyHeader>(policy);
  const auto binding_digest = digest_of<image::BindingHeader>(binding);
  // Both are made before either is kept: a failure leaves what was wanted before whole.
  Section new_policy, new_binding;
  const bool keep_policy = policy_.fd && policy_.digest == policy_digest;
  if (!keep_policy) new_policy = {sealed_memfd("bulkhead-policy", policy), policy_digest};
  new_binding = {sealed_memfd("bulkhead-binding", binding), binding_digest};
  if (!keep_policy) policy_ = std::move(new_policy);
  binding_ = std::move(new_binding);
  wanted_.digest = digest;
  renumber();
  return std::nullopt;
}

void Publisher::connected(const abi::HelloReply& hello) {
  enforced_.number = hello.generation;
  std::memcpy(enforced_.digest.bytes, hello.digest, sizeof enforced_.digest.bytes);
  if (hello.generation == 0) enforced_ = {};
  delivered_policy_.reset();
  highest_ = std::max(highest_, hello.generation);
  if (policy_.fd) renumber();
}

void Publisher::renumber() {
  const bool enforced = enforced_.number != 0 && wanted_.digest == enforced_.digest;
  wanted_.number = enforced ? enforced_.number : highest_ + 1;
}

Delivery Publisher::deliver(Channel& channel) {
  const abi::SwapReply reply = channel.swap(wanted_.number, policy_.fd.get(), binding_.fd.get());
  Delivery delivery{reply.swap_ns, delivered_policy_ && *delivered_policy_ == policy_.digest};
  delivered_policy_ = policy_.digest;
  enforced_.number = reply.generation;
  std::memcpy(enforced_.digest.bytes, reply.digest, sizeof enforced_.digest.bytes);
  highest_ = std::max(highest_, reply.generation);
  if (pending()) {
    throw ChannelError("the data plane enforces another image than the one it acknowledged");
  }
  return delivery;
}

}  // namespace bulkhead::publish
