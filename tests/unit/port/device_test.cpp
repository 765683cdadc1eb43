// Ports over real devices: DPDK's, a tap and a veth in namespaces of the test's own.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "tests/unit/port/memory.h"

namespace bulkhead::port {
namespace {

constexpr abi::Mac kMac{{2, 0, 0, 0, 0, 7}};

abi::Attach request_for(abi::PortKind kind, const char* device) {
  abi::Attach request{};
  request.port = 7;
  request.kind = kind;
  request.role = abi::kRoleEndpoint;
  request.mac = kMac;
  const std::string name = device;
  if (kind == abi::PortKind::kEthdev)
    name.copy(request.device, sizeof request.device - 1);
  else
    name.copy(request.interface_name, sizeof request.interface_name - 1);
  return request;
}

std::unique_ptr<Port> opened(const abi::Attach& request, int netns = -1) {
  auto made = Port::open(request, netns, 1, memory());
  if (made.index() != 0) {
    ADD_FAILURE() << std::get<1>(made);
    return nullptr;
  }
  return std::move(std::get<0>(made));
}

std::string refusal(const abi::Attach& request, int netns = -1) {
  auto made = Port::open(request, netns, 1, memory());
  return made.index() == 0 ? "accepted" : std::get<1>(made);
}

class Ethdev : public PortTest {};

TEST_F(Ethdev, null_device_gives_and_takes_packets) {
  const auto port = opened(request_for(abi::PortKind::kEthdev, "net_null0,size=64"));
  ASSERT_NE(port, nullptr);
  Landing landing(memory());
  rte_mbuf* packets[kBurst];
  ASSERT_EQ(port->receive(0, landing, packets, kBurst), kBurst);
  EXPECT_EQ(packets[0]->pkt_len, 64u);
  EXPECT_EQ(port->send(0, packets, kBurst), kBurst);
  EXPECT_FALSE(port->offload());
  EXPECT_LT(port->fd(), 0);
}

TEST_F(Ethdev, second_port_on_a_device_is_refused_and_the_first_goes_on) {
  const auto first = opened(request_for(abi::PortKind::kEthdev, "net_null0,size=64"));
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(refusal(request_for(abi::PortKind::kEthdev, "net_null0")),
            "port 7 (net_null0): the device is in use by another port");
  Landing landing(memory());
  rte_mbuf* packets[kBurst];
  ASSERT_EQ(first->receive(0, landing, packets, kBurst), kBurst);
  EXPECT_EQ(first->send(0, packets, kBurst), kBurst);
}

TEST_F(Ethdev, device_can_be_attached_again_after_it_was_detached) {
  for (int round = 0; round < 40; ++round)  // more often than DPDK has room for devices
    ASSERT_NE(opened(request_for(abi::PortKind::kEthdev, "net_null0,size=64")), nullptr) << round;
}

TEST_F(Ethdev, missing_device_is_named) {
  EXPECT_EQ(
      refusal(request_for(abi::PortKind::kEthdev, "net_nul0")).rfind("port 7 (net_nul0): no DPDK device", 0),
      0u);
}

/// A node and a container, each a network namespace that nobody else sees.
class Namespaces : public PortTest {
 protected:
  void SetUp() override {
    home_ = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "needs CAP_SYS_ADMIN to make network namespaces";
    container_ = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    ASSERT_EQ(unshare(CLONE_NEWNET), 0);
    node_ = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    sh("ip link set lo up");
  }
  void TearDown() override {
    ASSERT_EQ(setns(home_, CLONE_NEWNET), 0);
    for (const int fd : {home_, container_, node_}) close(fd);
    PortTest::TearDown();
  }

