// A small node for tests of the whole path: real workers on threads of their own, ports over rings that the test
// holds the other ends of, an image built by hand, and the bookkeeping that no packet may escape.
//
//   port 1 web 10.0.0.1 fd00::1     port 2 api 10.0.0.2 fd00::2     port 3 db 10.0.0.3 fd00::3
//   the node 10.0.9.9 (host port 4), gateways 10.0.0.254 and fd00::fe, the outside by port 5 where a test attaches it
#pragma once

#include <gtest/gtest.h>
#include <rte_cycles.h>
#include <rte_eth_ring.h>
#include <rte_ring.h>

#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "dataplane/image/builder.h"
#include "dataplane/port/table.h"
#include "dataplane/telemetry/region.h"
#include "dataplane/worker/worker.h"
#include "tests/unit/flow/room.h"
#include "tests/unit/packet/frames.h"

namespace bulkhead::worker {

using frames::Bytes;

inline constexpr std::uint32_t kWeb = 1, kApi = 2, kDb = 3, kHost = 4, kOutside = 5;
inline constexpr abi::Mac kOwn{{0x02, 0xb1, 0xcb, 0xea, 0xd0, 0x01}};
inline constexpr std::uint32_t kGateway4 = 0x0a00'00fe, kNode4 = 0x0a00'0909;

inline std::uint32_t ip4(std::uint32_t who) {
  return who == kHost ? kNode4 : 0x0a00'0000 + who;
}
inline abi::Address ip6(std::uint32_t who) {
  abi::Address address{{0xfd}};
  address.bytes[15] = static_cast<std::uint8_t>(who);
  return address;
}
inline abi::Mac mac(std::uint32_t who) {
  return {{0x02, 0, 0, 0, 0x99, static_cast<std::uint8_t>(who)}};
}

/// What the receiver says to a sender: rule sets of the image. Port 80 of TCP and 53 of UDP are what kSome allows.
enum Says : std::uint32_t { kNothing, kAll, kSome, kNo };
using Policy = std::array<std::array<Says, 6>, 4>;  // [receiver][sender]; sender 5: the outside

inline Policy everybody(Says says) {
  Policy policy;
  for (auto& row : policy) row.fill(says);
  return policy;
}

/// Rule sets that answer as one of the four and are audited as another: set 4 + 4 * enforced + audited.
inline void add_audit(image::PolicyTables& p, Policy& enforced, const Policy& audited) {
  p.audited = p.verdicts;
  p.audited_of.assign(4, 0);
  for (std::uint32_t set = 0; set < 16; ++set) {
    p.verdicts.insert(p.verdicts.end(), {p.audited[set / 4 * 2], p.audited[set / 4 * 2 + 1]});
    p.audited_of.push_back(set % 4 + 1);
  }
  p.rule_sets = 20;
  for (std::size_t receiver = 0; receiver < enforced.size(); ++receiver)
    for (std::size_t sender = 0; sender < enforced[receiver].size(); ++sender)
      enforced[receiver][sender] =
          static_cast<Says>(4 + 4 * enforced[receiver][sender] + audited[receiver][sender]);
}

inline std::unique_ptr<swap::Enforced> make_image(Policy policy, std::uint64_t generation,
                                                  bool db_is_isolated = false, std::uint8_t options = 0,
                                                  std::uint64_t api_key = 100 + kApi,
                                                  const Policy* audited = nullptr) {
  using namespace image;
  PolicyTables p;
  p.port_classes = 2;
  for (std::uint32_t slot = 0; slot < kProtocolSlots; ++slot)
    for (std::uint32_t page = 0; page < 256; ++page)
      p.page_of.push_back(static_cast<std::uint16_t>(page != 0      ? 0
                                                     : slot == kTcp ? 1
                                                     : slot == kUdp ? 2
                                                                    : 0));
  p.pages.assign(3 * kPageEntries, 0);
  p.pages[kPageEntries + 80] = p.pages[2 * kPageEntries + 53] = 1;
  p.rule_sets = 4;
  p.verdicts = {0, 0, kAllowBit | 1, kAllowBit | 1, 0, kAllowBit | 1, 2, 2};
  if (audited != nullptr) add_audit(p, policy, *audited);
  p.policies.resize(2);
  p.policies[1].options = options;
  p.rules.resize(3);
  for (std::uint32_t rule : {1u, 2u}) {
    p.rules[rule].policy = 1;
    p.rules[rule].verdict = rule == 1 ? Verdict::kAllow : Verdict::kDeny;
  }
  p.isolating = {1};
  p.governing = {1, 2};
  for (std::uint32_t direction = 0; direction < kDirections; ++direction) {
    p.subject_classes[direction] = 4;
    p.peer_classes[direction] = 6;
    for (std::uint32_t subject = 0; subject < 4; ++subject) {
      for (std::uint32_t peer = 0; peer < 6; ++peer)
        p.matrix[direction].push_back(direction == kEgress ? kAll : policy[subject][peer]);
      p.subjects[direction].push_back({0, subject == kDb && db_is_isolated ? 1u : 0u, 0, 2, Verdict::kDeny,
                                       subject == kDb && db_is_isolated ? options : std::uint8_t{0}});
    }
  }

  p.gateway_v4 = abi::address_v4(kGateway4);
  p.gateway_v6 = ip6(0xfe);
  for (std::uint32_t who : {kWeb, kApi, kDb})
    p.profiles.push_back({who, who, {who, who}, {who, who}, kRecordEndpoint});
  p.profiles.push_back({kHost, 0, {kNoSubject, kNoSubject}, {4, 4}, kRecordNode});
  p.worlds = {{0, 0, {kNoSubject, kNoSubject}, {5, 5}, kRecordWorld}};

  std::vector<abi::Address> addresses[kHost + 1];
  ShardTables shard;
  shard.endpoint_table = 8;
  for (std::uint32_t who : {kWeb, kApi, kDb, kHost}) {
    addresses[who] = {abi::address_v4(ip4(who))};
    if (who != kHost) addresses[who].push_back(ip6(who));
    for (const abi::Address& address : addresses[who]) shard.bound.push_back({address, who, who});
  }
  const std::string names[] = {"", "e1", "e2", "e3", "node"}, ids[] = {"", "id1", "id2", "id3", "node"};
  for (std::uint32_t who : {kWeb, kApi, kDb})
    shard.endpoints.push_back({"shop", names[who], ids[who], who == kApi ? api_key : 100 + who, who,
                               kEndpointLocal, addresses[who], who});
  shard.endpoints.push_back({"", names[kHost], ids[kHost], 0, 0, kEndpointNode, addresses[kHost], kHost});

  std::vector<swap::SharedSection> sections;
  for (const auto& bytes : {std::get<0>(build_policy(p)), std::get<0>(build_shard(shard))})
    sections.push_back(std::get<0>(swap::check(std::move(std::get<0>(swap::Section::copy(bytes))))));
  image::ImageDigests digests;
  auto loaded = swap::load(std::move(sections), generation, digests);
  if (const auto* wrong = std::get_if<1>(&loaded)) throw std::runtime_error(*wrong);
  return std::move(std::get<0>(loaded));
}

/// Packet memory of the whole test process.
inline port::Pools pools() {
  static const port::Pools made{
      rte_pktmbuf_pool_create("small", 4095, 0, 0, RTE_PKTMBUF_HEADROOM + 2048, SOCKET_ID_ANY),
      rte_pktmbuf_pool_create("large", 127, 0, 0, 65535, SOCKET_ID_ANY)};
  return made;
}

class Village : public testing::Test {
 protected:
  explicit Village(std::uint32_t workers = 1)
      : telemetry_(std::get<0>(telemetry::Region::create(workers))),
        room_(4096),
        flows_(room_.bytes(), {4096, workers, {1, 2, 3, 4}, {}, 1000}, take_up_),
        publisher_(workers) {
    const Environment environment{publisher_, ports_, flows_, telemetry_, pools(), {}, -1};
    for (std::uint32_t i = 0; i < workers; ++i) workers_.push_back(std::make_unique<Worker>(environment, i));
    for (auto& worker : workers_) threads_.emplace_back([&worker] { worker->run(); });
  }

