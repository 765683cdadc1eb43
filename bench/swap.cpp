// Claim: 1,000 images a second for 10 s under full load lose no packet, and no packet is judged by half of one and half of another.
//
//   bench/swap [--rate 1000] [--seconds 10] [--endpoints 100] [-o json]
//
// Four ports send 64-byte UDP as fast as the worker takes it (pcap devices that repeat 64 packets for ever). Ports 1 and 2 hold
// conversations that both images allow. Ports 3 and 4 are marked: one image allows them to send and not to receive, the other to
// receive and not to send. Whole images deny them, always; a marked packet that is forwarded was judged by parts of two. They
// have no flows, so every one of their packets asks the image. --endpoints adds others, with a policy each, for images of
// a realistic size.
//
// Counted exactly, from telemetry: lost is what ports 1 and 2 received and did not forward while images were swapped, mixed is
// what ports 3 and 4 forwarded, and after the ports have gone every packet received must have met one fate. swap_us is the time from the
// publication of an image until no worker could use the one before. Exit code 1 if anything was lost or mixed. Needs root.
#include <algorithm>
#include <array>
#include <boost/program_options.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "bench/dataplane.h"
#include "controlplane/compile/compile.h"
#include "controlplane/publish/publisher.h"

namespace bulkhead::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr std::uint32_t kPorts = 4;  // 1, 2: allowed; 3, 4: marked
constexpr std::uint32_t kFlows = 64;
constexpr std::uint32_t kFrameBytes = 64;
constexpr std::uint32_t kAddress = 0x0a09'0000;  // 10.9.0.<port>
constexpr std::uint32_t kOthers = 0x0a0a'0000;   // 10.10.x.y

std::uint32_t partner(std::uint32_t port) {
  return ((port - 1) ^ 1) + 1;
}

// -- images -------------------------------------------------------------------------------------------------------------

policies::EndpointSelector app(const std::string& name) {
  return {"shop", {}, {{{"app", policies::Operator::kIn, {name}}}}};
}

/// Whom `subject` may talk to in one direction: its own kind, on every port.
policies::Policy one_sided(const std::string& subject, policies::Direction direction) {
  policies::Policy policy;
  policy.kind = "NetworkPolicy";
  policy.namespace_name = "shop";
  policy.name = subject + (direction == policies::Direction::kIngress ? "-in" : "-out");
  policies::Rule rule{"rule-0", policies::Action::kAllow, {app(subject)}, true, {}, {}};
  policy.clauses.push_back({direction, app(subject), true, {rule}});
  return policy;
}

struct Image {
  std::vector<publish::OfferedSection> sections;  // their descriptors live as long as this process
  std::size_t bytes = 0;
};

/// The image that allows marked traffic in `half` only.
Image make_image(policies::Direction half, std::uint32_t others) {
  policies::Cluster cluster;
  policies::PolicySet set;
  std::vector<compile::LocalPort> ports;
  cluster.namespaces.push_back({"shop", {}});
  const auto add = [&](const std::string& name, const std::string& kind, std::uint32_t address) {
    policies::Endpoint endpoint;
    endpoint.id = endpoint.name = name;
    endpoint.namespace_name = "shop";
    endpoint.labels = {{"app", kind}};
    endpoint.addresses = {abi::address_v4(address).bytes};
    cluster.endpoints.push_back(endpoint);
  };
  for (std::uint32_t port = 1; port <= kPorts; ++port) {
    add("port-" + std::to_string(port), port <= 2 ? "allowed" : "marked", kAddress + port);
    ports.push_back({"port-" + std::to_string(port), port, port});
  }
  for (const auto direction : {policies::Direction::kIngress, policies::Direction::kEgress})
    set.policies.push_back(one_sided("allowed", direction));
  set.policies.push_back(one_sided("marked", half));
  for (std::uint32_t i = 0; i < others; ++i) {
    const std::string name = "other-" + std::to_string(i);
    add(name, name, kOthers + i);
    set.policies.push_back(one_sided(name, policies::Direction::kIngress));
  }
  auto compiled = compile::compile({.cluster = cluster, .policies = set, .ports = ports});
  if (const auto* refusal = std::get_if<compile::Refusal>(&compiled)) throw Failure(refusal->reason);
  const auto& output = std::get<compile::Output>(compiled);
  Image image{{}, output.image.bytes()};
  const auto add_section = [&](const image::SectionBytes& bytes) {
    image.sections.push_back({image::digest_of(*bytes), publish::sealed_memfd("section", *bytes).release()});
  };
  add_section(output.image.policy);
  for (const image::SectionBytes& shard : output.image.shards) add_section(shard);
  return image;
}