  static void sh(const std::string& command) { ASSERT_EQ(std::system(command.c_str()), 0) << command; }
  /// Runs in the container's namespace.
  template <typename Do>
  auto inside(Do&& act) {
    EXPECT_EQ(setns(container_, CLONE_NEWNET), 0);
    struct Home {
      int node;
      ~Home() { EXPECT_EQ(setns(node, CLONE_NEWNET), 0); }
    } const home{node_};
    return act();
  }
  bool has_interface(const char* name) {
    return inside([&] { return if_nametoindex(name) != 0; });
  }
  static int packet_socket(const char* interface_name) {
    const int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(if_nametoindex(interface_name));
    EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    return fd;
  }
  static std::vector<std::uint8_t> frame(std::size_t bytes, std::uint8_t mark) {
    std::vector<std::uint8_t> made(bytes, mark);
    std::fill_n(made.begin(), 6, 0xff);
    std::copy(kMac.bytes.begin(), kMac.bytes.end(), made.begin() + 6);
    made[12] = 0x88;
    made[13] = 0xb5;  // for local experiments (IEEE 802)
    return made;
  }
  /// The next packet that `is` recognises, within two seconds.
  static std::vector<std::uint8_t> received(Port& port,
                                            const std::function<bool(const std::vector<std::uint8_t>&)>& is) {
    Landing landing(memory());
    for (int round = 0; round < 200; ++round) {
      rte_mbuf* packets[kBurst];
      std::vector<std::uint8_t> found;
      const std::uint16_t count = port.receive(0, landing, packets, kBurst);
      for (std::uint16_t i = 0; i < count; ++i) {
        std::vector<std::uint8_t> bytes(packets[i]->pkt_len);
        std::vector<std::uint8_t> room(bytes.size() + 1);
        const void* read = rte_pktmbuf_read(packets[i], 0, packets[i]->pkt_len, room.data());
        std::memcpy(bytes.data(), read, bytes.size());
        if (found.empty() && is(bytes)) found = bytes;
        rte_pktmbuf_free(packets[i]);
      }
      if (!found.empty()) return found;
      usleep(10'000);
    }
    return {};
  }
  static bool ours(const std::vector<std::uint8_t>& bytes) {
    return bytes.size() > 14 && bytes[12] == 0x88 && bytes[13] == 0xb5;
  }
  /// What comes out of the socket and is ours; empty after `ms`.
  static std::vector<std::uint8_t> arrived(int fd, int ms) {
    for (;;) {
      pollfd item{fd, POLLIN, 0};
      if (poll(&item, 1, ms) != 1) return {};
      std::vector<std::uint8_t> bytes(70'000);
      const ssize_t n = recv(fd, bytes.data(), bytes.size(), 0);
      bytes.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
      if (ours(bytes)) return bytes;
    }
  }
  static bool send_frame(Port& port, const std::vector<std::uint8_t>& bytes) {
    rte_mbuf* packet = rte_pktmbuf_alloc(memory().small);
    std::memcpy(rte_pktmbuf_append(packet, static_cast<std::uint16_t>(bytes.size())), bytes.data(),
                bytes.size());
    if (port.send(0, &packet, 1) == 1) return true;
    rte_pktmbuf_free(packet);
    return false;
  }

  int home_ = -1, container_ = -1, node_ = -1;
};

TEST_F(Namespaces, tap_is_made_inside_the_container_and_carries_frames_both_ways) {
  const auto port = opened(request_for(abi::PortKind::kTap, "bhtest0"), container_);
  ASSERT_NE(port, nullptr);
  EXPECT_TRUE(has_interface("bhtest0"));
  EXPECT_EQ(if_nametoindex("bhtest0"), 0u) << "and not in our own namespace";
  EXPECT_TRUE(port->offload());
  EXPECT_EQ(port->mac(), kMac);
  const int socket = inside([] { return packet_socket("bhtest0"); });
  const auto out = frame(1000, 1), in = frame(900, 2);
  ASSERT_EQ(::send(socket, out.data(), out.size(), 0), 1000);
  EXPECT_EQ(received(*port, ours), out);
  EXPECT_EQ(arrived(socket, 0), std::vector<std::uint8_t>{}) << "what was sent is not received";
  ASSERT_TRUE(send_frame(*port, in));
  EXPECT_EQ(arrived(socket, 1000), in);
  close(socket);
}

TEST_F(Namespaces, burst_ends_with_so_many_bytes_and_the_rest_comes_next) {
  abi::Attach request = request_for(abi::PortKind::kTap, "bhtest0");
  request.mtu = 60'000;
  const auto port = opened(request, container_);
  ASSERT_NE(port, nullptr);
  const int socket = inside([] { return packet_socket("bhtest0"); });
  constexpr std::size_t kBytes = 50'000, kPackets = 10;
  const auto out = frame(kBytes, 1);
  for (std::size_t i = 0; i < kPackets; ++i)
    ASSERT_EQ(::send(socket, out.data(), out.size(), 0), static_cast<ssize_t>(kBytes));
  close(socket);

  Landing landing(memory());
  std::size_t seen = 0;
  for (int bursts = 1; seen < kPackets && bursts < 20; ++bursts) {
    rte_mbuf* packets[kBurst];
    const std::uint16_t count = port->receive(0, landing, packets, kBurst);
    std::size_t large = 0;
    for (std::uint16_t i = 0; i < count; ++i) {
      large += packets[i]->pkt_len == kBytes ? 1 : 0;  // the kernel says something of its own, too
      rte_pktmbuf_free(packets[i]);
    }
    EXPECT_LE((large - std::min<std::size_t>(large, 1)) * kBytes, kBurstBytes);
    seen += large;
  }
  EXPECT_EQ(seen, kPackets);
}

TEST_F(Namespaces, tap_stays_when_its_process_ends_and_is_taken_up_again) {
  opened(request_for(abi::PortKind::kTap, "bhtest0"), container_).reset();
  EXPECT_TRUE(has_interface("bhtest0"));
  const auto again = opened(request_for(abi::PortKind::kTap, "bhtest0"), container_);
  ASSERT_NE(again, nullptr);
  EXPECT_NE(refusal(request_for(abi::PortKind::kTap, "bhtest0"), container_).find("making tap bhtest0"),
            std::string::npos)
      << "one tap, one port";
  again->remove_device_on_close();
}

TEST_F(Namespaces, tap_goes_when_it_is_asked_to_or_was_never_finished) {
  const auto port = opened(request_for(abi::PortKind::kTap, "bhtest0"), container_);
  port->remove_device_on_close();
  const_cast<std::unique_ptr<Port>&>(port).reset();
  EXPECT_FALSE(has_interface("bhtest0"));
  abi::Attach group_mac = request_for(abi::PortKind::kTap, "bhtest1");
  group_mac.mac.bytes[0] = 1;
  EXPECT_NE(refusal(group_mac, container_).find("setting the MAC"), std::string::npos);
  EXPECT_FALSE(has_interface("bhtest1")) << "a refused attach leaves nothing behind";
}

TEST_F(Namespaces, vanished_tap_is_noticed_and_does_no_harm) {
  const auto port = opened(request_for(abi::PortKind::kTap, "bhtest0"), container_);
  EXPECT_TRUE(port->exists());
  inside([] { sh("ip link del bhtest0"); });
  Landing landing(memory());
  rte_mbuf* packets[kBurst];
  EXPECT_EQ(port->receive(0, landing, packets, kBurst), 0);
  EXPECT_EQ(port->trouble(), Trouble::kGone);
  EXPECT_FALSE(port->exists());
  EXPECT_FALSE(send_frame(*port, frame(60, 1)));
}

TEST_F(Namespaces, wrong_namespace_descriptor_is_an_error_and_we_stay_where_we_were) {
  const int file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  EXPECT_NE(refusal(request_for(abi::PortKind::kTap, "bhtest0"), file).find("setns"), std::string::npos);
  close(file);
  EXPECT_EQ(if_nametoindex("bhtest0"), 0u);
  EXPECT_TRUE(
      std::filesystem::equivalent("/proc/thread-self/ns/net", "/proc/self/fd/" + std::to_string(node_)));
}

TEST_F(Namespaces, missing_interface_is_named) {
  EXPECT_EQ(refusal(request_for(abi::PortKind::kVeth, "nope0")),
            "port 7 (nope0): there is no interface nope0");
}

/// The node's end `bhnode0` (10.9.9.1) of a veth whose other end is the container's `bhcont0` (10.9.9.2), and the sockets
/// of two programs that would like to talk past us.
class Fenced : public Namespaces {
 protected:
  void SetUp() override {
    Namespaces::SetUp();
    if (IsSkipped()) return;
    sh("ip link add bhnode0 address 02:00:00:00:00:08 type veth peer name bhcont0 address 02:00:00:00:00:07 "
       "netns /proc/" +
       std::to_string(getpid()) + "/fd/" + std::to_string(container_));
    sh("ip addr add 10.9.9.1/24 dev bhnode0; ip link set bhnode0 up; ip neigh add 10.9.9.2 lladdr "
       "02:00:00:00:00:07 dev bhnode0");
    inside([] {
      sh("ip addr add 10.9.9.2/24 dev bhcont0; ip link set bhcont0 up; ip neigh add 10.9.9.1 lladdr "
         "02:00:00:00:00:08 dev bhcont0");
    });
    node_program_ = udp_socket("10.9.9.1");
    container_program_ = inside([] { return udp_socket("10.9.9.2"); });
  }
  void TearDown() override {
    close(node_program_);
    close(container_program_);
    Namespaces::TearDown();
  }
  static sockaddr_in address(const char* text) {
    sockaddr_in made{};
    made.sin_family = AF_INET;
    made.sin_port = htons(7777);
    inet_pton(AF_INET, text, &made.sin_addr);
    return made;
  }
  static int udp_socket(const char* own) {
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const sockaddr_in at = address(own);
    EXPECT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
    return fd;
  }
  static bool says(int from, const char* to, int by) {
    const sockaddr_in at = address(to);
    EXPECT_EQ(sendto(from, "past you", 8, 0, reinterpret_cast<const sockaddr*>(&at), sizeof at), 8);
    pollfd item{by, POLLIN, 0};
    if (poll(&item, 1, 200) != 1) return false;
    char text[16];
    return recv(by, text, sizeof text, 0) == 8;
  }
  bool container_reaches_node() { return says(container_program_, "10.9.9.1", node_program_); }
  bool node_reaches_container() { return says(node_program_, "10.9.9.2", container_program_); }

  int node_program_ = -1, container_program_ = -1;
};

TEST_F(Fenced, container_and_the_node_s_kernel_do_not_meet_while_the_port_is_ours) {
  ASSERT_TRUE(container_reaches_node() && node_reaches_container()) << "without us they do";
  auto port = opened(request_for(abi::PortKind::kVeth, "bhnode0"));
  ASSERT_NE(port, nullptr);

  EXPECT_FALSE(container_reaches_node());
  const auto seen = received(*port, [](const auto& bytes) {
    return bytes.size() == 50 && bytes[12] == 8 && bytes[13] == 0 && bytes[23] == 17;
  });
  EXPECT_FALSE(seen.empty())
      << "its packet, to the interface's own MAC and an address of the node, came to us instead";
  EXPECT_FALSE(node_reaches_container());

  const int socket = inside([] { return packet_socket("bhcont0"); });
  const auto in = frame(900, 2);
  ASSERT_TRUE(send_frame(*port, in));
  EXPECT_EQ(arrived(socket, 1000), in) << "only what we send arrives";
  close(socket);
}

TEST_F(Fenced, fence_stands_while_no_data_plane_runs_and_falls_with_a_detach) {
  opened(request_for(abi::PortKind::kVeth, "bhnode0")).reset();
  EXPECT_FALSE(container_reaches_node());
  EXPECT_FALSE(node_reaches_container());
  auto port = opened(request_for(abi::PortKind::kVeth, "bhnode0"));
  ASSERT_NE(port, nullptr);
  EXPECT_FALSE(container_reaches_node());
  port->lower_fence_on_close();
  port.reset();
  EXPECT_TRUE(container_reaches_node() && node_reaches_container());
}

TEST_F(Fenced, vanished_veth_is_noticed) {
  const auto port = opened(request_for(abi::PortKind::kVeth, "bhnode0"));
  ASSERT_NE(port, nullptr);
  EXPECT_TRUE(port->exists());
  inside([] { sh("ip link del bhcont0"); });
  EXPECT_FALSE(port->exists());
  EXPECT_FALSE(send_frame(*port, frame(60, 1)));
  EXPECT_NE(port->trouble(), Trouble::kNone);
}

}  // namespace
}  // namespace bulkhead::port
