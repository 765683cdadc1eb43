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

Digest image_digest(const View& view) {
  Sha256 sha;
  sha.add(std::as_bytes(std::span{view.policy->digest.bytes}));
  for (std::uint32_t shard = 0; shard <= view.shard_mask; ++shard)
    sha.add(std::as_bytes(std::span{view.shards[shard].digest.bytes}));
  return sha.finish();
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
