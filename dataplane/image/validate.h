// The border of an image: hostile bytes come in, a View or a reason goes out.
//
// Every offset, count and index of every table is checked once, here, so that query.h needs no check at all:
// whatever the bytes were, a lookup through the returned View stays inside them and ends within its bounded
// number of steps. Bytes that are only nearly right (unknown version, non-zero padding, wrong digest) are
// refused too.
//
// The caller makes sure that the bytes cannot change afterwards: a memfd with F_SEAL_WRITE | F_SEAL_SHRINK |
// F_SEAL_GROW, or a private mapping of a file.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "dataplane/image/query.h"

namespace bulkhead::image {

/// Why bytes are no image: table and index named, for people.
struct Refusal {
  std::string reason;
};

/// The bytes of an image: sections start on an 8-byte boundary (a mapping does).
struct Sections {
  std::span<const std::byte> policy;
  std::vector<std::span<const std::byte>> shards;  // in order
};

/// All spans outlive the View. Linear in the size; never throws; any thread. `check_digests` false skips SHA-256 only:
/// every structural check still runs.
std::variant<View, Refusal> validate(const Sections& sections, bool check_digests = true);

/// The same in parts, for who keeps what was checked before: each section by itself, once, then what they must
/// have in common.
std::variant<View, Refusal> validate_policy(std::span<const std::byte> section, bool check_digest = true);
std::variant<Shard, Refusal> validate_shard(std::span<const std::byte> section, bool check_digest = true);
std::variant<View, Refusal> join(const View& policy, std::vector<Shard> shards);
/// `before` with other shards in the places that they name, and with another policy section where `policy` is not null.
std::variant<View, Refusal> amend(const View& before, const View* policy, std::span<const Shard> shards);

/// Finds the sections in the bytes of an image file, for validate() to judge: it trusts their lengths only as far as
/// they stay inside.
std::variant<Sections, Refusal> split_file(std::span<const std::byte> file);
/// The bytes of an image file.
std::vector<std::byte> join_file(const Sections& sections);

/// The digest that a section's header carries.
Digest digest_of(std::span<const std::byte> section);

/// The whole image's digest, what `bulkheadctl status` calls *enforced*: SHA-256 over the policy section's digest and one of
/// each group of 32 shards, SHA-256 over theirs.
Digest image_digest(const View& view);

/// Image digests one after the other: groups that have not changed are not hashed again. One thread at a time.
class ImageDigests {
 public:
  Digest of(const View& view);
  Digest of(const Digest& policy, std::span<const Digest> shards);

 private:
  template <class DigestOf>
  Digest of(const Digest& policy, std::size_t count, DigestOf shard);

  std::vector<Digest> shards_, groups_;
};

/// 64 lower-case hexadecimal digits.
std::string hex(const Digest& digest);

/// SHA-256 of a section as its header must carry it: with the digest field read as zero.
Digest section_digest(std::span<const std::byte> section);

}  // namespace bulkhead::image