// -- packets ------------------------------------------------------------------------------------------------------------

void store16(std::uint8_t* at, std::uint32_t value) {
  at[0] = static_cast<std::uint8_t>(value >> 8);
  at[1] = static_cast<std::uint8_t>(value);
}

void store32(std::uint8_t* at, std::uint32_t value) {
  store16(at, value >> 16);
  store16(at + 2, value);
}

/// Datagram number `flow` of the conversations between a port and its partner; the odd port asks, the even one answers.
std::array<std::uint8_t, kFrameBytes> frame(std::uint32_t port, std::uint32_t flow) {
  std::array<std::uint8_t, kFrameBytes> made{};
  constexpr std::uint8_t kGateway[6] = {0x02, 0xb1, 0xcb, 0xea, 0xd0, 0x01};
  const abi::Mac own = mac_of(port);
  std::copy(std::begin(kGateway), std::end(kGateway), made.begin());
  std::copy(own.bytes.begin(), own.bytes.end(), made.begin() + 6);
  store16(&made[12], 0x0800);
  std::uint8_t* ip = &made[14];
  ip[0] = 0x45;
  store16(ip + 2, kFrameBytes - 14);
  store16(ip + 6, 0x4000);
  ip[8] = 64;
  ip[9] = 17;
  store32(ip + 12, kAddress + port);
  store32(ip + 16, kAddress + partner(port));
  std::uint32_t sum = 0;
  for (int i = 0; i < 20; i += 2) sum += static_cast<std::uint32_t>(ip[i] << 8 | ip[i + 1]);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  store16(ip + 10, ~sum);
  const bool asks = port % 2 == 1;
  store16(ip + 20, asks ? 1024 + flow : 9);
  store16(ip + 22, asks ? 9 : 1024 + flow);
  store16(ip + 24, kFrameBytes - 34);
  return made;
}

/// A capture file (pcap, version 2.4) with one packet of each flow.
void write_packets(const std::string& path, std::uint32_t port) {
  std::ofstream out(path, std::ios::binary);
  const auto word = [&](std::uint32_t value) {
    out.write(reinterpret_cast<const char*>(&value), sizeof value);
  };
  for (const std::uint32_t value : {0xa1b2'c3d4u, 0x0004'0002u, 0u, 0u, 65'535u, 1u}) word(value);
  for (std::uint32_t flow = 0; flow < kFlows; ++flow) {
    for (const std::uint32_t value : {0u, 0u, kFrameBytes, kFrameBytes}) word(value);
    const auto bytes = frame(port, flow);
    out.write(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  if (!out.flush()) throw Failure("cannot write " + path);
}

// -- the run ------------------------------------------------------------------------------------------------------------

volatile std::sig_atomic_t interrupted = 0;

/// What became of the packets of the two ports from `first` on.
struct Tally {
  std::uint64_t received = 0, forwarded = 0, others = 0;
};

Tally tally(const Dataplane& dataplane, std::uint32_t first) {
  Tally sum;
  for (std::uint32_t port = first; port < first + 2; ++port) {
    const abi::PortCounters& counters = dataplane.block().ports[port];
    sum.received += load(counters.rx_packets);
    for (std::size_t fate = 0; fate < abi::kFateCount; ++fate)
      (fate == 0 ? sum.forwarded : sum.others) += load(counters.fates[fate]);
  }
  return sum;
}

struct Options {
  std::uint32_t rate = 1000;
  double seconds = 10;
  std::uint32_t endpoints = 100;
  bool json = false;
};

struct Outcome {
  std::uint64_t swaps = 0, lost = 0, mixed = 0, unaccounted = 0;
  std::uint64_t allowed_packets = 0, marked_packets = 0;
  std::size_t image_bytes = 0;
  double seconds = 0;
  std::vector<std::uint64_t> swap_ns, request_ns;
};

std::uint64_t quantile(std::vector<std::uint64_t> values, double q) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1))];
}