  void attach(std::uint32_t number, std::uint32_t mtu = 1500, std::uint64_t key = 0,
              const std::function<void(abi::Attach&)>& change = {}) {
    const std::string name = "v" + std::to_string(number);
    Ends& ends = ends_[number];
    ends.in = rte_ring_create((name + "in").c_str(), 2048, SOCKET_ID_ANY, 0);
    ends.out = rte_ring_create((name + "out").c_str(), 2048, SOCKET_ID_ANY, 0);
    ASSERT_TRUE(ends.in != nullptr && ends.out != nullptr);
    ASSERT_GE(rte_eth_from_rings(name.c_str(), &ends.in, 1, &ends.out, 1, 0), 0);
    abi::Attach request{};
    request.port = number;
    request.kind = abi::PortKind::kEthdev;
    request.role = number == kHost      ? abi::kRoleHost
                   : number == kOutside ? abi::kRoleUplink
                                        : abi::kRoleEndpoint;
    request.mtu = mtu;
    request.port_key = key != 0 ? key : request.role == abi::kRoleEndpoint ? 100 + number : 0;
    request.mac = mac(number);
    std::snprintf(request.device, sizeof request.device, "net_ring_%s", name.c_str());
    if (change) change(request);
    auto opened = port::Port::open(request, -1, static_cast<std::uint32_t>(workers_.size()), pools());
    ASSERT_EQ(opened.index(), 0u) << std::get<1>(opened);
    auto port = std::move(std::get<0>(opened));
    port->worker = number % static_cast<std::uint32_t>(workers_.size());
    port::Port& attached = *port;
    ports_.put(std::move(port));
    if (publisher_.enforced() != nullptr) open_ports(*publisher_.enforced());
    workers_[attached.worker]->add(attached);
  }

