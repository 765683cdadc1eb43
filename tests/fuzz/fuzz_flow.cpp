// Random life of a flow table and of a fragment table, held against models of a few lines.
//
// The bytes are a program: an operation and a few operands at a time. The table must agree with a map from key to what
// was stored, across removals, grace periods, ageing and restarts; it may refuse only at its bound. The fragment
// table must agree with a map from byte to seen, and give every held packet back exactly once.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "dataplane/flow/fragments.h"
#include "dataplane/flow/table.h"
#include "dataplane/flow/tcp.h"

namespace {

using namespace bulkhead::flow;
namespace abi = bulkhead::abi;

#define CHECK(condition)                                                   \
  do {                                                                     \
    if (!(condition)) {                                                    \
      std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                        \
    }                                                                      \
  } while (false)

/// Hands out the input, zeros after its end.
struct Program {
  const std::uint8_t* at;
  const std::uint8_t* end;
  bool more() const { return at < end; }
  std::uint8_t byte() { return at < end ? *at++ : 0; }
  std::uint16_t word() { return static_cast<std::uint16_t>(byte() << 8 | byte()); }
};

struct alignas(64) Key {
  abi::Address source, destination;
  std::uint16_t source_port = 0, destination_port = 0;
  std::uint8_t protocol = 6;

  Key reply() const {
    Key key = *this;
    std::swap(key.source, key.destination);
    std::swap(key.source_port, key.destination_port);
    return key;
  }
};

/// One of 128 conversations, some of them with themselves.
Key key_of(std::uint8_t n) {
  Key key;
  key.source = abi::address_v4(0x0a000000u + n % 4);
  key.destination = abi::address_v4(0x0a000000u + n / 4 % 4);
  key.source_port = 1000 + n / 16 % 2;
  key.destination_port = 1000;
  key.protocol = n / 32 % 2 ? 6 : 17;
  if (n & 64) key.source.bytes[0] = key.destination.bytes[0] = 0xfd;
  return key;
}

using Name = std::array<std::uint8_t, kKeyBytes>;
Name name_of(const void* key) {
  Name name;
  std::memcpy(name.data(), key, kKeyBytes);
  return name;
}

struct Known {
  std::uint32_t slot;
  std::uint32_t generation;
  std::uint16_t last_seen_s;
  std::uint64_t packets[2];
  std::uint64_t bytes[2];
};

struct Grace {
  bool over;
  std::uint64_t start() { return 0; }
  bool done(std::uint64_t) const { return over; }
};

constexpr std::uint64_t kFlowsMax = 24;

class FlowLife {
 public:
  FlowLife() : bytes_(geometry(kFlowsMax).bytes) {
    memory_ = static_cast<std::byte*>(std::aligned_alloc(4096, bytes_));
    std::memset(memory_, 0, bytes_);
    start();
  }
  ~FlowLife() { std::free(memory_); }

  void step(Program& program) {
    const std::uint8_t operation = program.byte();
    const std::uint8_t n = program.byte();
    const Key original = key_of(n & 127);
    const Key key = n & 128 ? original.reply() : original;
    auto at = find(key);
    switch (operation % 8) {
      case 0:
      case 1:
        insert(key, at);
        break;
      case 2:
        if (at == known_.end()) break;
        CHECK(table_->remove(0, at->second.slot));
        CHECK(!table_->remove(0, at->second.slot));
        known_.erase(at);
        break;
      case 3:
        if (at == known_.end()) break;
        ++generation_;
        at->second.generation = generation_;
        table_->restamp(at->second.slot, {generation_, {3, 4}}, {});
        break;
      case 4:
        touch(key, at, program);
        break;
      case 5: {
        Grace grace{(n & 1) != 0};
        table_->reclaim(0, grace);
        break;
      }
      case 6:
        age(program);
        break;
      case 7:
        if (n == 255) restart();
        break;
    }
    look_up(key);
  }

  void verify() {
    CHECK(table_->live() == known_.size());
    std::size_t seen = 0;
    table_->for_each([&](std::uint32_t slot, const abi::FlowEntry& entry, const abi::FlowDetail& detail) {
      ++seen;
      const auto at = known_.find(name_of(&entry));
      CHECK(at != known_.end() && at->second.slot == slot);
      for (int d = 0; d < 2; ++d) {
        CHECK(at->second.packets[d] ==
              (std::uint64_t{detail.packets_high[d]} << 32 | entry.count[d].packets));
        CHECK(at->second.bytes[d] == (std::uint64_t{detail.bytes_high[d]} << 32 | entry.count[d].bytes));
      }
    });
    CHECK(seen == known_.size());
  }

