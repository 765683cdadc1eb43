#include "controlplane/analysis/prove.h"

#include <gtest/gtest.h>

#include "tests/unit/analysis/every_packet.h"

namespace bulkhead::analysis {
namespace {

using every_packet::Image;

bool in(const End& end, const Space& space, const abi::Address& address) {
  return std::any_of(end.begin(), end.end(),
                     [&](const AddressClass& part) { return every_packet::contains(part, space, address); });
}

/// Whether a packet between members of both ends shows that the claim is wrong.
bool refuted_by_some_packet(const Space& space, const Claim& claim,
                            const std::vector<abi::Address>& addresses, const std::vector<PortRange>& ports) {
  for (const abi::Address& source : addresses) {
    if (!in(claim.from, space, source)) continue;
    for (const abi::Address& destination : addresses) {
      if (source.is_v4() != destination.is_v4() || !in(claim.to, space, destination)) continue;
      const auto from = image::bind(space.view(kAfter), source),
                 to = image::bind(space.view(kAfter), destination);
      if (from.endpoint != 0 && from.endpoint == to.endpoint) continue;
      for (const PortRange& port : ports) {
        if (!every_packet::contains(claim.ports, port.slot, port.first)) continue;
        if (claim.allow && port.slot == (source.is_v4() ? image::kIcmpV6 : image::kIcmp)) continue;
        if (judge(space.view(kAfter), {source, destination, port.slot, port.first}).allowed() != claim.allow)
          return true;
      }
    }
  }
  return false;
}

TEST(Prove, agrees_with_every_packet_and_refutes_with_one_of_the_claim) {
  std::size_t proven = 0, refuted = 0;
  for (std::uint64_t seed = 1; seed <= 120; ++seed) {
    const property::Scenario scenario = property::make_scenario(seed);
    if (scenario.cluster.endpoints.size() > 12) continue;
    const Image image = every_packet::compiled(scenario);
    const Space space(image.view, image.view);
    const auto addresses = every_packet::addresses(space);
    const auto ports = every_packet::ports(space, 40);
    const std::uint32_t number = 1 + static_cast<std::uint32_t>(seed % 3);
    const Block block{abi::address_v4(0x0a00'0100), static_cast<std::uint8_t>(96 + 20 + seed % 9), {}};
    const End ends[] = {everybody(space), world(space), within(space, block),
                        endpoints(space, [&](std::uint32_t each) { return each == number; })};
    for (const End& from : ends)
      for (const End& to : ends)
        for (const bool allow : {false, true}) {
          Claim claim{from, to, {{image::kTcp, 0, 65535}}, allow};
          if (seed % 2 == 0)
            claim.ports = {{image::kTcp, 80, 443}, {image::kUdp, 53, 53}, {image::kIcmpV6, 0, 255}};
          std::size_t pairs = 0;
          const auto refutation = refute(space, claim, pairs);
          // Sampled ports may miss what a class shows; a refutation itself is asked.
          if (!refutation) {
            ++proven;
            EXPECT_FALSE(refuted_by_some_packet(space, claim, addresses, ports)) << "seed " << seed;
            continue;
          }
          ++refuted;
          const Packet& packet = refutation->packet;
          EXPECT_NE(judge(image.view, packet).allowed(), allow) << "seed " << seed;
          EXPECT_TRUE(in(from, space, packet.source) && in(to, space, packet.destination)) << "seed " << seed;
          EXPECT_TRUE(every_packet::contains(claim.ports, packet.slot, packet.port)) << "seed " << seed;
        }
  }
  EXPECT_GT(proven, 100u);
  EXPECT_GT(refuted, 100u);
}

TEST(Prove, of_one_endpoint_with_itself_asks_no_packet) {
  const Image image = every_packet::build(image::sample::make_tables());
  const Space space(image.view, image.view);
  const auto one = [&](std::uint32_t each) { return each == 1; };
  std::size_t pairs = 7;
  const Claim claim{endpoints(space, one), endpoints(space, one), {{image::kTcp, 0, 65535}}, false};
  EXPECT_FALSE(refute(space, claim, pairs));
  EXPECT_EQ(pairs, 0u);
}

}  // namespace
}  // namespace bulkhead::analysis