  void detach(std::uint32_t number) {
    if (publisher_.enforced() != nullptr) publisher_.enforced()->endpoint_of_port[number] = 0;
    auto port = ports_.take(number);
    workers_[port->worker]->remove(*port);
    publisher_.synchronize();
    port.reset();
    drain(number);
    rte_ring_free(ends_[number].in);
    rte_ring_free(ends_[number].out);
    ends_[number] = {};
  }

  void publish(const Policy& policy, bool db_is_isolated = false, std::uint8_t options = 0,
               std::uint64_t api_key = 100 + kApi) {
    auto next = make_image(policy, ++generation_, db_is_isolated, options, api_key);
    open_ports(*next);
    publisher_.publish(std::move(next));
  }

  void publish_audited(const Policy& policy, const Policy& audited) {
    auto next = make_image(policy, ++generation_, false, 0, 100 + kApi, &audited);
    open_ports(*next);
    publisher_.publish(std::move(next));
  }

  /// A packet as a port hands it to a worker.
  static rte_mbuf* packet(const Bytes& frame) {
    port::Landing landing(pools());
    EXPECT_TRUE(landing.ready());
    const std::size_t room = rte_pktmbuf_tailroom(landing.small());
    for (std::size_t i = 0; i < frame.size(); ++i)
      (i < room ? rte_pktmbuf_mtod_offset(landing.small(), std::uint8_t*, i)
                : rte_pktmbuf_mtod_offset(landing.large(), std::uint8_t*, i - room))[0] = frame[i];
    return landing.take(static_cast<std::uint32_t>(frame.size()));
  }

  /// In by this port, all in one burst if it is not too long; returns when their fates are decided.
  void send_packets(std::uint32_t number, std::vector<rte_mbuf*> packets) {
    sent_[number] += packets.size();
    ASSERT_EQ(rte_ring_enqueue_bulk(ends_[number].in, reinterpret_cast<void**>(packets.data()),
                                    static_cast<unsigned>(packets.size()), nullptr),
              packets.size());
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (counted(number) < sent_[number]) {
      ASSERT_LT(std::chrono::steady_clock::now(), end) << "packets were not taken from port " << number;
      std::this_thread::yield();
    }
    publisher_.synchronize();
  }
  void send(std::uint32_t number, const Bytes& frame) { send_packets(number, {packet(frame)}); }

  /// What left by this port since the last time.
  std::vector<Bytes> left_by(std::uint32_t number) {
    std::vector<Bytes> all;
    void* object;
    while (rte_ring_dequeue(ends_[number].out, &object) == 0) {
      auto* packet = static_cast<rte_mbuf*>(object);
      Bytes bytes;
      for (rte_mbuf* part = packet; part != nullptr; part = part->next) {
        const auto* first = rte_pktmbuf_mtod(part, const std::uint8_t*);
        bytes.insert(bytes.end(), first, first + part->data_len);
      }
      EXPECT_EQ(bytes.size(), packet->pkt_len);
      EXPECT_EQ(packet->ol_flags & (RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG),
                0u)
          << "an unfinished packet left by a port that finishes nothing";
      rte_pktmbuf_free(packet);
      all.push_back(std::move(bytes));
    }
    return all;
  }

  std::uint64_t fate(std::uint32_t number, abi::Fate fate) {
    std::uint64_t sum = 0;
    for (std::uint32_t i = 0; i < workers_.size(); ++i)
      sum += __atomic_load_n(&telemetry_.block(i).ports[number].fates[static_cast<std::size_t>(fate)],
                             __ATOMIC_RELAXED);
    return sum;
  }
  std::uint64_t counted(std::uint32_t number) {
    std::uint64_t sum = 0;
    for (std::uint32_t i = 0; i < workers_.size(); ++i)
      sum += __atomic_load_n(&telemetry_.block(i).ports[number].rx_packets, __ATOMIC_RELAXED);
    return sum;
  }
  std::uint64_t flows_ended() { return telemetry_.block(0).flows_ended; }
  const abi::WorkerBlock& block() { return telemetry_.block(0); }

