// The life of a conversation, as seen from the middle.
//
//            SYN ──► kNew ──SYN+ACK──► kSynAck ──ACK──► kEstablished ──FIN──► kClosing ──FIN──► kClosed
//                      └──SYN from the other side (simultaneous open)──┘         RST from anywhere ──┘
//
// Sequence numbers are not followed: the end systems judge those. What is refused is what no order of
// segments on the wire explains: data before a handshake, an open attempt against the flow's direction, an
// answer nobody asked for. A SYN on a finished conversation is a new one and must be judged anew.
//
// States move by compare-and-swap, since both directions may be received by different workers; a packet that
// changes nothing writes nothing.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "dataplane/abi/flow.h"

namespace bulkhead::flow {

inline constexpr std::uint8_t kTcpFin = 1, kTcpSyn = 2, kTcpRst = 4, kTcpAck = 16;

/// What a segment is, of all its flags. Flag sets that no stack sends were dropped while parsing (kTcpFlags);
/// if one comes here it is kNoSegment and allowed nowhere.
enum class Segment : std::uint8_t { kOpen, kOpenAck, kData, kFinish, kReset, kNoSegment };

constexpr Segment segment_of(std::uint8_t tcp_flags) {
  const bool syn = tcp_flags & kTcpSyn, fin = tcp_flags & kTcpFin, rst = tcp_flags & kTcpRst,
             ack = tcp_flags & kTcpAck;
  if (syn + fin + rst > 1) return Segment::kNoSegment;
  if (rst) return Segment::kReset;
  if (fin) return Segment::kFinish;
  if (syn) return ack ? Segment::kOpenAck : Segment::kOpen;
  return ack ? Segment::kData : Segment::kNoSegment;
}

/// A conversation may begin with this segment, else kTcpNotSyn.
constexpr bool opens(std::uint8_t tcp_flags) {
  return segment_of(tcp_flags) == Segment::kOpen;
}

/// What a segment does to a state.
enum class Step : std::uint8_t {
  kToNew,  // the first five are abi::FlowState: go or stay there
  kToSynAck,
  kToEstablished,
  kToClosing,
  kToClosed,
  kReopen,   // a new conversation on a finished one's tuple
  kInvalid,  // kTcpState
};

/// [state][direction][segment]: open, open+ack, data, finish, reset, none.
inline constexpr Step kSteps[5][2][6] = {
    // kNew. The responder may answer a stale half of its own with a bare ACK (RFC 5961, challenge ACK).
    {{Step::kToNew, Step::kInvalid, Step::kInvalid, Step::kInvalid, Step::kToClosed, Step::kInvalid},
     {Step::kToSynAck, Step::kToSynAck, Step::kToNew, Step::kInvalid, Step::kToClosed, Step::kInvalid}},
    // kSynAck. The responder may send before the last ACK (RFC 7413, fast open); simultaneous open repeats
    // either kind.
    {{Step::kToSynAck, Step::kToSynAck, Step::kToEstablished, Step::kToClosing, Step::kToClosed,
      Step::kInvalid},
     {Step::kToSynAck, Step::kToSynAck, Step::kToSynAck, Step::kToClosing, Step::kToClosed, Step::kInvalid}},
    // kEstablished. A rebooted originator's SYN passes, to be challenged; one against the flow's direction
    // would open a
    // conversation that was never judged.
    {{Step::kToEstablished, Step::kInvalid, Step::kToEstablished, Step::kToClosing, Step::kToClosed,
      Step::kInvalid},
     {Step::kInvalid, Step::kToEstablished, Step::kToEstablished, Step::kToClosing, Step::kToClosed,
      Step::kInvalid}},
    // kClosing. The second side's FIN closes: see advance_tcp().
    {{Step::kReopen, Step::kInvalid, Step::kToClosing, Step::kToClosing, Step::kToClosed, Step::kInvalid},
     {Step::kInvalid, Step::kToClosing, Step::kToClosing, Step::kToClosing, Step::kToClosed, Step::kInvalid}},
    // kClosed. Last ACKs and repeated segments pass until it times out.
    {{Step::kReopen, Step::kInvalid, Step::kToClosed, Step::kToClosed, Step::kToClosed, Step::kInvalid},
     {Step::kReopen, Step::kToClosed, Step::kToClosed, Step::kToClosed, Step::kToClosed, Step::kInvalid}},
};

enum class Advance : std::uint8_t {
  kPass,
  kInvalid,  // drop as kTcpState; nothing changed
  kReopen,   // remove() the flow and treat the packet as the first of a new one; nothing changed
};

/// Takes one segment into account. Any worker.
inline Advance advance_tcp(abi::FlowEntry& entry, abi::FlowDetail& detail, std::uint32_t direction,
                           std::uint8_t tcp_flags) {
  std::atomic_ref<abi::FlowState> state(entry.state);
  abi::FlowState seen = state.load(std::memory_order_relaxed);
  const Segment segment = segment_of(tcp_flags);
  // A state moves at most five times in its life, which bounds the loop.
  for (;;) {
    const Step step = kSteps[static_cast<unsigned>(seen)][direction & 1][static_cast<unsigned>(segment)];
    if (step == Step::kInvalid) return Advance::kInvalid;
    if (step == Step::kReopen) return Advance::kReopen;
    auto next = static_cast<abi::FlowState>(step);
    if (segment == Segment::kFinish) [[unlikely]] {
      const auto bit = static_cast<std::uint8_t>(1u << (direction & 1));
      const auto before = std::atomic_ref(detail.fin_seen).fetch_or(bit, std::memory_order_acq_rel);
      if ((before | bit) == 3) next = abi::FlowState::kClosed;
    }
    if (next == seen) return Advance::kPass;
    if (state.compare_exchange_weak(seen, next, std::memory_order_relaxed)) return Advance::kPass;
  }
}

/// For every protocol but TCP: the first reply establishes.
inline void advance_other(abi::FlowEntry& entry, std::uint32_t direction) {
  if (direction == 0) return;
  std::atomic_ref<abi::FlowState> state(entry.state);
  if (state.load(std::memory_order_relaxed) == abi::FlowState::kNew)
    state.store(abi::FlowState::kEstablished, std::memory_order_relaxed);
}

/// Whether a TCP segment or UDP datagram surely leaves its conversation where it is: any other asks advance_*(). `moves` says of a
/// segment that it bears FIN, SYN or RST, and is false of a datagram.
inline bool stays(abi::FlowEntry& entry, std::size_t direction, bool moves) {
  const abi::FlowState state = std::atomic_ref(entry.state).load(std::memory_order_relaxed);
  if (state == abi::FlowState::kEstablished) [[likely]]
    return !moves;
  // Nobody has answered yet, as a receiver of logs or of media never does.
  return state == abi::FlowState::kNew && entry.protocol == 17 && direction == 0;
}

/// Whether an ICMP query message may go in this direction of a flow: questions from the originator, answers
/// from the responder. A reply flow must not carry the responder's own questions, which nobody judged.
constexpr bool icmp_fits(std::uint8_t protocol, std::uint8_t icmp_type, std::uint32_t direction) {
  const bool answer = protocol == 1 ? icmp_type == 0 || icmp_type == 14 || icmp_type == 16 || icmp_type == 18
                                    : icmp_type == 129;
  return answer == (direction == 1);
}

}  // namespace bulkhead::flow
