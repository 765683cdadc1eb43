#include <openssl/evp.h>

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstring>
#include <memory>

#include "dataplane/image/validate.h"

namespace bulkhead::image {
namespace {

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    [[maybe_unused]] const int done = EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr);
    assert(done == 1);
  }

  void add(std::span<const std::byte> bytes) {
    [[maybe_unused]] const int done = EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size());
    assert(done == 1);
  }

  Digest finish() {
    Digest digest{};
    [[maybe_unused]] const int done = EVP_DigestFinal_ex(context_.get(), digest.bytes, nullptr);
    assert(done == 1);
    return digest;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

}  // namespace

Digest section_digest(std::span<const std::byte> section) {
  static_assert(offsetof(PolicyHeader, digest) == offsetof(ShardHeader, digest));
  constexpr std::size_t kAt = offsetof(PolicyHeader, digest);
  constexpr std::byte kZero[sizeof(Digest)] = {};
  assert(section.size() >= kAt + sizeof(Digest));
  Sha256 sha;
  sha.add(section.first(kAt));
  sha.add(kZero);
  sha.add(section.subspan(kAt + sizeof(Digest)));
  return sha.finish();
}

Digest digest_of(std::span<const std::byte> section) {
  assert(section.size() >= sizeof(ShardHeader));
  Digest digest;
  std::memcpy(&digest, section.data() + offsetof(ShardHeader, digest), sizeof digest);
  return digest;
}

template <class DigestOf>
Digest ImageDigests::of(const Digest& policy, std::size_t count, DigestOf shard) {
  constexpr std::size_t kGroup = 32;
  if (shards_.size() != count) {
    shards_.assign(count, Digest{});
    groups_.assign((count + kGroup - 1) / kGroup, Digest{});
  }
  Sha256 sha;
  sha.add(std::as_bytes(std::span{policy.bytes}));
  for (std::size_t group = 0; group < groups_.size(); ++group) {
    bool changed = false;
    const std::size_t end = std::min(count, (group + 1) * kGroup);
    for (std::size_t i = group * kGroup; i < end; ++i) {
      const Digest& now = shard(i);
      if (shards_[i] == now) continue;
      shards_[i] = now;
      changed = true;
    }
    if (changed) {
      Sha256 of_group;
      for (std::size_t i = group * kGroup; i < end; ++i)
        of_group.add(std::as_bytes(std::span{shards_[i].bytes}));
      groups_[group] = of_group.finish();
    }
    sha.add(std::as_bytes(std::span{groups_[group].bytes}));
  }
  return sha.finish();
}

Digest ImageDigests::of(const View& view) {
  return of(view.policy->digest, std::size_t{view.shard_mask} + 1,
            [&](std::size_t i) -> const Digest& { return view.shards[i].digest; });
}

Digest ImageDigests::of(const Digest& policy, std::span<const Digest> shards) {
  return of(policy, shards.size(), [&](std::size_t i) -> const Digest& { return shards[i]; });
}

Digest image_digest(const View& view) {
  return ImageDigests().of(view);
}

std::string hex(const Digest& digest) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * sizeof digest.bytes);
  for (const std::uint8_t byte : digest.bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

}  // namespace bulkhead::image
