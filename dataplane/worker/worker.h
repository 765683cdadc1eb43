// A worker: takes bursts from its ports and carries every packet to its fate, alone, from start to end.
//
//   loop.cpp         poll while there is work, sleep on the ports' fds when there is none, keep house in between
//   precedence.cpp   what it asks of the scheduler, once
//   intake.cpp       a burst from one port: parse, check the sender's MAC, sort, start lookups  DESIGN: parse, source check
//   established.cpp  the rest of the lookups; a current hit goes on its way at once                flow table
//   judge.cpp        misses and stale hits: addresses, then the image; flows begin, go on or end    classify
//   ending.cpp       what becomes of a conversation that policy denies now: it is kept, cut, or reset
//   egress.cpp       hop, MACs, tag; out by port                                                   forward, account
//   finish.cpp       what the way out cannot do itself: checksums, segments, fragments, ICMP errors
//   aside.cpp        what belongs to no flow: ARP, neighbour discovery, echo to a gateway, ICMP errors about flows
//   fragments.cpp    fragments, judged with their first
//
// A worker reads one image and one set of ports for a whole burst and is quiescent between bursts: that is what every
// grace period waits for. It shares the flow table with other workers and everything else with nobody. No allocation, lock,
// system call (ports aside) or exception on a packet's way.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "dataplane/classify/classify.h"
#include "dataplane/flow/fragments.h"
#include "dataplane/forward/bucket.h"
#include "dataplane/forward/icmp_error.h"
#include "dataplane/forward/reset.h"
#include "dataplane/forward/rewrite.h"
#include "dataplane/worker/batch.h"
#include "dataplane/worker/environment.h"

namespace bulkhead::worker {

class Worker {
 public:
  Worker(const Environment& environment, std::uint32_t index);
  ~Worker();
  Worker(const Worker&) = delete;

  /// Until stop(). On the worker's own lcore.
  void run();

  // Control thread.
  /// The port is in the table. Ports with an fd are slept on, the others polled.
  void add(port::Port& port);
  /// After this and one grace period nothing here refers to the port.
  void remove(port::Port& port);
  void stop();
  void wake();

 private:
  struct Grace {
    swap::Publisher& publisher;
    std::uint64_t start() { return publisher.grace_start(); }
    bool done(std::uint64_t token) { return publisher.grace_done(token); }
  };

  struct Aim;  // egress.h

  // loop.cpp
  std::uint32_t poll_ready(int timeout_us);
  std::uint32_t poll_devices();
  void keep_house(std::uint64_t now_tsc);
  void ask_next_hop(port::Port& uplink);
  bool has_devices() const;

  // intake.cpp
  void process(port::Port& port, rte_mbuf** packets, std::uint32_t count);
  void take_in(port::Port& port, rte_mbuf** packets, std::uint32_t count);
  void sort(port::Port& port, rte_mbuf* packet, Batch& batch);
  void count_bytes(rte_mbuf* const* packets, std::uint32_t count);

  // established.cpp
  void carry_on(Batch& batch);
  std::uint32_t express(Batch& batch, std::uint32_t i, const Aim& to);
  std::uint16_t way_out(const flow::Probe& probe) const;
  bool look_closer(Batch& batch, std::uint32_t i);
  void look_up(Batch& batch);
  bool established(Batch& batch, std::uint32_t i);
  bool advance(Batch& batch, std::uint32_t i, std::uint32_t slot, std::uint32_t direction);

  // judge.cpp
  void judge(Batch& batch, const std::uint32_t* pending, std::uint32_t count);
  bool begin_flow(Batch& batch, std::uint32_t i, const classify::Answer& answer);
  bool judge_again(Batch& batch, std::uint32_t i);
  void deny(const packet::Parsed& parsed, abi::Fate fate, const classify::Answer& answer);
  void audit(const classify::Question& question, const classify::Answer& answer, std::uint16_t source_port,
             std::uint8_t protocol);

  // ending.cpp
  flow::Reasons reasons(const classify::Answer& answer, bool kept = false) const;
  image::Established rest_of(std::uint32_t slot, const classify::Question& question,
                             const classify::Answer& answer) const;
  void end_flow(Batch& batch, std::uint32_t i, image::Established rest, std::uint32_t other_port);
  void reset(const std::uint8_t* frame, const packet::Parsed& parsed, forward::Toward toward,
             const abi::Mac& peer, port::Port& out);

