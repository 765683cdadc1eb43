// Ports, and what a node finds again after a restart.
#include "tests/unit/control/node_fixture.h"

namespace bulkhead::control {
namespace {

TEST_F(NodeTest, attach_that_makes_no_sense_is_refused_by_name_and_value) {
  struct Case {
    const char* reason;
    void (*spoil)(abi::Attach&);
  };
  for (const Case& c :
       {Case{"port number 0: expected 1 to 1023", [](abi::Attach& m) { m.port = 0; }},
        Case{"port number 1024: expected 1 to 1023", [](abi::Attach& m) { m.port = 1024; }},
        Case{"unknown kind of port",
             [](abi::Attach& m) {
               m.kind = static_cast<abi::PortKind>(9);
               m.interface_name[0] = 'x';
             }},
        Case{"unknown role of a port", [](abi::Attach& m) { m.role = static_cast<abi::PortRole>(0); }},
        Case{"a name without an end", [](abi::Attach& m) { std::memset(m.device, 'x', sizeof m.device); }},
        Case{"a name without an end",
             [](abi::Attach& m) { std::memset(m.interface_name, 'x', sizeof m.interface_name); }},
        Case{"a name without an end",
             [](abi::Attach& m) { std::memset(m.netns_path, 'x', sizeof m.netns_path); }},
        Case{"port 1 has no device", [](abi::Attach& m) { m.device[0] = '\0'; }},
        Case{"MTU 67: expected 68 to 65535", [](abi::Attach& m) { m.mtu = 67; }},
        Case{"MTU 65536: expected 68 to 65535", [](abi::Attach& m) { m.mtu = 65'536; }},
        Case{"VLAN 4095: expected 0 to 4094", [](abi::Attach& m) { m.vlan = 4095; }},
        Case{"port 1 has no MAC", [](abi::Attach& m) { m.mac = {}; }},
        Case{"no DPDK device", [](abi::Attach& m) { std::strcpy(m.device, "net_nul"); }}}) {
    abi::Attach message = null_port(1);
    c.spoil(message);
    EXPECT_NE(attach(message).find(c.reason), std::string::npos) << c.reason;
  }
  EXPECT_EQ(hello().ports, 0u);
}

TEST_F(NodeTest, one_port_one_device_one_host) {
  ASSERT_EQ(attach(null_port(1)), "");
  EXPECT_EQ(attached_.already, 0u);
  EXPECT_EQ(attach(null_port(1)), "");
  EXPECT_EQ(attached_.already, 1u);
  for (auto* spoil : {+[](abi::Attach& m) { m.port_key = 1; }, +[](abi::Attach& m) { m.mac.bytes[5] ^= 1; },
                      +[](abi::Attach& m) { m.mtu = 1400; }, +[](abi::Attach& m) { m.role = abi::kRoleHost; },
                      +[](abi::Attach& m) { m.device[8] = '7'; }}) {
    abi::Attach other = null_port(1);
    spoil(other);
    EXPECT_EQ(attach(other), "port 1 is attached to net_null1,size=64: detach it first");
  }
  abi::Attach same_device = null_port(2);
  std::strcpy(same_device.device, "net_null1");
  EXPECT_EQ(attach(same_device), "net_null1 is attached already, as port 1");
  for (const std::uint32_t port : {3u, 4u}) {
    abi::Attach host = null_port(port);
    host.role = abi::kRoleHost;
    host.port_key = 0;
    EXPECT_EQ(attach(host), port == 3 ? "" : "there is already a port of this role: 3");
  }
  EXPECT_EQ(hello().ports, 2u);
}

TEST_F(NodeTest, port_opens_only_for_the_key_that_the_image_names) {
  abi::Attach stranger = null_port(2);
  stranger.port_key ^= 1;
  ASSERT_EQ(attach(null_port(1)), "");
  ASSERT_EQ(attach(stranger), "");
  EXPECT_EQ(ports().ports[0].flags & abi::kPortOpen, 0u);
  ASSERT_EQ(swap(1), "");
  EXPECT_NE(ports().ports[0].flags & abi::kPortOpen, 0u);
  EXPECT_EQ(ports().ports[1].flags & abi::kPortOpen, 0u);
  ASSERT_EQ(detach(2), "");
  ASSERT_EQ(attach(null_port(2)), "");
  EXPECT_NE(ports().ports[1].flags & abi::kPortOpen, 0u) << "attached after the image";
  ASSERT_EQ(detach(1), "");
  ASSERT_EQ(attach([] {
              abi::Attach next = null_port(1);
              next.port_key ^= 1;
              return next;
            }()),
            "");
  EXPECT_EQ(ports().ports[0].flags & abi::kPortOpen, 0u) << "the number again, another's key";
}

TEST_F(NodeTest, detach_of_nothing_is_an_error) {
  EXPECT_EQ(detach(1), "port 1 is not attached");
  EXPECT_EQ(detach(1024), "port 1024 is not attached");
  EXPECT_EQ(detach(0xffff'ffff), "port 4294967295 is not attached");
}

TEST_F(NodeTest, long_lists_of_ports_come_in_parts) {
  abi::PortsRequest from{};
  from.from = 0xffff'ffff;
  abi::PortsReply reply{};
  EXPECT_EQ(ask(abi::MessageType::kPorts, from, reply), "");
  EXPECT_EQ(reply.count, 0u);
  ASSERT_EQ(attach(null_port(2)), "");
  EXPECT_EQ(ports().count, 1u);
  EXPECT_EQ(ports().next, 0u);
}

TEST_F(NodeTest, restart_finds_image_and_ports_again) {
  ASSERT_EQ(attach(null_port(1)), "");
  ASSERT_EQ(attach(null_port(3)), "");
  ASSERT_EQ(swap(7), "");
  ASSERT_EQ(swap(8), "");
  const abi::HelloReply before = hello();
  start();
  const abi::HelloReply after = hello();
  EXPECT_EQ(after.generation, 8u);
  EXPECT_EQ(std::memcmp(after.digest, before.digest, sizeof after.digest), 0);
  EXPECT_EQ(after.ports, 2u);
  EXPECT_NE(ports().ports[0].flags & abi::kPortOpen, 0u);
  EXPECT_EQ(attach(null_port(1)), "");
  EXPECT_EQ(attached_.already, 1u);
}

TEST_F(NodeTest, damaged_image_on_disk_means_no_image_and_no_crash) {
  ASSERT_EQ(swap(7), "");
  const std::string policy = file("image") + "/" + image::hex(image::digest_of(sample().policy));
  const std::string enforced = file("image/enforced");
  const auto bytes = fs::file_size(policy);
  fs::copy_file(policy, file("policy"));
  fs::copy_file(enforced, file("enforced"));
  const std::function<void()> damages[] = {
      [&] { fs::resize_file(policy, bytes / 2); },
      [&] { fs::resize_file(policy, 0); },
      [&] { fs::remove(policy); },
      [&] {
        std::fstream(policy, std::ios::in | std::ios::out)
            .seekp(static_cast<std::streamoff>(bytes / 2))
            .write("x", 1);
      },
      [&] { fs::resize_file(enforced, 5); },
      [&] { std::fstream(enforced, std::ios::in | std::ios::out).write("x", 1); },
      [&] { std::fstream(enforced, std::ios::in | std::ios::out).seekp(24).write("../../x", 8); },
      [&] {
        std::fstream(enforced, std::ios::in | std::ios::out).seekp(16).write(std::string(8, 'p').data(), 8);
      },
      [&] { fs::remove(enforced), fs::create_directory(enforced); }};
  for (const auto& damage : damages) {
    node_.reset();
    fs::remove_all(enforced);
    fs::copy_file(file("policy"), policy, fs::copy_options::overwrite_existing);
    fs::copy_file(file("enforced"), enforced);
    start();
    ASSERT_EQ(hello().generation, 7u);
    node_.reset();
    damage();
    start();
    EXPECT_EQ(hello().generation, 0u);
  }
}

TEST_F(NodeTest, saved_ports_are_checked_like_requested_ones) {
  ASSERT_EQ(attach(null_port(1)), "");
  ASSERT_EQ(attach(null_port(2)), "");
  node_.reset();
  const std::string ports_file = file("ports");
  constexpr std::streamoff kHeader = 16;
  const auto write_at = [&](std::streamoff at, const void* bytes, std::size_t count) {
    std::fstream out(ports_file, std::ios::in | std::ios::out | std::ios::binary);
    out.seekp(at).write(static_cast<const char*>(bytes), static_cast<std::streamsize>(count));
  };
  fs::copy_file(ports_file, file("good"));
  const auto restarted_with = [&] {
    start();
    const std::uint32_t found = hello().ports;
    node_.reset();
    fs::copy_file(file("good"), ports_file, fs::copy_options::overwrite_existing);
    return found;
  };
  EXPECT_EQ(restarted_with(), 2u);
  const std::streamoff port = kHeader + static_cast<std::streamoff>(offsetof(SavedPort, request.port));
  for (const std::uint32_t number : {0u, 1024u, 0xffff'ffffu, 2u}) {
    write_at(port, &number, sizeof number);
    EXPECT_EQ(restarted_with(), 1u) << number;
  }
  const std::string endless(abi::kDeviceBytes, 'x');
  write_at(kHeader + static_cast<std::streamoff>(offsetof(SavedPort, request.device)), endless.data(),
           endless.size());
  EXPECT_EQ(restarted_with(), 1u);
  const std::uint64_t other_inode = 1;
  write_at(kHeader + static_cast<std::streamoff>(offsetof(SavedPort, netns.inode)), &other_inode,
           sizeof other_inode);
  EXPECT_EQ(restarted_with(), 1u) << "its namespace is another one now";
  fs::resize_file(ports_file, fs::file_size(ports_file) - 1);
  EXPECT_EQ(restarted_with(), 0u);
  const std::uint32_t other_version = abi::kVersion + 1;
  write_at(8, &other_version, sizeof other_version);
  EXPECT_EQ(restarted_with(), 0u);
  const std::uint32_t many = 0xffff'ffff;
  write_at(12, &many, sizeof many);
  EXPECT_EQ(restarted_with(), 0u);
}

TEST_F(NodeTest, second_data_plane_on_one_run_directory_is_refused) {
  EXPECT_THROW(Node(options_, eal()), std::runtime_error);
  EXPECT_EQ(hello().generation, 0u);
}

}  // namespace
}  // namespace bulkhead::control