Outcome measure(const Options& options) {
  Outcome outcome;
  const std::array<Image, 2> images = {make_image(policies::Direction::kEgress, options.endpoints),
                                       make_image(policies::Direction::kIngress, options.endpoints)};
  outcome.image_bytes = images[0].bytes;
  Dataplane dataplane({"--cpus", "1", "--flows", "65536"});
  publish::Channel& channel = dataplane.channel();
  std::uint64_t generation = 1;
  channel.swap(generation, images[1].sections);
  for (std::uint32_t port = 1; port <= kPorts; ++port) {
    const std::string file = dataplane.directory() + "/" + std::to_string(port) + ".pcap";
    write_packets(file, port);
    dataplane.attach_ethdev(port,
                            "net_pcap" + std::to_string(port - 1) + ",rx_pcap=" + file + ",infinite_rx=1");
  }
  std::this_thread::sleep_for(Seconds(0.5));  // every flow exists, every way out is there

  const Tally allowed = tally(dataplane, 1), marked = tally(dataplane, 3);
  if (allowed.forwarded == 0) throw Failure("the allowed ports forward nothing, see " + dataplane.log());
  if (marked.received == 0) throw Failure("the marked ports receive nothing, see " + dataplane.log());
  const auto total = static_cast<std::uint64_t>(options.seconds * options.rate);
  const auto begin = Clock::now();
  const auto deadline = begin + std::chrono::duration_cast<Clock::duration>(Seconds(options.seconds));
  for (std::uint64_t i = 0; i < total && interrupted == 0 && Clock::now() < deadline; ++i) {
    std::this_thread::sleep_until(begin + std::chrono::nanoseconds(i * 1'000'000'000 / options.rate));
    const Image& image = images[i % 2];
    const auto asked = Clock::now();
    const abi::SwapReply reply = channel.swap(++generation, image.sections);
    outcome.request_ns.push_back(static_cast<std::uint64_t>((Clock::now() - asked).count()));
    outcome.swap_ns.push_back(reply.swap_ns);
  }
  outcome.seconds = Seconds(Clock::now() - begin).count();
  outcome.swaps = outcome.swap_ns.size();
  const Tally allowed_after = tally(dataplane, 1);
  // Ports that are gone receive nothing more, so that their counters agree. Marked ones first: the allowed ones lose their
  // way out, which is no concern of the swaps.
  for (std::uint32_t port = kPorts; port >= 1; --port) channel.detach(port, false);
  const Tally allowed_end = tally(dataplane, 1), marked_end = tally(dataplane, 3);

  outcome.lost = allowed_after.others - allowed.others;
  outcome.mixed = marked_end.forwarded;
  outcome.allowed_packets = allowed_after.received - allowed.received;
  outcome.marked_packets = marked_end.received;
  for (const Tally& end : {allowed_end, marked_end})
    outcome.unaccounted += end.received - (end.forwarded + end.others);
  return outcome;
}

void print(const Options& options, const Outcome& outcome) {
  const double rate = static_cast<double>(outcome.swaps) / outcome.seconds;
  const auto us = [](std::uint64_t ns) { return static_cast<double>(ns) / 1000; };
  if (options.json) {
    std::cout << nlohmann::json{
                     {"bench", "swap"},
                     {"swaps", outcome.swaps},
                     {"swaps_per_second", rate},
                     {"image_bytes", outcome.image_bytes},
                     {"allowed_packets", outcome.allowed_packets},
                     {"marked_packets", outcome.marked_packets},
                     {"lost", outcome.lost},
                     {"mixed", outcome.mixed},
                     {"unaccounted", outcome.unaccounted},
                     {"swap_us", {{"p50", us(quantile(outcome.swap_ns, 0.5))},
                                  {"p99", us(quantile(outcome.swap_ns, 0.99))},
                                  {"max", us(quantile(outcome.swap_ns, 1))}}},
                     {"request_us", {{"p50", us(quantile(outcome.request_ns, 0.5))},
                                     {"p99", us(quantile(outcome.request_ns, 0.99))},
                                     {"max", us(quantile(outcome.request_ns, 1))}}},
                 }.dump(2)
              << "\n";
    return;
  }
  std::printf("%-28s %14llu   %.0f a second, images of %.0f KB\n", "images swapped",
              static_cast<unsigned long long>(outcome.swaps), rate,
              static_cast<double>(outcome.image_bytes) / 1000);
  const auto row = [](const char* what, std::uint64_t count, std::uint64_t of) {
    std::printf("%-28s %14llu   of %llu\n", what, static_cast<unsigned long long>(count),
                static_cast<unsigned long long>(of));
  };
  row("packets lost", outcome.lost, outcome.allowed_packets);
  row("packets judged by halves", outcome.mixed, outcome.marked_packets);
  row("packets without a fate", outcome.unaccounted, outcome.allowed_packets + outcome.marked_packets);
  std::printf("%-28s %14s %14s %14s\n", "", "p50", "p99", "max");
  for (const auto& [what, times] : {std::pair{"old image in use, us", &outcome.swap_ns},
                                    std::pair{"request until answer, us", &outcome.request_ns}})
    std::printf("%-28s %14.1f %14.1f %14.1f\n", what, us(quantile(*times, 0.5)), us(quantile(*times, 0.99)),
                us(quantile(*times, 1)));
}

}  // namespace

int run(int argc, char** argv) {
  namespace po = boost::program_options;
  Options options;
  std::string output = "table";
  po::options_description known("bench/swap");
  known.add_options()("help,h", "this text")("rate", po::value(&options.rate)->default_value(options.rate),
                                             "images a second")(
      "seconds", po::value(&options.seconds)->default_value(options.seconds))(
      "endpoints", po::value(&options.endpoints)->default_value(options.endpoints),
      "others in the image, with a policy each")("output,o", po::value(&output)->default_value(output),
                                                 "table or json");
  po::variables_map values;
  try {
    po::store(po::parse_command_line(argc, argv, known), values);
    po::notify(values);
  } catch (const po::error& error) {
    std::cerr << "bench/swap: " << error.what() << "\n";
    return 2;
  }
  if (values.count("help") != 0) {
    std::cout << known;
    return 0;
  }
  if (options.rate == 0 || options.seconds <= 0 || (output != "table" && output != "json")) {
    std::cerr << "bench/swap: expected a rate and seconds above 0, and -o table or json\n";
    return 2;
  }
  options.json = output == "json";
  // An interrupt ends the swapping early; what was measured until then is shown.
  for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, [](int) { interrupted = 1; });
  try {
    const Outcome outcome = measure(options);
    print(options, outcome);
    return outcome.lost + outcome.mixed + outcome.unaccounted == 0 ? 0 : 1;
  } catch (const std::exception& error) {
    std::cerr << "bench/swap: " << error.what() << "\n";
    return 2;
  }
}

}  // namespace bulkhead::bench

int main(int argc, char** argv) {
  return bulkhead::bench::run(argc, argv);
}