  // egress.cpp
  void aim(std::uint16_t number, Aim& to);
  void send_on(Batch& batch);
  void send(Batch& batch, std::uint32_t i, Aim& to);
  void send_slowly(Batch& batch, std::uint32_t i, Aim& to);
  bool may_leave_by(const port::Port& out) const;
  void emit_slowly(rte_mbuf* packet, port::Port& out);
  void flush();

  // finish.cpp
  void finish(rte_mbuf* packet, const packet::Parsed& parsed, port::Port& out, const packet::FrameHead& head);
  void segment(rte_mbuf* packet, const packet::Parsed& parsed, port::Port& out);
  void fragment(rte_mbuf* packet, const packet::Parsed& parsed, port::Port& out);
  rte_mbuf* piece(std::uint32_t bytes);
  bool tell_sender(const rte_mbuf* packet, const packet::Parsed& parsed, forward::Problem problem,
                   std::uint32_t mtu);

  // aside.cpp
  void arp(rte_mbuf* packet, const packet::Parsed& parsed);
  void neighbour(rte_mbuf* packet, const packet::Parsed& parsed);
  void icmp_error(rte_mbuf* packet, const packet::Parsed& parsed);
  bool source_fits(const abi::Address& source) const;
  bool refresh(flow::Probe& probe);
  bool echo(rte_mbuf* packet, const packet::Parsed& parsed);
  void reply(const std::uint8_t* frame, std::uint32_t bytes, port::Port& out);

  // fragments.cpp
  void first_or_later(rte_mbuf* packet, const packet::Parsed& parsed);
  void send_later(rte_mbuf* packet, const packet::Parsed& parsed, const flow::FragmentVerdict& verdict);
  void send_released();
  std::uint32_t in_key() const { return static_cast<std::uint32_t>(in_->request().port_key); }

  /// One hop less, and from us to the far end of the way out.
  static void rewrite(rte_mbuf* packet, const packet::Parsed& parsed, const packet::FrameHead& head) {
    auto* frame = rte_pktmbuf_mtod(packet, std::uint8_t*);
    forward::spend_hop(frame, parsed);
    std::memcpy(frame, &head.first, 8);
    std::memcpy(frame + 8, &head.rest, 4);
  }
  /// Into the outbox.
  void emit(rte_mbuf* packet, port::Port& out) {
    Outbox::Lane* lane = out.vlan() == 0 ? outbox_.lane(static_cast<std::uint16_t>(out.number())) : nullptr;
    if (lane == nullptr) [[unlikely]]
      return emit_slowly(packet, out);
    Outbox::put(*lane, packet);
  }
  void drop(rte_mbuf* packet, abi::Fate fate) {
    telemetry::add(in_counters_->fates[static_cast<std::size_t>(fate)], 1);
    rte_pktmbuf_free(packet);
  }
  void count(abi::Fate fate, std::uint64_t packets = 1) {
    telemetry::add(in_counters_->fates[static_cast<std::size_t>(fate)], packets);
  }

  Environment env_;
  const std::uint32_t index_;
  abi::WorkerBlock& block_;
  port::Landing landing_;
  flow::Fragments fragments_;
  std::vector<forward::TokenBucket> errors_;  // by port: nobody uses up the errors that another is owed

  // What holds for the burst at hand.
  const swap::Enforced* image_ = nullptr;
  std::uint32_t generation_ = 0;
  classify::Router router_;
  port::Port* in_ = nullptr;
  std::uint16_t in_number_ = 0;
  abi::PortCounters* in_counters_ = nullptr;
  std::uint32_t in_endpoint_ = 0;  // image endpoint of the ingress port; 0: host or uplink
  Batch batch_;
  Batch single_;  // for what goes alone: fragments and ICMP errors
  Outbox outbox_;
  std::uint64_t accepted_ = 0;  // packets that went to the outbox since the last flush

  // Time, as of the last look at the clock.
  std::uint64_t tsc_hz_;
  std::uint64_t now_tsc_ = 0;
  std::uint64_t now_ms_ = 0;   // Unix time
  std::uint64_t boot_ms_ = 0;  // never goes back
  std::uint16_t now_s_ = 0;    // flow table's clock
  std::uint64_t next_clock_tsc_ = 0;
  std::uint64_t next_house_ms_ = 0;
  std::uint64_t next_hop_ms_ = 0;

  int epoll_;
  int wake_;
  std::atomic<std::uint32_t> devices_[RTE_MAX_ETHPORTS] = {};  // polled port numbers; 0: free
  std::atomic<std::uint32_t> sleepers_{0};                     // ports with an fd
  std::atomic<bool> stopping_{false};
};

}  // namespace bulkhead::worker
