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
      const bool of_endpoints = below(3) != 0;
      same_cluster_ = false;
      const auto output = of_endpoints ? change_an_endpoint() : change_what_is_said_of_them();
      const auto updated =
          updater_.update(input_of(scenario_, ports_), {.policies = of_endpoints, .cluster = same_cluster_});
      const auto whole = compile::compile(input_of(scenario_, ports_));
      if (const auto* refusal = std::get_if<compile::Refusal>(&whole)) {
        EXPECT_FALSE(output) << "a change was taken that is refused: " << refusal->reason;
        EXPECT_TRUE(std::holds_alternative<compile::Refusal>(updated)) << refusal->reason;
        break;
      }
      const image::ImageBytes& wanted = std::get<compile::Output>(whole).image;
      EXPECT_EQ(std::get<compile::Output>(updated).image, wanted) << "step " << step;
      if (output) {
        ++told_;
        EXPECT_EQ(output->image, wanted) << "step " << step;
      } else {
        ++anew_;
        if (!compile_all()) break;
      }
    }
    return {told_, anew_};
  }

 private:
  std::optional<compile::Output> change_an_endpoint() {
    const policies::Endpoint before = pick(), after = altered(before);
    const bool comes = before.id.empty(), goes = after.id.empty();
    apply(before, after);
    compile::Changes changes;
    if (!comes || !goes)
      changes.endpoints.push_back(
          {{comes ? nullptr : &before, port_of(before)}, {goes ? nullptr : &after, port_of(after)}});
    return compiler_.change(input_of(scenario_, ports_), changes);
  }

  /// A namespace's labels, a policy, or all of them.
  std::optional<compile::Output> change_what_is_said_of_them() {
    compile::Changes changes;
    auto& namespaces = scenario_.cluster.namespaces;
    auto& policies = scenario_.policies.policies;
    const policies::PolicySet others = make_scenario(random_()).policies;
    const std::uint32_t which = below(3);
    same_cluster_ = which != 0;
    switch (which) {
      case 0:
        if (namespaces.empty()) break;
        changes.relabelled.push_back(namespaces[below(namespaces.size())].name);
        for (auto& one : namespaces)
          if (one.name == changes.relabelled[0]) one.labels = namespaces[below(namespaces.size())].labels;
        break;
      case 1:
        if (policies.empty() || others.policies.empty()) break;
        changes.replaced_policies.push_back(below(policies.size()));
        policies[changes.replaced_policies[0]] = others.policies[below(others.policies.size())];
        policies[changes.replaced_policies[0]].name += std::to_string(++made_);
        break;
      default:
        changes.other_policies = true;
        scenario_.policies = others;
        break;
    }
    return compiler_.change(input_of(scenario_, ports_), changes);
  }

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
    switch (below(6)) {
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
      case 4:
        after.labels["release"] = std::to_string(below(4));
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
  compile::Compiler compiler_, updater_;
  bool same_cluster_ = false;  // over the latest step
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
  EXPECT_GT(told, 3000u);
  EXPECT_GT(anew, 500u);
}

}  // namespace
}  // namespace bulkhead::property
