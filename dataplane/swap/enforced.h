// Which image judges: one pointer, swapped under full traffic.
//
//   control thread                                   worker
//     check(section): seals, map, validate             loop: image = publisher.current()     one acquire load
//     load(sections): join; amend(): what changed only
//     a burst publish(): store pointer ──────────────────────►        judge the whole burst by it
//                wait until every worker has             publisher.quiescent(worker)           between bursts
//                passed between two bursts
//     drop_old(): it is unmapped                       a sleeping worker is offline and waited for by nobody
//
// An Enforced lives from load() until one grace period after its successor was published. A worker may use
// the pointer it read until its next quiescent(); it never keeps one longer. Grace periods are
// rte_rcu_qsbr's.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "dataplane/abi/telemetry.h"
#include "dataplane/image/validate.h"

struct rte_rcu_qsbr;

namespace bulkhead::swap {

/// A read-only mapping of a sealed memfd; owns both.
class Section {
 public:
  /// Takes over `fd` whatever the outcome. Refuses an fd that is not sealed against writing, growing and
  /// shrinking.
  static std::variant<Section, std::string> map(int fd);
  /// Copies bytes into a fresh sealed memfd and maps that.
  static std::variant<Section, std::string> copy(std::span<const std::byte> bytes);

  Section(Section&& other) noexcept;
  Section& operator=(Section&&) = delete;
  ~Section();

  std::span<const std::byte> bytes() const { return bytes_; }
  int fd() const { return fd_; }

 private:
  Section(int fd, std::span<const std::byte> bytes) : fd_(fd), bytes_(bytes) {}
  int fd_;
  std::span<const std::byte> bytes_;
};

/// A section that validate.h has passed by itself. Generations share those that did not change.
struct Checked {
  Section section;
  image::Digest digest;
  std::variant<image::View, image::Shard> part;  // a policy section's view, or a shard
};
using SharedSection = std::shared_ptr<const Checked>;

/// The reason is a sentence for people.
std::variant<SharedSection, std::string> check(Section section);

/// One generation as workers see it.
struct Enforced {
  Enforced(std::vector<SharedSection> all_sections, image::View joined, std::uint64_t number,
           const image::Digest& of_all);

  std::vector<SharedSection> sections;  // the policy section, then the shards
  image::View view;
  std::uint64_t generation;
  image::Digest digest;

  /// The image's endpoint of each port that is attached with the right key; 0: on hold, nothing passes either
  /// way. Written by the control thread (attach, detach, swap), read by workers.
  std::atomic<std::uint32_t> endpoint_of_port[abi::kPortsMax] = {};
};

/// The policy section comes first; `generation` is not 0. `digests` are of the images loaded before. The reason is a
/// sentence for people.
std::variant<std::unique_ptr<Enforced>, std::string> load(std::vector<SharedSection> sections,
                                                          std::uint64_t generation,
                                                          image::ImageDigests& digests);

/// A section in the place of another. Place 0 is the policy section's, the shards follow.
struct Amendment {
  std::uint32_t place = 0;
  SharedSection section;
};

/// `before` with other sections in some places, and the rest shared. Otherwise as load().
std::variant<std::unique_ptr<Enforced>, std::string> amend(const Enforced& before,
                                                           std::span<const Amendment> amendments,
                                                           std::uint64_t generation,
                                                           image::ImageDigests& digests);

class Publisher {
 public:
  /// `workers` threads will call quiescent(); EAL is up.
  explicit Publisher(std::uint32_t workers);
  ~Publisher();
  Publisher(const Publisher&) = delete;

  // Workers.
  void join(std::uint32_t worker);  // once, before the first current()
  const Enforced* current() const { return current_.load(std::memory_order_acquire); }  // null: no image yet
  void quiescent(std::uint32_t worker);
  void offline(std::uint32_t worker);  // before blocking in the kernel
  void online(std::uint32_t worker);   // after; what was read before must be read again

  // Grace periods for other rooms' retired memory (flow slots, ports). Any thread.
  std::uint64_t grace_start();
  bool grace_done(std::uint64_t token);

  // Control thread.
  /// Replaces the image and returns the nanoseconds until no worker could use the old one. It is kept until
  /// drop_old(), or the next one is published: unmapping takes longer than swapping.
  std::uint64_t publish(std::unique_ptr<Enforced> next);
  void drop_old() { old_.reset(); }
  Enforced* enforced() { return current_.load(std::memory_order_relaxed); }
  void synchronize();

 private:
  rte_rcu_qsbr* qsbr_;
  std::unique_ptr<Enforced> old_;
  alignas(64) std::atomic<Enforced*> current_{nullptr};
};

}  // namespace bulkhead::swap
