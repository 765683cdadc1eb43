// One change after the other gives the very image that compiling everything anew gives.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "controlplane/compile/compiler.h"
#include "tests/property/scenario.h"

namespace bulkhead::property {
namespace {

compile::Input input_of(const Scenario& scenario, const std::vector<compile::LocalPort>& ports) {
  return {.cluster = scenario.cluster,
          .policies = scenario.policies,
          .posture = scenario.posture,
          .node = {.name = scenario.local_node},
          .ports = ports,
          .subjects = scenario.subjects};
}

class Life {
 public:
  explicit Life(std::uint64_t seed) : random_(seed), scenario_(make_scenario(seed)) {}

  /// Changes that were told from what was kept, and those for which everything was compiled anew.
  std::pair<std::size_t, std::size_t> run() {
    if (!compile_all()) return {};
    for (int step = 0; step < 30; ++step) {
      const policies::Endpoint before = pick(), after = altered(before);
      const bool comes = before.id.empty(), goes = after.id.empty();
      if (comes && goes) continue;
      const auto output = compiler_.change({comes ? nullptr : &before, port_of(before)},
                                           {goes ? nullptr : &after, port_of(after)});
      apply(before, after);
      if (!output) {
        ++anew_;
        if (!compile_all()) return {told_, anew_};
        continue;
      }
      ++told_;
      const auto whole = compile::compile(input_of(scenario_, ports_));
      EXPECT_TRUE(std::holds_alternative<compile::Output>(whole)) << "a change was taken that is refused";
      if (!std::holds_alternative<compile::Output>(whole)) break;
      EXPECT_EQ(output->image, std::get<compile::Output>(whole).image) << "step " << step;
    }
    return {told_, anew_};
  }

 private:
  bool compile_all() {
    const auto compiled = compiler_.compile(input_of(scenario_, ports_));
    return std::holds_alternative<compile::Output>(compiled);
  }

  std::uint32_t below(std::size_t bound) { return static_cast<std::uint32_t>(random_() % bound); }

  /// An endpoint that is there, or none.
  policies::Endpoint pick() {
    const auto& all = scenario_.cluster.endpoints;
    return all.empty() || below(3) == 0 ? policies::Endpoint{} : all[below(all.size())];
  }

  /// What becomes of it: gone, moved to another address, relabelled like another, renamed; or a new one like another.
  policies::Endpoint altered(const policies::Endpoint& before) {
    const auto& all = scenario_.cluster.endpoints;
    policies::Endpoint after = before;
    if (before.id.empty()) {
      if (all.empty()) return after;
      after = all[below(all.size())];
      after.id = after.name = "new-" + std::to_string(++made_);
      for (auto& address : after.addresses) address[15] = static_cast<std::uint8_t>(random_());
      return after;
    }
    switch (below(5)) {
      case 0:
        return {};
      case 1:
        for (auto& address : after.addresses) address[15] = static_cast<std::uint8_t>(random_());
        break;
      case 2:
        after.labels = all[below(all.size())].labels;
        break;
      case 3:
        after.name += "x";
        break;
      default:
        if (after.addresses.empty()) break;
        after.addresses.push_back(after.addresses[0]);
        after.addresses.back()[14] = static_cast<std::uint8_t>(random_());
        break;
    }
    return after;
  }

  std::optional<compile::LocalPort> port_of(const policies::Endpoint& endpoint) const {
    for (const compile::LocalPort& port : ports_)
      if (port.endpoint_id == endpoint.id) return port;
    return std::nullopt;
  }

  void apply(const policies::Endpoint& before, const policies::Endpoint& after) {
    auto& all = scenario_.cluster.endpoints;
    const auto found =
        std::find_if(all.begin(), all.end(), [&](const auto& one) { return one.id == before.id; });
    if (found != all.end() && !before.id.empty()) {
      if (after.id.empty())
        all.erase(found);
      else
        *found = after;
    } else if (!after.id.empty()) {
      all.push_back(after);
    }
  }

  std::mt19937_64 random_;
  Scenario scenario_;
  std::vector<compile::LocalPort> ports_ = {};
  compile::Compiler compiler_;
  std::size_t told_ = 0, anew_ = 0;
  std::uint32_t made_ = 0;
};

TEST(Changes, one_after_the_other_give_the_image_of_everything_anew) {
  std::size_t told = 0, anew = 0;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    const auto [of_kept, of_all] = Life(seed).run();
    told += of_kept;
    anew += of_all;
    if (HasFailure()) FAIL() << "seed " << seed;
  }
  EXPECT_GT(told, 500u);
  EXPECT_GT(anew, 500u);
}

}  // namespace
}  // namespace bulkhead::property