  /// Stops the workers, then holds the books to what every test must leave behind.
  void TearDown() override {
    publisher_.synchronize();
    for (std::uint32_t number = 1; number < 6; ++number) {
      std::uint64_t fates = 0;
      for (std::size_t i = 0; i < abi::kFateCount; ++i)
        if (static_cast<abi::Fate>(i) != abi::Fate::kHeldFragment)
          fates += fate(number, static_cast<abi::Fate>(i));
      EXPECT_EQ(fates + still_held_[number], sent_[number]) << "fates of port " << number;
      EXPECT_EQ(counted(number), sent_[number]);
    }
    for (auto& worker : workers_) worker->stop();
    for (auto& thread : threads_) thread.join();
    for (std::uint32_t number = 1; number < 6; ++number)
      if (ports_.at(number) != nullptr) detach(number);
    workers_.clear();
    EXPECT_EQ(rte_mempool_avail_count(pools().small), 4095u) << "packets leaked";
    EXPECT_EQ(rte_mempool_avail_count(pools().large), 127u) << "large segments leaked";
  }

  std::uint64_t still_held_[6] = {};  // fragments that a test leaves waiting, by port
  std::uint64_t generation_ = 0;

 private:
  struct Ends {
    rte_ring* in = nullptr;
    rte_ring* out = nullptr;
  };

  void open_ports(swap::Enforced& enforced) {
    enforced.view.for_each_local([&](std::uint32_t number) {
      const image::Endpoint& endpoint = enforced.view.endpoint(number);
      const port::Port* port = endpoint.port != 0 ? ports_.at(endpoint.port) : nullptr;
      if (port != nullptr && port->request().port_key == endpoint.port_key)
        enforced.endpoint_of_port[endpoint.port] = number;
    });
  }
  void drain(std::uint32_t number) {
    for (rte_ring* ring : {ends_[number].in, ends_[number].out})
      for (void* object; rte_ring_dequeue(ring, &object) == 0;)
        rte_pktmbuf_free(static_cast<rte_mbuf*>(object));
  }

  telemetry::Region telemetry_;
  flow::Room room_;
  flow::TakeUp take_up_;

 protected:
  flow::Table flows_;
  swap::Publisher publisher_;
  port::Table ports_;

 private:
  Ends ends_[6];
  std::uint64_t sent_[6] = {};
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<std::thread> threads_;
};

// Frames of the village.

inline frames::Ethernet from(std::uint32_t who) {
  return {kOwn, mac(who), -1};
}
inline Bytes v4(std::uint32_t who, std::uint32_t to, std::uint8_t protocol, const Bytes& transport,
                std::uint8_t ttl = 64, std::uint16_t fragment = 0) {
  frames::Ipv4 fields;
  fields.protocol = protocol;
  fields.source = ip4(who);
  fields.destination = to < 256 ? ip4(to) : to;
  fields.ttl = ttl;
  fields.fragment = fragment;
  Bytes packet = frames::ipv4(fields, transport);
  if ((fragment & 0x3fff) == 0) packet = frames::sealed(packet);
  return frames::ethernet(0x0800, packet, from(who));
}
inline Bytes v6(std::uint32_t who, std::uint32_t to, std::uint8_t protocol, const Bytes& transport,
                std::uint8_t hop_limit = 64) {
  frames::Ipv6 fields;
  fields.next = protocol;
  fields.source = ip6(who);
  fields.destination = ip6(to);
  fields.hop_limit = hop_limit;
  return frames::ethernet(0x86dd, frames::sealed(frames::ipv6(fields, transport)), from(who));
}
inline constexpr std::uint8_t kFin = 1, kSyn = 2, kRst = 4, kAck = 16;
inline Bytes tcp4(std::uint32_t who, std::uint32_t to, std::uint16_t source, std::uint16_t destination,
                  std::uint8_t flags, const Bytes& payload = {}) {
  return v4(who, to, 6, frames::tcp(source, destination, flags, payload), 64, 0x4000);
}
inline Bytes udp4(std::uint32_t who, std::uint32_t to, std::uint16_t source, std::uint16_t destination,
                  const Bytes& payload = {1, 2, 3}, std::uint8_t ttl = 64) {
  return v4(who, to, 17, frames::udp(source, destination, payload), ttl);
}
inline Bytes ip_part(const Bytes& frame) {
  return frames::part(frame, 14, frame.size() - 14);
}
/// As a router passes it on: addressed anew, one hop less; by the plainest code.
inline Bytes passed_on(Bytes frame, std::uint32_t to) {
  for (std::size_t i = 0; i < 6; ++i) {
    frame[i] = mac(to).bytes[i];
    frame[6 + i] = kOwn.bytes[i];
  }
  if (frame[14] >> 4 == 6) {
    --frame[21];
    return frame;
  }
  --frame[22];
  frames::put16(frame, 24, 0);
  frames::put16(frame, 24, frames::internet_checksum(frames::part(frame, 14, (frame[14] & 15u) * 4)));
  return frame;
}

}  // namespace bulkhead::worker
