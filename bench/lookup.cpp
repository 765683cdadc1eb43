// Claim: what a verdict costs does not depend on how many rules or identities there are.
//
//   bench/lookup --benchmark_repetitions=9 --benchmark_enable_random_interleaving=true
//
// Each iteration asks the image alone (bind, bind, judge) about the next of a fixed number of conversations, in random
// order. The number of loads is the same for every image; what is left of a slope is where the caches and the TLB hold
// them. Compare the times within one run.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <utility>
#include <vector>

#include "dataplane/image/query.h"
#include "tests/unit/image/sample.h"

namespace bulkhead::image {
namespace {

constexpr std::size_t kConversations = 64;
constexpr std::size_t kQuestions = 4096;  // a power of two

struct Question {
  abi::Address source;
  abi::Address destination;
  ProtocolSlot slot;
  std::uint16_t port;
};

/// Tables as large as that many rules could make them: ten tell apart a thousand identities.
sample::Shape shape_of(std::uint32_t rules, std::uint32_t identities) {
  sample::Shape shape;
  shape.rules = rules;
  shape.identities = identities;
  shape.classes = std::min(identities, 1'000u);
  shape.endpoints = 20'000;
  shape.local = 500;
  shape.rule_sets = std::clamp(rules, 1'000u, 20'000u);
  shape.port_classes = std::clamp(rules, 2u, 200u);
  shape.blocks = 100;
  return shape;
}

std::vector<Question> questions_of(std::uint32_t endpoints) {
  std::mt19937_64 random(42);
  std::vector<Question> conversations(kConversations);
  for (Question& one : conversations) {
    const auto source = static_cast<std::uint32_t>(1 + random() % endpoints);
    const auto destination = static_cast<std::uint32_t>(1 + random() % endpoints);
    const bool v4 = random() % 2 == 0;
    one.source = v4 ? sample::endpoint_v4(source) : sample::endpoint_v6(source);
    one.destination = v4 ? sample::endpoint_v4(destination) : sample::endpoint_v6(destination);
    one.slot = random() % 4 == 0 ? kUdp : kTcp;
    one.port = static_cast<std::uint16_t>(random() % 1024);
  }
  std::vector<Question> questions(kQuestions);
  for (Question& one : questions) one = conversations[random() % kConversations];
  return questions;
}

/// Made once: every repetition asks the same bytes in the same place.
const sample::Image& image_of(std::uint32_t rules, std::uint32_t identities) {
  static std::map<std::pair<std::uint32_t, std::uint32_t>, sample::Image> made;
  const auto known = made.find({rules, identities});
  if (known != made.end()) return known->second;
  return made
      .emplace(std::pair{rules, identities}, sample::build(sample::make_tables(shape_of(rules, identities))))
      .first->second;
}

void lookup(benchmark::State& state, std::uint32_t rules, std::uint32_t identities) {
  const sample::Shape shape = shape_of(rules, identities);
  const sample::Image& image = image_of(rules, identities);
  const auto result = validate(image.sections());
  const View& view = std::get<View>(result);
  const std::vector<Question> questions = questions_of(shape.endpoints);
  std::size_t next = 0;
  for (auto _ : state) {
    const Question& one = questions[next++ & (kQuestions - 1)];
    const Judgement judgement =
        judge(view, bind(view, one.source), bind(view, one.destination), one.slot, one.port);
    benchmark::DoNotOptimize(judgement);
  }
  state.SetItemsProcessed(state.iterations());
  state.counters["image_MB"] = static_cast<double>(image.bytes()) / 1e6;
}

void lookup_time_does_not_depend_on_rules(benchmark::State& state) {
  lookup(state, static_cast<std::uint32_t>(state.range(0)), 1'000);
}
BENCHMARK(lookup_time_does_not_depend_on_rules)->Arg(10)->Arg(1'000)->Arg(100'000);

void lookup_time_does_not_depend_on_identities(benchmark::State& state) {
  lookup(state, 1'000, static_cast<std::uint32_t>(state.range(0)));
}
BENCHMARK(lookup_time_does_not_depend_on_identities)->Arg(10)->Arg(100)->Arg(1'000)->Arg(10'000);

}  // namespace
}  // namespace bulkhead::image

BENCHMARK_MAIN();
