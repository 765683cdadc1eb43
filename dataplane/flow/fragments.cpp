#include "dataplane/flow/fragments.h"

#include <algorithm>
#include <bit>

namespace bulkhead::flow {
namespace {

constexpr std::uint32_t kDatagramBytesMax = 65'535;

FragmentAnswer drop(abi::Fate fate) {
  FragmentVerdict verdict;
  verdict.fate = fate;
  return {FragmentStep::kDrop, kNoDatagram, 0, verdict};
}

}  // namespace

/// A packet that waits, for its first fragment or for next_released().
struct Fragments::Held {
  void* packet;
  FragmentVerdict verdict;  // set when it is released
  std::uint32_t next;
};

struct Fragments::Datagram {
  struct Range {
    std::uint16_t begin, end;
  };
  enum class Stage : std::uint8_t { kWaiting, kSettled, kPoisoned };

  abi::Address source, destination;
  std::uint32_t id;
  std::uint8_t protocol;
  Stage stage;
  std::uint16_t pieces;
  std::uint32_t total;    // bytes; 0: the last fragment was not seen
  std::uint32_t covered;  // bytes seen; ranges are disjoint
  std::uint32_t end_max;  // of any range
  std::uint32_t held_head, held_tail;
  std::uint32_t chain_next;  // same hash bucket, or the next free one
  std::uint32_t older, newer;
  std::uint64_t serial;
  std::uint64_t first_seen_ms;
  FragmentVerdict verdict;
  Range ranges[kFragmentsPerDatagram];  // one a fragment, in order of arrival