 private:
  using Flows = std::map<Name, Known>;

  void start() {
    TableOptions options;
    options.flows_max = kFlowsMax;
    options.hash_seed[0] = 42;
    options.boottime_s = 100;
    table_ = std::make_unique<Table>(std::span(memory_, bytes_), options, report_);
  }

  void restart() {
    table_.reset();
    start();
    CHECK(report_.adopted && report_.restored == known_.size() && report_.discarded == 0);
    for (auto& [name, known] : known_) known.generation = 0;
  }

  Flows::iterator find(const Key& key) {
    const Key reply = key.reply();
    const auto at = known_.find(name_of(&key));
    return at != known_.end() ? at : known_.find(name_of(&reply));
  }

  void insert(const Key& key, Flows::iterator at) {
    NewFlow flow{};
    flow.key = &key;
    flow.stamp = {generation_, {1, 2}};
    flow.state = abi::FlowState::kEstablished;
    flow.now_s = now_s_;
    const Inserted in = table_->insert(0, table_->hasher()(&key), flow);
    CHECK(!in.evicted);
    if (at != known_.end()) {
      CHECK(in.outcome == Outcome::kExisted && in.slot == at->second.slot);
      return;
    }
    // The bound is 24 of 64 slots; only slots that wait for their grace period can make it full earlier.
    if (in.outcome == Outcome::kFull) return;
    CHECK(in.outcome == Outcome::kInserted && known_.size() < kFlowsMax);
    known_[name_of(&key)] = {in.slot, generation_, now_s_, {}, {}};
  }

  void touch(const Key& key, Flows::iterator at, Program& program) {
    if (at == known_.end()) return;
    const std::uint32_t packets = std::uint32_t{program.word()} << 16;
    const std::uint32_t bytes = std::uint32_t{program.word()} << 16 | 1;
    const std::uint32_t direction = name_of(&key) == at->first ? 0 : 1;
    table_->touch(at->second.slot, direction, packets, bytes, now_s_);
    at->second.packets[direction] += packets;
    at->second.bytes[direction] += bytes;
    at->second.last_seen_s = now_s_;
  }

  void age(Program& program) {
    now_s_ = static_cast<std::uint16_t>(now_s_ + program.byte());
    Timeouts timeouts;
    timeouts.tcp[2] = timeouts.udp[2] = 300;
    const auto silent = [&](const Known& known) {
      return static_cast<std::uint16_t>(now_s_ - known.last_seen_s) > 300;
    };
    std::set<Name> ended;
    table_->age(0, now_s_, table_->share(0), timeouts,
                [&](std::uint32_t, const abi::FlowEntry& entry, const abi::FlowDetail&) {
                  ended.insert(name_of(&entry));
                });
    for (auto at = known_.begin(); at != known_.end();) {
      CHECK(ended.count(at->first) == (silent(at->second) ? 1u : 0u));
      at = silent(at->second) ? known_.erase(at) : std::next(at);
    }
  }

  void look_up(const Key& key) {
    const auto at = find(key);
    const Probe probe = table_->look_up(&key, generation_);
    CHECK((probe.found == Found::kMiss) == (at == known_.end()));
    if (at == known_.end()) return;
    CHECK(probe.slot == at->second.slot);
    CHECK((probe.found == Found::kHit) == (at->second.generation == generation_));
    CHECK(probe.direction == (name_of(&key) == at->first ? 0 : 1));
  }

