// Getting the newest image enforced, however often either side starts anew.
//
//   offer(image) ──► sealed memfds ──► deliver(channel) ──► checked, and acknowledged: enforced
//                          │                   └── refused: what was enforced before stays enforced
//                          └── a section that the last image had is not sent again
//
// The one check is the data plane's, of the very bytes that it maps: the same check here, before it, would only keep them.
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
  /// Wants the image from now on: a policy section, and shards that say that they are its shards. Throws std::system_error
  /// where the kernel gives no memory; what was wanted before then stays wanted.
  void offer(const image::ImageBytes& image);

  /// The data plane said hello: this is what it enforces.
  void connected(const abi::HelloReply& hello);

  /// True if what is wanted is not what is enforced.
  bool pending() const { return wanted_.number != 0 && !(wanted_.digest == enforced_.digest); }

  /// Sends what is wanted and waits for the acknowledgement. Requires pending(). ChannelError and
  /// RequestRefused pass through; it is then still pending.
  Delivery deliver(Channel& channel);

  /// Gets memory for the sections of the next change, while nobody waits. Without it they take a little longer.
  void make_ready();

  const Generation& wanted() const { return wanted_; }
  const Generation& enforced() const { return enforced_; }

 private:
  struct Section {
    image::SectionBytes bytes;
    image::Digest digest{};
    Fd fd;
  };
  using SharedSection = std::shared_ptr<const Section>;
  /// An empty memfd that has its memory already: the kernel takes longer to find pages than to fill them.
  struct Spare {
    Fd fd;
    std::size_t bytes = 0;
  };
  struct Change {
    std::size_t place;
    SharedSection section;
  };
  /// The sections of `image` that are others than the wanted ones.
  std::vector<Change> changes(const image::ImageBytes& image);
  Fd sealed(const image::SectionBytes& bytes, std::size_t place);
  void renumber();
  abi::SwapReply send_whole(Channel& channel, bool knows_rest);

  std::vector<SharedSection> sections_;  // wanted: the policy section, then the shards
  std::vector<image::Digest> shard_digests_;
  image::ImageDigests digests_;
  Generation wanted_, enforced_;
  std::uint64_t highest_ = 0;     // of any generation seen
  std::set<std::size_t> unsent_;  // places where `base_` has another section
  std::vector<Spare> spare_policies_, spare_shards_;
  std::optional<image::Digest> base_;  // the image that the data plane has, as far as this connection knows
};

}  // namespace bulkhead::publish
