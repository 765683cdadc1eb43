#include "controlplane/analysis/matrix.h"

#include <gtest/gtest.h>

#include "tests/unit/analysis/every_packet.h"

namespace bulkhead::analysis {
namespace {

using every_packet::Image;

TEST(Matrix, has_everybody_once_and_says_of_every_port_what_packets_say) {
  std::size_t all = 0, some = 0, none = 0;
  for (std::uint64_t seed = 1; seed <= 80; ++seed) {
    const property::Scenario scenario = property::make_scenario(seed);
    if (scenario.cluster.endpoints.size() > 12) continue;
    const Image image = every_packet::compiled(scenario);
    const Space space(image.view, image.view);
    const Matrix matrix = analysis::matrix(space, [](std::uint32_t) { return true; });
    std::vector<std::size_t> actor_of(space.addresses().size(), SIZE_MAX);
    for (std::size_t actor = 0; actor < matrix.actors.size(); ++actor)
      for (const std::uint32_t number : matrix.actors[actor]) {
        EXPECT_EQ(actor_of[number], SIZE_MAX) << "seed " << seed;
        actor_of[number] = actor;
      }
    EXPECT_EQ(std::count(actor_of.begin(), actor_of.end(), SIZE_MAX), 0) << "seed " << seed;

    const auto addresses = every_packet::addresses(space);
    const auto ports = every_packet::ports(space, 25);
    struct Seen {
      std::size_t allowed = 0, asked = 0;
    };
    std::vector<Seen> seen(matrix.cells.size() * ports.size());
    for (const abi::Address& source : addresses)
      for (const abi::Address& destination : addresses) {
        if (source.is_v4() != destination.is_v4()) continue;
        const auto from = image::bind(image.view, source), to = image::bind(image.view, destination);
        if (from.endpoint != 0 && from.endpoint == to.endpoint) continue;
        const std::size_t cell = actor_of[every_packet::class_of(space, source)] * matrix.actors.size() +
                                 actor_of[every_packet::class_of(space, destination)];
        for (std::size_t i = 0; i < ports.size(); ++i) {
          if (ports[i].slot == image::kIcmp || ports[i].slot == image::kIcmpV6) continue;
          Seen& here = seen[cell * ports.size() + i];
          ++here.asked;
          here.allowed += judge(image.view, {source, destination, ports[i].slot, ports[i].first}).allowed();
        }
      }
    for (std::size_t cell = 0; cell < matrix.cells.size(); ++cell)
      for (std::size_t i = 0; i < ports.size(); ++i) {
        const Seen& here = seen[cell * ports.size() + i];
        if (here.asked == 0) continue;
        const bool in_all = every_packet::contains(matrix.cells[cell].all, ports[i].slot, ports[i].first);
        const bool in_some = every_packet::contains(matrix.cells[cell].some, ports[i].slot, ports[i].first);
        EXPECT_EQ(in_all, here.allowed == here.asked) << "seed " << seed << " cell " << cell;
        EXPECT_EQ(in_some, here.allowed != 0 && here.allowed != here.asked)
            << "seed " << seed << " cell " << cell;
        all += in_all, some += in_some, none += !in_all && !in_some;
      }
  }
  EXPECT_GT(all, 1000u);
  EXPECT_GT(some, 10u);
  EXPECT_GT(none, 1000u);
}

}  // namespace
}  // namespace bulkhead::analysis
