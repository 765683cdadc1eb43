// Virtual reassembly: fragments are judged with their first fragment, in whatever order they come, and then
// pass one by one; nothing is ever put together.
//
//   first fragment   kJudge ──caller judges──► settle(verdict) ──► those held come out with the verdict
//   later fragment   before that: kHold (the table keeps the packet);  after it: kKnown (the verdict again)
//   overlap          poisons the datagram: held ones come out as drops, all that follow are dropped (RFC
//   5722, 8900)
//
// One table per worker, never shared. Memory is bounded and allocated once: datagrams, fragments a datagram,
// packets held. Every packet that was held comes out of next_released() exactly once, with a fate.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "dataplane/abi/address.h"
#include "dataplane/abi/fate.h"
#include "dataplane/flow/hash.h"

namespace bulkhead::flow {

inline constexpr std::uint32_t kFragmentsPerDatagram = 128;  // 64 KB in 552-byte pieces is 119
inline constexpr std::uint32_t kNoDatagram = 0xffff'ffffu;

/// One fragment, as parsed. For IPv6 `protocol` is what its fragment header announces.
struct Fragment {
  const abi::Address* source;
  const abi::Address* destination;
  std::uint32_t id;
  std::uint8_t protocol;
  bool more;             // more fragments follow
  std::uint32_t offset;  // bytes into the fragmentable part
  std::uint32_t bytes;   // payload of this fragment
};

/// What was decided for the first fragment, for all others. The table hands it on and reads nothing but
/// `fate`.
///
/// A flow's slot must not be kept over bursts; the ports are here so that a later fragment can be looked up
/// under the same key as the first.
struct FragmentVerdict {
  abi::Fate fate = abi::Fate::kForwarded;  // or why the datagram is dropped
  std::uint8_t icmp_type = 0;
  std::uint8_t tcp_flags = 0;
  std::uint8_t direction = 0;
  std::uint16_t egress_port = 0;
  std::uint16_t source_port = 0;  // of the transport header
  std::uint16_t destination_port = 0;
  std::uint16_t policy_port = 0;
  std::uint32_t slot = 0xffff'ffffu;
  std::uint32_t generation = 0;
};

enum class FragmentStep : std::uint8_t {
  kJudge,  // the first fragment: judge it, then settle(); the packet stays the caller's
  kHold,   // the table keeps the packet: count kHeldFragment, do not touch it
  kKnown,  // `verdict` says what becomes of it; the packet stays the caller's
  kDrop,   // `verdict.fate` says why; the packet stays the caller's
};

struct FragmentAnswer {
  FragmentStep step;
  std::uint32_t datagram;  // for settle(); kNoDatagram: nothing to settle
  std::uint64_t serial;    // so that settle() cannot hit a later datagram
  FragmentVerdict verdict;
};

struct ReleasedFragment {
  void* packet;
  FragmentVerdict verdict;  // kForwarded: send it on; else drop it with this fate
};

struct FragmentLimits {
  std::uint32_t datagrams = 4096;
  std::uint32_t held = 2048;          // packets, over all datagrams
  std::uint32_t timeout_ms = 30'000;  // from a datagram's first-seen fragment
};

class Fragments {
 public:
  Fragments(const Hasher& hasher, const FragmentLimits& limits);
  ~Fragments();
  Fragments(const Fragments&) = delete;
  Fragments& operator=(const Fragments&) = delete;

  /// Takes one fragment that passed all checks before judgement. `packet` is opaque. `now_ms` never goes
  /// back.
  ///
  /// Drops: kFragmentOverlap (this or an earlier fragment overlapped, lengths contradict each other, or more
  /// pieces than kFragmentsPerDatagram; an exact copy of a fragment is dropped alone), kFragmentTableFull,
  /// kFragmentTiny (no payload), and any fate the datagram was settled with.
  FragmentAnswer take(const Fragment& fragment, void* packet, std::uint64_t now_ms);

  /// The verdict over the fragment that was answered kJudge. Held ones become ready in next_released().
  void settle(const FragmentAnswer& judged, const FragmentVerdict& verdict);

  /// Ends datagrams older than the timeout, at most `budget` of them; what they held becomes ready as
  /// kFragmentTimeout. Cheap when there are none.
  void expire(std::uint64_t now_ms, std::uint32_t budget = 64);

  /// Drops everything, for the end of the process: all held packets become ready as kFragmentTimeout.
  void flush();

  /// The next packet that left the table, oldest first within a datagram. False: none. Drain after take(),
  /// settle() and expire().
  bool next_released(ReleasedFragment& out) {
    if (released_head_ == kNoDatagram) [[likely]]
      return false;
    return pop_released(out);
  }

  std::uint32_t datagrams() const { return datagrams_; }
  std::uint32_t held() const { return held_; }

 private:
  struct Datagram;
  struct Held;
  enum class Fit : std::uint8_t { kNew, kCopy, kConflict };

  Datagram* find(const Fragment& fragment, std::uint32_t bucket);
  Datagram* make(const Fragment& fragment, std::uint32_t bucket, std::uint64_t now_ms);
  void finish(Datagram& datagram, abi::Fate fate_of_held);
  void finish_if_complete(Datagram& datagram);
  void release_held(Datagram& datagram, const FragmentVerdict& verdict);
  bool hold(Datagram& datagram, void* packet);
  FragmentAnswer poison(Datagram& datagram);
  static Fit fit(const Datagram& datagram, std::uint32_t begin, std::uint32_t end, bool more);
  bool pop_released(ReleasedFragment& out);

  Hasher hasher_;
  FragmentLimits limits_;
  std::uint32_t bucket_mask_ = 0;
  std::unique_ptr<std::uint32_t[]> buckets_;  // first datagram of each hash chain
  std::unique_ptr<Datagram[]> all_;
  std::unique_ptr<Held[]> packets_;
  std::uint32_t free_datagram_ = 0;
  std::uint32_t free_held_ = 0;
  std::uint32_t oldest_ = kNoDatagram, newest_ = kNoDatagram;  // by first-seen
  std::uint32_t released_head_ = kNoDatagram, released_tail_ = kNoDatagram;
  std::uint32_t datagrams_ = 0;
  std::uint32_t held_ = 0;
  std::uint64_t serial_ = 0;
};

}  // namespace bulkhead::flow
