#include <fcntl.h>
#include <gtest/gtest.h>
#include <netlink/route/link/veth.h>
#include <sched.h>
#include <unistd.h>

#include "controlplane/netlink/configure.h"
#include "controlplane/netlink/monitor.h"
#include "controlplane/publish/fd.h"

namespace bulkhead::netlink {
namespace {

using publish::Fd;

config::InterfaceAddress address(const char* text, std::uint8_t bits) {
  return {*policies::parse_address(text), bits};
}

/// Each test runs in a network namespace of its own, which only root may make.
class NetlinkTest : public ::testing::Test {
 protected:
  void SetUp() override {
    home_ = Fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    if (::unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "needs CAP_SYS_ADMIN to make network namespaces";
    own_ = Fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  }
  void TearDown() override { ASSERT_EQ(::setns(home_.get(), CLONE_NEWNET), 0); }
  /// Another namespace, which is not entered.
  static Fd make_namespace() {
    const Fd here(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    EXPECT_EQ(::unshare(CLONE_NEWNET), 0);
    Fd made(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    EXPECT_EQ(::setns(here.get(), CLONE_NEWNET), 0);
    return made;
  }
  static void make_veth(const char* name, const char* peer) {
    const auto socket = route_socket();
    EXPECT_EQ(rtnl_link_veth_add(socket.get(), name, peer, ::getpid()), 0);
  }
  static void remove(const char* name) {
    const auto socket = route_socket();
    rtnl_link* link = nullptr;
    ASSERT_EQ(rtnl_link_get_kernel(socket.get(), 0, name, &link), 0);
    const Owned<rtnl_link> owned(link);
    EXPECT_EQ(rtnl_link_delete(socket.get(), link), 0);
  }
  static void move(const char* name, int netns_fd) {
    const auto socket = route_socket();
    rtnl_link* link = nullptr;
    ASSERT_EQ(rtnl_link_get_kernel(socket.get(), 0, name, &link), 0);
    const Owned<rtnl_link> owned(link);
    const Owned<rtnl_link> change(rtnl_link_alloc());
    rtnl_link_set_ns_fd(change.get(), netns_fd);
    EXPECT_EQ(rtnl_link_change(socket.get(), link, change.get(), 0), 0);
  }

  Fd home_, own_;
};

TEST_F(NetlinkTest, links_and_addresses_are_seen_as_they_come_and_go) {
  Monitor monitor;
  EXPECT_EQ(monitor.find("left"), nullptr);
  make_veth("left", "right");
  EXPECT_TRUE(monitor.handle());
  ASSERT_NE(monitor.find("left"), nullptr);
  EXPECT_EQ(monitor.find("left")->peer_index, monitor.find("right")->index);
  EXPECT_FALSE(monitor.find("left")->peer_elsewhere);
  EXPECT_TRUE(monitor.addresses().empty());

  configure(-1, {"left", {address("10.88.0.1", 16), address("fd88::1", 64)}, {}});
  EXPECT_TRUE(monitor.handle());
  // The kernel announces an IPv6 address from a work queue of its own.
  for (int i = 0; i < 1000 && monitor.addresses().size() < 2; ++i) {
    ::usleep(1000);
    monitor.handle();
  }
  EXPECT_TRUE(monitor.find("left")->up);
  ASSERT_EQ(monitor.addresses().size(), 2u) << "no loopback and no link-local address";
  EXPECT_EQ(policies::format(monitor.addresses()[0]), "10.88.0.1");
  EXPECT_EQ(policies::format(monitor.addresses()[1]), "fd88::1");

  remove("left");
  EXPECT_TRUE(monitor.handle());
  EXPECT_EQ(monitor.find("left"), nullptr);
  EXPECT_EQ(monitor.find("right"), nullptr);
  EXPECT_TRUE(monitor.addresses().empty());
}

TEST_F(NetlinkTest, an_interface_made_anew_under_its_name_is_another_one) {
  Monitor monitor;
  make_veth("left", "right");
  monitor.handle();
  const int before = monitor.find("left")->index;
  remove("left");
  make_veth("left", "right");
  monitor.handle();
  EXPECT_NE(monitor.find("left")->index, before);
}

TEST_F(NetlinkTest, an_interface_that_was_up_is_gone_when_it_is_gone) {
  Monitor monitor;
  make_veth("left", "right");
  bring_up("left");
  bring_up("right");
  ::usleep(50'000);  // IPv6 announces the link in its own words
  monitor.handle();
  ASSERT_NE(monitor.find("left"), nullptr);
  EXPECT_NE(monitor.find("left")->peer_index, 0);
  remove("left");
  monitor.handle();
  EXPECT_EQ(monitor.find("left"), nullptr);
}

TEST_F(NetlinkTest, the_other_end_is_found_in_its_namespace) {
  const Fd inside = make_namespace();
  make_veth("left", "right");
  Monitor before;
  const auto mac = before.find("right")->mac;
  move("right", inside.get());
  Monitor monitor;
  ASSERT_NE(monitor.find("left"), nullptr);
  EXPECT_TRUE(monitor.find("left")->peer_elsewhere);
  const auto peer = interface_by_index(inside.get(), monitor.find("left")->peer_index);
  ASSERT_TRUE(peer);
  EXPECT_EQ(peer->name, "right");
  EXPECT_EQ(peer->mac, mac);
}

TEST_F(NetlinkTest, a_container_gets_addresses_and_routes_and_doing_it_again_changes_nothing) {
  const Fd inside = make_namespace();
  make_veth("left", "eth0");
  move("eth0", inside.get());
  bring_up("left");
  const Configuration wanted{"eth0",
                             {address("10.88.0.10", 16), address("fd88::10", 64)},
                             {*policies::parse_address("10.88.0.1"), *policies::parse_address("fd88::1")}};
  for (int i = 0; i < 2; ++i) EXPECT_EQ(configure(inside.get(), wanted), "") << i;

  const InNamespace visit(inside.get());
  Monitor monitor;
  EXPECT_TRUE(monitor.find("eth0")->up);
  EXPECT_EQ(monitor.addresses().size(), 2u);
  for (const int family : {AF_INET, AF_INET6}) {
    const auto socket = route_socket();
    nl_cache* raw = nullptr;
    ASSERT_EQ(rtnl_route_alloc_cache(socket.get(), family, 0, &raw), 0);
    const Owned<nl_cache> routes(raw);
    int defaults = 0;
    for (nl_object* object = nl_cache_get_first(raw); object != nullptr; object = nl_cache_get_next(object)) {
      auto* route = reinterpret_cast<rtnl_route*>(object);
      if (nl_addr_get_prefixlen(rtnl_route_get_dst(route)) != 0 || rtnl_route_get_type(route) != RTN_UNICAST)
        continue;
      ++defaults;
      EXPECT_EQ(rtnl_route_nh_get_ifindex(rtnl_route_nexthop_n(route, 0)), monitor.find("eth0")->index);
    }
    EXPECT_EQ(defaults, 1) << family;
  }
}

TEST_F(NetlinkTest, a_gateway_outside_the_network_is_reached_on_the_link) {
  make_veth("left", "eth0");
  bring_up("left");
  EXPECT_EQ(configure(-1, {"eth0",
                           {address("10.88.0.10", 32), address("fd88::10", 128)},
                           {*policies::parse_address("10.88.0.1"), *policies::parse_address("fd88::1")}}),
            "");
}

TEST_F(NetlinkTest, a_default_route_through_another_interface_is_kept_and_reported) {
  make_veth("left", "eth0");
  make_veth("other", "eth1");
  bring_up("left");
  bring_up("other");
  const auto gateway = *policies::parse_address("10.88.0.1");
  EXPECT_EQ(configure(-1, {"eth1", {address("10.99.0.10", 16)}, {*policies::parse_address("10.99.0.1")}}),
            "");
  EXPECT_EQ(configure(-1, {"eth0", {address("10.88.0.10", 16)}, {gateway}}),
            "a default route through another interface is kept (IPv4)");
}

TEST_F(NetlinkTest, a_missing_interface_is_named) {
  try {
    configure(-1, {"eth7", {}, {}});
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "interface eth7: No such device");
  }
}

TEST_F(NetlinkTest, a_visit_ends_where_it_began) {
  const Fd inside = make_namespace();
  make_veth("left", "right");
  { const InNamespace visit(inside.get()); }
  EXPECT_NE(Monitor().find("left"), nullptr);
  EXPECT_THROW(InNamespace(own_.get() + 1000), Error);
  EXPECT_NE(Monitor().find("left"), nullptr);
}

}  // namespace
}  // namespace bulkhead::netlink