  std::uint64_t bytes_;
  std::byte* memory_;
  TakeUp report_;
  std::unique_ptr<Table> table_;
  Flows known_;
  std::uint32_t generation_ = 1;
  std::uint16_t now_s_ = 0;
};

class FragmentLife {
 public:
  void step(Program& program) {
    const std::uint8_t operation = program.byte();
    if (operation >= 240) {
      now_ms_ += std::uint64_t{program.byte()} * 256;
      table_.expire(now_ms_);
      std::erase_if(datagrams_,
                    [&](const auto& one) { return one.second.first_seen_ms + 30'000 <= now_ms_; });
      drain();
      return;
    }
    const std::uint32_t id = operation % 3;
    Fragment fragment{&from_, &to_, id, 17, (operation & 64) != 0, 8u * (program.byte() % 24), 0};
    fragment.bytes = fragment.more ? 8u * (program.byte() % 8) : program.byte() % 64;
    void* packet = reinterpret_cast<void*>(++packets_);
    const FragmentAnswer answer = table_.take(fragment, packet, now_ms_);
    expect(id, fragment, answer, (operation & 32) != 0);
    if (answer.step == FragmentStep::kHold) held_.insert(packet);
    drain();
    CHECK(table_.held() == held_.size());
    CHECK(table_.datagrams() == datagrams_.size());
  }

  void end() {
    table_.flush();
    drain();
    CHECK(held_.empty() && table_.held() == 0 && table_.datagrams() == 0);
  }

 private:
  struct Datagram {
    std::vector<std::pair<std::uint32_t, std::uint32_t>> pieces;
    std::uint32_t total = 0;
    bool poisoned = false, settled = false, allowed = false;
    std::uint64_t first_seen_ms = 0;

    bool complete() const {
      std::uint32_t seen = 0;
      for (const auto& [begin, end] : pieces) seen += end - begin;
      return total != 0 && seen == total;
    }
  };

  void expect(std::uint32_t id, const Fragment& fragment, const FragmentAnswer& answer, bool allow) {
    if (fragment.bytes == 0) {
      CHECK(answer.step == FragmentStep::kDrop && answer.verdict.fate == abi::Fate::kFragmentTiny);
      return;
    }
    if (fragment.offset == 0 && !fragment.more) {
      CHECK(answer.step == FragmentStep::kJudge && answer.datagram == kNoDatagram);
      return;
    }
    const bool fresh = datagrams_.count(id) == 0;
    Datagram& datagram = datagrams_[id];
    if (fresh) datagram.first_seen_ms = now_ms_;
    const std::uint32_t begin = fragment.offset, end = begin + fragment.bytes;
    bool copy = false, bad = datagram.poisoned;
    if (datagram.total != 0) bad |= fragment.more ? end >= datagram.total : end != datagram.total;
    for (const auto& [b, e] : datagram.pieces) {
      if (!fragment.more && e > end) bad = true;
      if (b == begin && e == end && (!fragment.more == (datagram.total == end && datagram.total != 0)))
        copy = true;
      else if (b < end && begin < e)
        bad = true;
    }
    if (bad || copy) {
      if (bad) datagram.poisoned = true;
      CHECK(answer.step == FragmentStep::kDrop && answer.verdict.fate == abi::Fate::kFragmentOverlap);
      return;
    }
    datagram.pieces.emplace_back(begin, end);
    if (!fragment.more) datagram.total = end;
    if (begin == 0) {
      CHECK(answer.step == FragmentStep::kJudge && answer.datagram != kNoDatagram);
      FragmentVerdict verdict;
      verdict.fate = allow ? abi::Fate::kForwarded : abi::Fate::kDeniedDefault;
      table_.settle(answer, verdict);
      datagram.settled = true;
      datagram.allowed = allow;
    } else if (!datagram.settled) {
      CHECK(answer.step == FragmentStep::kHold);
    } else {
      CHECK(answer.step == (datagram.allowed ? FragmentStep::kKnown : FragmentStep::kDrop));
      CHECK(datagram.allowed || answer.verdict.fate == abi::Fate::kDeniedDefault);
    }
    if (datagram.settled && datagram.complete()) datagrams_.erase(id);
  }

  void drain() {
    ReleasedFragment released;
    while (table_.next_released(released)) CHECK(held_.erase(released.packet) == 1);
  }

  static constexpr std::uint64_t kSeed[4] = {1, 2, 3, 4};
  const abi::Address from_ = abi::address_v4(0x0a000001), to_ = abi::address_v4(0x0a000002);
  Fragments table_{Hasher(kSeed), {8, 512, 30'000}};
  std::map<std::uint32_t, Datagram> datagrams_;
  std::set<void*> held_;
  std::uintptr_t packets_ = 0;
  std::uint64_t now_ms_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Program program{data, data + size};
  if (program.byte() & 1) {
    FragmentLife life;
    while (program.more()) life.step(program);
    life.end();
  } else {
    FlowLife life;
    while (program.more()) life.step(program);
    life.verify();
  }
  return 0;
}
