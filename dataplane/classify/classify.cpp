#include "dataplane/classify/classify.h"

#include <cassert>

namespace bulkhead::classify {
namespace {

using abi::Fate;

/// What routing needs to know of an end.
struct End {
  std::uint32_t port;  // a local endpoint's, else 0
  bool node;           // the node itself or an address of the data plane: behind the host port
};

bool is_gateway(const image::View& view, const abi::Address& address) {
  constexpr abi::Address kNone{};
  return (address == view.policy->gateway_v4 || address == view.policy->gateway_v6) && address != kNone;
}

End end_of(const image::View& view, image::Bound bound, const abi::Address& address) {
  const image::Endpoint& endpoint = view.endpoint(bound.endpoint);
  const bool node = (endpoint.flags & image::kEndpointNode) != 0 || is_gateway(view, address);
  return {endpoint.port, node};
}

/// Whether packets with this source may come in by `ingress_port`.
bool source_fits(const End& source, std::uint32_t ingress_port, const Router& router) {
  if (ingress_port == 0) return false;
  if (ingress_port == router.uplink_port) return source.port == 0 && !source.node;
  if (ingress_port == router.host_port) return source.port == 0;
  return source.port == ingress_port;
}

/// The port that leads to the destination; 0: none does.
std::uint32_t way_to(const End& destination, const Router& router) {
  if (destination.port != 0) return destination.port;
  if (destination.node) return router.host_port;
  return router.uplink_port != 0 ? router.uplink_port : router.host_port;
}

/// `answer.source` and `answer.destination` are bound already.
void answer_one(const image::View& view, const Router& router, const Question& question, Answer& answer) {
  answer.egress_port = 0;
  answer.direction = 0;
  answer.rule[image::kIngress] = answer.rule[image::kEgress] = 0;

  const End source = end_of(view, answer.source, *question.source);
  if (!source_fits(source, question.ingress_port, router)) {
    answer.fate = Fate::kSpoofedAddress;
    return;
  }
  const End destination = end_of(view, answer.destination, *question.destination);
  const bool concerns_this_node =
      source.port != 0 || source.node || destination.port != 0 || destination.node;
  const std::uint32_t way = way_to(destination, router);
  if (!concerns_this_node || way == 0 || way == question.ingress_port) {
    answer.fate = Fate::kNoRoute;
    return;
  }

  const image::Judgement judgement =
      image::judge(view, answer.source, answer.destination, question.slot, question.port);
  answer.fate = judgement.fate;
  answer.direction = static_cast<std::uint8_t>(judgement.direction);
  answer.egress_port = way;
  answer.rule[image::kEgress] = judgement.egress_rule;
  answer.rule[judgement.direction] = judgement.rule;
}

}  // namespace

void classify(const image::View& view, const Router& router, std::span<const Question> questions,
              std::span<Answer> answers) {
  assert(answers.size() >= questions.size());
  // Three passes, so that the cache misses of a whole burst overlap: slots, then what they lead to, then the
  // judgement.
  for (const Question& question : questions) {
    __builtin_prefetch(image::home_slot(view, *question.source));
    __builtin_prefetch(image::home_slot(view, *question.destination));
  }
  for (std::size_t i = 0; i < questions.size(); ++i) {
    Answer& answer = answers[i];
    answer.source = image::bind(view, *questions[i].source);
    answer.destination = image::bind(view, *questions[i].destination);
    __builtin_prefetch(view.records + answer.source.record);
    __builtin_prefetch(view.records + answer.destination.record);
    __builtin_prefetch(&view.endpoint(answer.source.endpoint).port);
    __builtin_prefetch(&view.endpoint(answer.destination.endpoint).port);
  }
  for (std::size_t i = 0; i < questions.size(); ++i) answer_one(view, router, questions[i], answers[i]);
}

}  // namespace bulkhead::classify