  bool is(const Fragment& fragment) const {
    return id == fragment.id && protocol == fragment.protocol && source == *fragment.source &&
           destination == *fragment.destination;
  }
};

Fragments::Fragments(const Hasher& hasher, const FragmentLimits& limits) : hasher_(hasher), limits_(limits) {
  limits_.datagrams = std::max(limits_.datagrams, 1u);
  limits_.held = std::max(limits_.held, 1u);
  const std::uint32_t buckets = std::bit_ceil(2 * limits_.datagrams);
  bucket_mask_ = buckets - 1;
  buckets_ = std::make_unique<std::uint32_t[]>(buckets);
  std::fill_n(buckets_.get(), buckets, kNoDatagram);
  all_ = std::make_unique<Datagram[]>(limits_.datagrams);
  for (std::uint32_t i = 0; i < limits_.datagrams; ++i)
    all_[i].chain_next = i + 1 < limits_.datagrams ? i + 1 : kNoDatagram;
  packets_ = std::make_unique<Held[]>(limits_.held);
  for (std::uint32_t i = 0; i < limits_.held; ++i)
    packets_[i].next = i + 1 < limits_.held ? i + 1 : kNoDatagram;
}

Fragments::~Fragments() = default;

Fragments::Datagram* Fragments::find(const Fragment& fragment, std::uint32_t bucket) {
  for (std::uint32_t i = buckets_[bucket]; i != kNoDatagram; i = all_[i].chain_next)
    if (all_[i].is(fragment)) return &all_[i];
  return nullptr;
}

Fragments::Datagram* Fragments::make(const Fragment& fragment, std::uint32_t bucket, std::uint64_t now_ms) {
  const std::uint32_t index = free_datagram_;
  if (index == kNoDatagram) return nullptr;
  Datagram& datagram = all_[index];
  free_datagram_ = datagram.chain_next;
  datagram.source = *fragment.source;
  datagram.destination = *fragment.destination;
  datagram.id = fragment.id;
  datagram.protocol = fragment.protocol;
  datagram.stage = Datagram::Stage::kWaiting;
  datagram.pieces = 0;
  datagram.total = datagram.covered = datagram.end_max = 0;
  datagram.held_head = datagram.held_tail = kNoDatagram;
  datagram.serial = ++serial_;
  datagram.first_seen_ms = now_ms;
  datagram.chain_next = buckets_[bucket];
  buckets_[bucket] = index;
  datagram.older = newest_;
  datagram.newer = kNoDatagram;
  (newest_ == kNoDatagram ? oldest_ : all_[newest_].newer) = index;
  newest_ = index;
  ++datagrams_;
  return &datagram;
}

void Fragments::finish(Datagram& datagram, abi::Fate fate_of_held) {
  FragmentVerdict verdict;
  verdict.fate = fate_of_held;
  release_held(datagram, verdict);
  const auto index = static_cast<std::uint32_t>(&datagram - all_.get());
  const std::uint64_t hash =
      hasher_.datagram(datagram.source, datagram.destination, datagram.id, datagram.protocol);
  std::uint32_t* link = &buckets_[static_cast<std::uint32_t>(hash) & bucket_mask_];
  while (*link != index) link = &all_[*link].chain_next;
  *link = datagram.chain_next;
  (datagram.older == kNoDatagram ? oldest_ : all_[datagram.older].newer) = datagram.newer;
  (datagram.newer == kNoDatagram ? newest_ : all_[datagram.newer].older) = datagram.older;
  datagram.serial = 0;
  datagram.chain_next = free_datagram_;
  free_datagram_ = index;
  --datagrams_;
}

void Fragments::finish_if_complete(Datagram& datagram) {
  if (datagram.stage == Datagram::Stage::kSettled && datagram.total != 0 &&
      datagram.covered == datagram.total)
    finish(datagram, abi::Fate::kFragmentTimeout);  // nothing is held any more
}

bool Fragments::hold(Datagram& datagram, void* packet) {
  const std::uint32_t index = free_held_;
  if (index == kNoDatagram) return false;
  Held& held = packets_[index];
  free_held_ = held.next;
  held.packet = packet;
  held.next = kNoDatagram;
  (datagram.held_head == kNoDatagram ? datagram.held_head : packets_[datagram.held_tail].next) = index;
  datagram.held_tail = index;
  ++held_;
  return true;
}

void Fragments::release_held(Datagram& datagram, const FragmentVerdict& verdict) {
  if (datagram.held_head == kNoDatagram) return;
  for (std::uint32_t i = datagram.held_head; i != kNoDatagram; i = packets_[i].next)
    packets_[i].verdict = verdict;
  (released_head_ == kNoDatagram ? released_head_ : packets_[released_tail_].next) = datagram.held_head;
  released_tail_ = datagram.held_tail;
  datagram.held_head = datagram.held_tail = kNoDatagram;
}

bool Fragments::pop_released(ReleasedFragment& out) {
  const std::uint32_t index = released_head_;
  if (index == kNoDatagram) return false;
  Held& held = packets_[index];
  out = {held.packet, held.verdict};
  released_head_ = held.next;
  held.next = free_held_;
  free_held_ = index;
  --held_;
  return true;
}

FragmentAnswer Fragments::poison(Datagram& datagram) {
  datagram.stage = Datagram::Stage::kPoisoned;
  FragmentVerdict verdict;
  verdict.fate = abi::Fate::kFragmentOverlap;
  release_held(datagram, verdict);
  return drop(abi::Fate::kFragmentOverlap);
}

/// How a fragment fits those before it.
Fragments::Fit Fragments::fit(const Datagram& datagram, std::uint32_t begin, std::uint32_t end, bool more) {
  if (!more && (datagram.end_max > end || (datagram.total != 0 && datagram.total != end)))
    return Fit::kConflict;
  if (more && datagram.total != 0 && end >= datagram.total) return Fit::kConflict;
  for (std::uint32_t i = 0; i < datagram.pieces; ++i) {
    const auto range = datagram.ranges[i];
    if (begin == range.begin && end == range.end)
      return more == (end != datagram.total) ? Fit::kCopy : Fit::kConflict;
    if (begin < range.end && range.begin < end) return Fit::kConflict;
  }
  return datagram.pieces < kFragmentsPerDatagram ? Fit::kNew : Fit::kConflict;
}

FragmentAnswer Fragments::take(const Fragment& fragment, void* packet, std::uint64_t now_ms) {
  if (fragment.bytes == 0) return drop(abi::Fate::kFragmentTiny);
  // A whole packet that calls itself a fragment stands alone (RFC 6946).
  if (fragment.offset == 0 && !fragment.more) return {FragmentStep::kJudge, kNoDatagram, 0, {}};

  const std::uint64_t hash =
      hasher_.datagram(*fragment.source, *fragment.destination, fragment.id, fragment.protocol);
  const std::uint32_t bucket = static_cast<std::uint32_t>(hash) & bucket_mask_;
  const bool too_long =
      fragment.offset > kDatagramBytesMax || fragment.bytes > kDatagramBytesMax - fragment.offset;
  Datagram* known = find(fragment, bucket);
  if (known == nullptr) {
    if (too_long) return drop(abi::Fate::kFragmentOverlap);
    known = make(fragment, bucket, now_ms);
    if (known == nullptr) return drop(abi::Fate::kFragmentTableFull);
  }
  Datagram& datagram = *known;
  if (datagram.stage == Datagram::Stage::kPoisoned) return drop(abi::Fate::kFragmentOverlap);
  if (too_long) return poison(datagram);
  const std::uint32_t end = fragment.offset + fragment.bytes;
  const Fit fits = fit(datagram, fragment.offset, end, fragment.more);
  if (fits == Fit::kCopy) return drop(abi::Fate::kFragmentOverlap);
  if (fits == Fit::kConflict) return poison(datagram);

  const bool holds = fragment.offset != 0 && datagram.stage == Datagram::Stage::kWaiting;
  if (holds && !hold(datagram, packet)) {
    if (datagram.pieces == 0) finish(datagram, abi::Fate::kFragmentTableFull);
    return drop(abi::Fate::kFragmentTableFull);
  }
  datagram.ranges[datagram.pieces++] = {static_cast<std::uint16_t>(fragment.offset),
                                        static_cast<std::uint16_t>(end)};
  datagram.covered += fragment.bytes;
  datagram.end_max = std::max(datagram.end_max, end);
  if (!fragment.more) datagram.total = end;

  const auto index = static_cast<std::uint32_t>(&datagram - all_.get());
  if (holds) return {FragmentStep::kHold, index, datagram.serial, {}};
  if (fragment.offset == 0) return {FragmentStep::kJudge, index, datagram.serial, {}};
  const FragmentVerdict verdict = datagram.verdict;
  finish_if_complete(datagram);
  return {verdict.fate == abi::Fate::kForwarded ? FragmentStep::kKnown : FragmentStep::kDrop, kNoDatagram, 0,
          verdict};
}

void Fragments::settle(const FragmentAnswer& judged, const FragmentVerdict& verdict) {
  if (judged.datagram >= limits_.datagrams) return;
  Datagram& datagram = all_[judged.datagram];
  if (datagram.serial != judged.serial || datagram.stage != Datagram::Stage::kWaiting) return;
  datagram.verdict = verdict;
  datagram.stage = Datagram::Stage::kSettled;
  release_held(datagram, verdict);
  finish_if_complete(datagram);
}

void Fragments::expire(std::uint64_t now_ms, std::uint32_t budget) {
  for (; budget != 0 && oldest_ != kNoDatagram; --budget) {
    Datagram& datagram = all_[oldest_];
    if (now_ms < datagram.first_seen_ms + limits_.timeout_ms) return;
    finish(datagram, abi::Fate::kFragmentTimeout);
  }
}

void Fragments::flush() {
  while (oldest_ != kNoDatagram) finish(all_[oldest_], abi::Fate::kFragmentTimeout);
}

}  // namespace bulkhead::flow
