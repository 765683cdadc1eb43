// Getting the newest image enforced, however often either side starts anew.
//
//   offer(image) ──► checked ──► sealed memfds ──► deliver(channel) ──► acknowledged: enforced
//                       │              └── a section that the last image had is neither checked nor sent again
//                       └── refused: what was wanted before stays wanted
//
// *Wanted* is the newest image offered; *enforced* is what the data plane last said it enforces. Both are
// compared by digest: an image that is already enforced is never sent again, so a control plane that restarts
// with the same inputs changes nothing. Generation numbers rise above everything either side has seen.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "controlplane/publish/channel.h"
#include "controlplane/publish/fd.h"
#include "dataplane/image/builder.h"

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
  std::uint32_t sent = 0;      // sections that had to be sent
  bool whole = false;          // every section was named, not only those that changed
};

class Publisher {
 public:
  /// Checks the sections as the data plane will and wants the image from now on. Why not, or nothing. Throws
  /// std::system_error where the kernel gives no memory.
  std::optional<std::string> offer(const image::ImageBytes& image);

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
    image::SectionBytes bytes;  // kept for what `part` points to
    image::Digest digest{};
    std::variant<image::View, image::Shard> part;
    Fd fd;
  };
  using SharedSection = std::shared_ptr<const Section>;
  struct Change {
    std::size_t place;
    SharedSection section;
  };
  /// What the data plane will say of these bytes in this place: the checked section, or why not.
  static std::variant<SharedSection, std::string> check(const image::SectionBytes& bytes, std::size_t place);
  /// The sections of `image` that are others than the wanted ones, checked. Why not, for people.
  std::variant<std::vector<Change>, std::string> changes(const image::ImageBytes& image) const;
  void renumber();
  abi::SwapReply send_whole(Channel& channel, bool knows_rest);

  std::vector<SharedSection> sections_;  // wanted: the policy section, then the shards
  std::optional<image::View> view_;      // of these
  image::ImageDigests digests_;
  Generation wanted_, enforced_;
  std::uint64_t highest_ = 0;          // of any generation seen
  std::set<std::size_t> unsent_;       // places where `base_` has another section
  std::optional<image::Digest> base_;  // the image that the data plane has, as far as this connection knows
};

}  // namespace bulkhead::publish
