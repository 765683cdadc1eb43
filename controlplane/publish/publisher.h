// Getting the newest image enforced, however often either side starts anew.
//
//   offer(sections) ──► checked ──► sealed memfds ──► deliver(channel) ──► acknowledged: enforced
//                          │              └── a section with the digest of the last one is that same memfd
//                          └── refused: what was wanted before stays wanted
//
// *Wanted* is the newest image offered; *enforced* is what the data plane last said it enforces. Both are
// compared by digest: an image that is already enforced is never sent again, so a control plane that restarts
// with the same inputs changes nothing. Generation numbers rise above everything either side has seen.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "controlplane/publish/channel.h"
#include "controlplane/publish/fd.h"
#include "dataplane/image/format.h"

namespace bulkhead::publish {

/// Bytes in a memfd that nobody can change, grow or shrink any more (fcntl(2), F_ADD_SEALS). Throws
/// std::system_error.
Fd sealed_memfd(const char* name, std::span<const std::byte> bytes);

struct Generation {
  std::uint64_t number = 0;  // 0: none
  image::Digest digest{};
  bool operator==(const Generation&) const = default;
};

struct Delivery {
  std::uint64_t swap_ns = 0;
  bool shared_policy = false;  // the policy section is the one enforced before
};

class Publisher {
 public:
  /// Checks the sections as the data plane will (sections start on an 8-byte boundary) and wants them from now
  /// on. Why not, or nothing. Throws std::system_error where the kernel gives no memory.
  std::optional<std::string> offer(std::span<const std::byte> policy, std::span<const std::byte> binding);

  /// The data plane said hello: this is what it enforces.
  void connected(const abi::HelloReply& hello);

  /// True if what is wanted is not what is enforced.
  bool pending() const { return wanted_.number != 0 && !(wanted_.digest == enforced_.digest); }

  /// Sends what is wanted and waits for the acknowledgement. Requires pending(). ChannelError and
  /// RequestRefused pass through; it is then still pending.
  Delivery deliver(Channel& channel);

  const Generation& wanted() const { return wanted_; }
  const Generation& enforced() const { return enforced_; }

 private:
  struct Section {
    Fd fd;
    image::Digest digest{};
  };
  void renumber();

  Section policy_, binding_;
  Generation wanted_, enforced_;
  std::uint64_t highest_ = 0;  // of any generation seen
  std::optional<image::Digest> delivered_policy_;
};

}  // namespace bulkhead::publish
