// Judging flow-table misses by the image: who sends, who receives, by which way, and may they.
//
//   Question ──► source check ──► destination ──► way out ──► image::judge ──► Answer
//                kSpoofedAddress                  kNoRoute     kDenied...       kForwarded
//
// A flow that the image of an older generation allowed is asked again with the same Question, made from its
// table entry: a packet and a stored flow cannot be judged differently. Any thread; no state; no allocation.
// The View, the Router and the addresses that a Question points to must live until classify() returns.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "dataplane/abi/address.h"
#include "dataplane/abi/fate.h"
#include "dataplane/abi/flow.h"
#include "dataplane/image/query.h"
#include "dataplane/packet/packet.h"

namespace bulkhead::classify {

/// The two ports that are no endpoint's; 0: there is none. Every other port is an endpoint's.
struct Router {
  std::uint32_t host_port = 0;
  std::uint32_t uplink_port = 0;
};

/// A new flow, in its originator's order.
struct Question {
  const abi::Address* source = nullptr;
  const abi::Address* destination = nullptr;
  std::uint32_t ingress_port = 0;  // where the originator's packets come in
  image::ProtocolSlot slot = image::kOtherProtocol;
  std::uint16_t port = 0;  // what image::port_class wants
};

/// Asks for a packet that has no flow. Points into `packet`.
inline Question ask(const packet::Parsed& packet, std::uint32_t ingress_port) {
  return {&packet.source, &packet.destination, ingress_port, image::protocol_slot(packet.protocol),
          packet.policy_port};
}

/// Asks again for a flow that an older image allowed. `ingress_port` is the entry's port[0], which the caller has
/// read in one piece with its generation. Points into `flow`, whose key never changes.
inline Question ask(const abi::FlowEntry& flow, const abi::FlowDetail& detail, std::uint32_t ingress_port) {
  const std::uint32_t slot = std::min<std::uint32_t>(detail.policy_slot, image::kOtherProtocol);
  return {&flow.source, &flow.destination, ingress_port, image::ProtocolSlot{slot}, detail.policy_port};
}

struct Answer {
  abi::Fate fate = abi::Fate::kNoRoute;
  std::uint8_t direction = 0;     // the end that decided, where policy did
  std::uint32_t egress_port = 0;  // 0 unless a way was found; set for denials by policy too
  image::Bound source;
  image::Bound destination;
  std::uint32_t rule[image::kDirections] = {};  // what each end decided by; 0: a default, or not asked
};

/// Answers questions[i] in answers[i]. The fates, in the order in which they are looked for:
///   kSpoofedAddress  an endpoint's port, and the source is not this port's endpoint;
///                    another port, and the source belongs to a local endpoint;
///                    the uplink, and the source is the node or a gateway
///   kNoRoute         neither end is on this node (a local endpoint, the node, a gateway), there is no port
///                    that leads to the destination, or it would leave by the port it came from
///   kDenied...       by image::judge
///   kForwarded       through egress_port
void classify(const image::View& view, const Router& router, std::span<const Question> questions,
              std::span<Answer> answers);

}  // namespace bulkhead::classify
