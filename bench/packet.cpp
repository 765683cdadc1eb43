// Claim: reading a packet's headers costs a few nanoseconds, whatever mix of packets arrives.
//
//   bench/packet --benchmark_repetitions=9
//
// Every measured burst walks over 4096 different frames, more than a predictor remembers, and items_per_second
// is packets. `plain` is the parser's inline path, the others go through it to the general one.
#include "dataplane/packet/packet.h"

#include <benchmark/benchmark.h>

#include <cstdint>
#include <random>
#include <vector>

#include "tests/unit/packet/frames.h"

namespace {

using namespace bulkhead;
using frames::Bytes;

constexpr std::size_t kFrames = 4096, kBurst = 64, kFrameBytesMax = 256;

enum Mix { kPlainTcp, kPlainMixed, kTagged, kIpv6, kEverything };

Bytes plain(std::mt19937& random, bool tcp) {
  const auto port = [&] { return static_cast<std::uint16_t>(random()); };
  const frames::Ipv4 ip{.protocol = static_cast<std::uint8_t>(tcp ? 6 : 17),
                        .source = 0x0a00'0000u | port(),
                        .destination = 0x0a01'0000u | port()};
  const Bytes payload = frames::filler(tcp ? 6 : 18);
  return frames::ipv4(ip,
                      tcp ? frames::tcp(port(), port(), 16, payload) : frames::udp(port(), port(), payload));
}

Bytes one(std::mt19937& random, Mix mix) {
  const bool tcp = mix == kPlainTcp || random() % 2 == 0;
  const frames::Ipv6 v6{.next = static_cast<std::uint8_t>(tcp ? 6 : 17)};
  const Bytes transport = tcp ? frames::tcp(1, 2, 16, {}) : frames::udp(1, 2, Bytes(12));
  const unsigned kind = mix == kEverything ? random() % 6 : 0;
  if (mix == kTagged) return frames::ethernet(0x0800, plain(random, tcp), {.vlan = 5});
  if (mix == kIpv6 || kind == 1) return frames::ethernet(0x86dd, frames::ipv6(v6, transport));
  if (kind == 2)
    return frames::ethernet(0x0800, frames::ipv4({.protocol = 1}, frames::icmp(8, 0, 7, Bytes(56))));
  if (kind == 3) return frames::ethernet(0x0800, frames::ipv4({.fragment = 0x2010}, frames::filler(64)));
  if (kind == 4)
    return frames::ethernet(
        0x86dd, frames::ipv6({.next = 0}, frames::join({{17, 0, 5, 2, 0, 0, 1, 0}, frames::udp(1, 2, {})})));
  return frames::ethernet(0x0800, plain(random, tcp));
}

void parse_burst(benchmark::State& state, Mix mix) {
  std::mt19937 random(1);
  std::vector<std::uint8_t> memory(kFrames * kFrameBytesMax);
  std::vector<std::uint32_t> bytes;
  for (std::size_t i = 0; i < kFrames; ++i) {
    const Bytes frame = one(random, mix);
    std::copy(frame.begin(), frame.end(), memory.begin() + static_cast<std::ptrdiff_t>(i * kFrameBytesMax));
    bytes.push_back(static_cast<std::uint32_t>(frame.size()));
  }
  std::vector<packet::Parsed> parsed(kBurst);
  const std::uint16_t vlan = mix == kTagged ? 5 : 0;
  std::size_t at = 0, dropped = 0;
  for (auto _ : state) {
    for (std::size_t i = 0; i < kBurst; ++i, at = (at + 1) % kFrames)
      packet::parse(memory.data() + at * kFrameBytesMax, bytes[at], bytes[at], vlan, parsed[i]);
    benchmark::DoNotOptimize(parsed.data());
    benchmark::ClobberMemory();
    dropped += parsed[0].kind == packet::Kind::kDrop ? 1u : 0u;
  }
  if (dropped != 0) state.SkipWithError("a frame of the mix was dropped");
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations() * kBurst));
}

BENCHMARK_CAPTURE(parse_burst, plain_tcp, kPlainTcp);
BENCHMARK_CAPTURE(parse_burst, plain_tcp_and_udp, kPlainMixed);
BENCHMARK_CAPTURE(parse_burst, tagged, kTagged);
BENCHMARK_CAPTURE(parse_burst, ipv6, kIpv6);
BENCHMARK_CAPTURE(parse_burst, everything, kEverything);

}  // namespace

BENCHMARK_MAIN();
