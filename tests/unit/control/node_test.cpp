// The node as its socket's clients see it, and what it finds again after a restart. No worker runs: the control thread is alone.
#include "dataplane/control/node.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "tests/unit/image/sample.h"

namespace bulkhead::control {
namespace {

namespace fs = std::filesystem;

Eal eal() {
  static const Eal made{
      {rte_pktmbuf_pool_create("small", 8191, 0, 0, RTE_PKTMBUF_HEADROOM + 2048, SOCKET_ID_ANY),
       rte_pktmbuf_pool_create("large", 31, 0, 0, 65535, SOCKET_ID_ANY)},
      false};
  return made;
}

const image::sample::Image& sample() {
  static const auto made = image::sample::build(image::sample::make_tables());
  return made;
}

Fd sealed(std::span<const std::byte> bytes, int seals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK) {
  Fd fd(memfd_create("section", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(write(fd.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  EXPECT_EQ(fcntl(fd.get(), F_ADD_SEALS, seals), 0);
  return fd;
}

class NodeTest : public testing::Test {
 protected:
  void SetUp() override {
    spdlog::set_level(spdlog::level::off);
    options_.run_dir = testing::TempDir() + "bulkhead-node-" + std::to_string(getpid());
    options_.hugepages = false;
    options_.flows_max = 64;
    fs::create_directories(options_.run_dir);
    start();
  }
  void TearDown() override {
    node_.reset();
    fs::remove_all(options_.run_dir);
  }
  std::set<std::string> files() const {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(options_.run_dir + "/image"))
      names.insert(entry.path().filename());
    return names;
  }
  /// Without what was saved.
  void start_anew() {
    node_.reset();
    fs::remove_all(options_.run_dir);
    fs::create_directories(options_.run_dir);
    start();
  }
  void start() {
    node_.reset();
    node_ = std::make_unique<Node>(options_, eal());
  }

  template <class Answer, class Message>
  std::string ask(abi::MessageType type, const Message& message, Answer& answer, std::vector<Fd> fds = {}) {
    Request request{type, &message, std::move(fds)};
    const Reply reply = node_->handle(request);
    if (reply.afterwards) reply.afterwards();
    if (reply.bytes.size() == sizeof(abi::ErrorReply)) {
      abi::ErrorReply error;
      std::memcpy(&error, reply.bytes.data(), sizeof error);
      return error.text;
    }
    EXPECT_EQ(reply.bytes.size(), sizeof answer);
    std::memcpy(&answer, reply.bytes.data(), sizeof answer);
    return "";
  }
  /// By what the sample's sections are called, whatever the descriptors hold; -1: not sent.
  std::string swap(std::uint64_t generation, Fd policy, Fd shard) {
    abi::Swap message{};
    message.generation = generation;
    message.sections = 2;
    std::memcpy(message.digests[0], image::digest_of(sample().policy).bytes, 32);
    std::memcpy(message.digests[1], image::digest_of(sample().shards[0]).bytes, 32);
    std::vector<Fd> fds;
    for (Fd* fd : {&policy, &shard}) {
      message.is_new[fd == &shard] = fd->get() >= 0;
      if (fd->get() >= 0) fds.push_back(std::move(*fd));
    }
    abi::SwapReply reply;
    return ask(abi::MessageType::kSwap, message, reply, std::move(fds));
  }
  std::string swap(std::uint64_t generation) {
    return swap(generation, sealed(sample().policy), sealed(sample().shards[0]));
  }
  std::string attach(const abi::Attach& message) {
    return ask(abi::MessageType::kAttach, message, attached_);
  }
  std::string detach(std::uint32_t port) {
    abi::Detach message{};
    message.port = port;
    abi::Empty reply;
    return ask(abi::MessageType::kDetach, message, reply);
  }
  abi::HelloReply hello() {
    abi::HelloReply reply{};
    EXPECT_EQ(ask(abi::MessageType::kHello, abi::Hello{}, reply), "");
    return reply;
  }
  abi::PortsReply ports() {
    abi::PortsReply reply{};
    EXPECT_EQ(ask(abi::MessageType::kPorts, abi::PortsRequest{}, reply), "");
    return reply;
  }
  /// A port that the sample image may open: its endpoint i has port i.
  static abi::Attach null_port(std::uint32_t port, const char* device = "net_null") {
    abi::Attach message{};
    message.port = port;
    message.kind = abi::PortKind::kEthdev;
    message.role = abi::kRoleEndpoint;
    message.mac = {{2, 0, 0, 0, 0, static_cast<std::uint8_t>(port)}};
    message.port_key = key_of(port);
    std::snprintf(message.device, sizeof message.device, "%s%u,size=64", device, port);
    return message;
  }
  static std::uint64_t key_of(std::uint32_t port) {
    static const auto tables = image::sample::make_tables();
    return tables.endpoints.at(port - 1).port_key;
  }
  std::string file(const char* name) const { return options_.run_dir + "/" + name; }

  Options options_;
  std::unique_ptr<Node> node_;
  abi::AttachReply attached_{};
};

TEST_F(NodeTest, image_that_is_not_right_in_everything_changes_nothing) {
  ASSERT_EQ(swap(5), "");
  EXPECT_EQ(swap(5), "generation 5 is not newer than the enforced 5");
  EXPECT_EQ(swap(0), "generation 0 is not newer than the enforced 5");
  EXPECT_NE(swap(6, sealed(sample().policy, F_SEAL_GROW), sealed(sample().shards[0])).find("not sealed"),
            std::string::npos);
  EXPECT_NE(swap(6, Fd(open("/proc/self/status", O_RDONLY)), sealed(sample().shards[0])).find("memory file"),
            std::string::npos);
  EXPECT_NE(swap(6, sealed(sample().shards[0]), sealed(sample().policy)).find("image refused"),
            std::string::npos);
  const std::vector<std::byte> garbage(4096, std::byte{0xa5});
  EXPECT_NE(swap(6, sealed(garbage), sealed(sample().shards[0])).find("image refused"), std::string::npos);
  EXPECT_NE(swap(std::uint64_t{1} << 32).find("image refused"), std::string::npos);
  image::sample::Shape other;
  other.seed = 2;
  const auto stranger = image::sample::build(image::sample::make_tables(other));
  EXPECT_NE(swap(6, sealed(stranger.policy), sealed(sample().shards[0])).find("announced was"),
            std::string::npos);
  EXPECT_EQ(hello().generation, 5u);
  EXPECT_EQ(swap(6), "");
  EXPECT_EQ(hello().generation, 6u);
}

TEST_F(NodeTest, sections_of_the_enforced_image_need_not_be_sent_again) {
  EXPECT_NE(swap(5, sealed(sample().policy), Fd()).find("section 1, "), std::string::npos);
  ASSERT_EQ(swap(5), "");
  EXPECT_EQ(swap(6, Fd(), Fd()), "");
  EXPECT_EQ(swap(7, Fd(), sealed(sample().shards[0])), "");
  const auto before = files();
  std::ofstream(options_.run_dir + "/image/" + std::string(64, 'a')) << "left by one who was killed";
  start();
  EXPECT_EQ(hello().generation, 7u) << "what was saved is whole";
  EXPECT_EQ(files(), before) << "what nobody names is gone";
  EXPECT_EQ(swap(8, Fd(), Fd()), "");
}

TEST_F(NodeTest, descriptors_and_new_sections_must_be_as_many) {
  abi::Swap message{};
  message.generation = 5;
  message.sections = 2;
  message.is_new[0] = message.is_new[1] = 1;
  abi::SwapReply reply;
  EXPECT_EQ(ask(abi::MessageType::kSwap, message, reply), "fewer descriptors than new sections");
  message.sections = 0;
  std::vector<Fd> fds;
  fds.push_back(sealed(sample().policy));
  EXPECT_EQ(ask(abi::MessageType::kSwap, message, reply, std::move(fds)),
            "more descriptors than new sections");
  EXPECT_EQ(ask(abi::MessageType::kSwap, message, reply), "image refused: it has no section");
  message.sections = abi::kSectionsMax + 1;
  EXPECT_EQ(ask(abi::MessageType::kSwap, message, reply), "514 sections, expected at most 513");
}

TEST_F(NodeTest, an_amendment_names_what_changes_and_the_images_before_and_after) {
  auto tables = image::sample::make_tables();
  tables.endpoints[0].name = "renamed";
  const auto renamed = image::sample::build(tables);
  ASSERT_EQ(renamed.policy, sample().policy);
  ASSERT_NE(renamed.shards[0], sample().shards[0]);
  const auto digest = [](const image::sample::Image& image) {
    return image::image_digest(std::get<image::View>(image::validate(image.sections())));
  };
  abi::Amend message{};
  message.generation = 8;
  message.count = 1;
  message.places[0] = 1;
  std::memcpy(message.base, digest(sample()).bytes, sizeof message.base);
  std::memcpy(message.digest, digest(renamed).bytes, sizeof message.digest);
  const auto amend = [&](const abi::Amend& asked, std::span<const std::byte> section) {
    std::vector<Fd> fds;
    fds.push_back(sealed(section));
    abi::SwapReply reply;
    return ask(abi::MessageType::kAmend, asked, reply, std::move(fds));
  };
  const auto with = [&](auto change) {
    abi::Amend changed = message;
    change(changed);
    return changed;
  };
  EXPECT_EQ(amend(message, renamed.shards[0]), "the image to be amended is not the enforced one");
  ASSERT_EQ(swap(7), "");
  EXPECT_EQ(amend(with([](auto& m) { m.generation = 7; }), renamed.shards[0]),
            "generation 7 is not newer than the enforced 7");
  EXPECT_EQ(amend(with([](auto& m) { m.base[0] ^= 1; }), renamed.shards[0]),
            "the image to be amended is not the enforced one");
  EXPECT_EQ(amend(with([](auto& m) { m.count = 2; }), renamed.shards[0]), "2 sections with 1 descriptors");
  EXPECT_EQ(amend(with([](auto& m) { m.places[0] = 0; }), renamed.shards[0]),
            "image refused: a section that does not belong in place 0");
  std::vector<Fd> twice;
  for (int i = 0; i < 2; ++i) twice.push_back(sealed(renamed.shards[0]));
  abi::SwapReply unused;
  EXPECT_EQ(ask(abi::MessageType::kAmend, with([](auto& m) { m.count = 2, m.places[1] = 1; }), unused,
                std::move(twice)),
            "place 1 behind place 1, expected them to rise");
  EXPECT_EQ(amend(message, sample().policy), "image refused: a section that does not belong in place 1");
  EXPECT_EQ(amend(with([](auto& m) { m.places[0] = 2; }), renamed.shards[0]),
            "image refused: a section for place 2 of 2");
  EXPECT_NE(
      amend(with([](auto& m) { m.digest[0] ^= 1; }), renamed.shards[0]).find("another one was announced"),
      std::string::npos);
  std::vector<std::byte> damaged = renamed.shards[0];
  damaged.back() ^= std::byte{1};
  EXPECT_NE(amend(message, damaged).find("image refused"), std::string::npos);
  EXPECT_EQ(hello().generation, 7u) << "nothing of that is enforced";
  EXPECT_EQ(amend(message, renamed.shards[0]), "");
  EXPECT_EQ(hello().generation, 8u);
  EXPECT_EQ(std::memcmp(hello().digest, message.digest, sizeof message.digest), 0);
  start();
  EXPECT_EQ(hello().generation, 8u) << "and it is what comes back";
}

TEST_F(NodeTest, sections_may_be_offered_ahead_of_their_swap) {
  const auto offer = [this](const std::vector<std::byte>& section, bool is_first) {
    abi::Offer message{};
    message.is_first = is_first ? 1 : 0;
    std::vector<Fd> fds;
    fds.push_back(sealed(section));
    abi::Empty answer;
    return ask(abi::MessageType::kOffer, message, answer, std::move(fds));
  };
  EXPECT_EQ(offer(sample().policy, true), "");
  EXPECT_EQ(offer(sample().shards[0], false), "");
  EXPECT_EQ(swap(7, Fd(), Fd()), "");
  EXPECT_EQ(hello().generation, 7u);
  start_anew();
  EXPECT_EQ(offer(sample().policy, true), "");
  EXPECT_EQ(offer(sample().shards[0], false), "");
  EXPECT_NE(swap(0, Fd(), Fd()).find("not newer"), std::string::npos);
  EXPECT_NE(swap(7, Fd(), Fd()).find("was not offered"), std::string::npos) << "nor for the next";
  EXPECT_EQ(offer(sample().policy, true), "");
  EXPECT_EQ(offer(sample().shards[0], true), "") << "the one before goes";
  EXPECT_NE(swap(7, Fd(), Fd()).find("was not offered"), std::string::npos);
  EXPECT_NE(swap(7, sealed(sample().policy), Fd()).find("was not offered"), std::string::npos)
      << "an offer is for one swap";
  std::vector<std::byte> broken = sample().policy;
  broken.back() ^= std::byte{1};
  EXPECT_NE(offer(broken, true).find("image refused"), std::string::npos);
  for (std::uint32_t i = 0; i < abi::kSectionsMax; ++i) ASSERT_EQ(offer(sample().shards[0], i == 0), "");
  EXPECT_EQ(offer(sample().shards[0], false), "more than 513 sections offered");
}

TEST_F(NodeTest, image_is_read_from_any_section_on) {
  EXPECT_EQ(swap(7, sealed(sample().policy), sealed(sample().shards[0])), "");
  for (const std::uint32_t from : {0u, 1u, 2u, 0xffff'ffffu}) {
    abi::ImageRequest request{};
    request.from = from;
    abi::ImageReply reply;
    EXPECT_EQ(ask(abi::MessageType::kImage, request, reply), "");
    EXPECT_EQ(reply.sections, 2u);
    EXPECT_EQ(reply.count, from < 2 ? 2 - from : 0);
    EXPECT_EQ(reply.bytes[0], from == 0 ? sample().policy.size() : from == 1 ? sample().shards[0].size() : 0);
  }
}

TEST_F(NodeTest, without_an_image_there_is_none_to_show) {
  abi::ImageReply reply;
  EXPECT_EQ(ask(abi::MessageType::kImage, abi::ImageRequest{}, reply),
            "no image is enforced: nothing is forwarded");
  EXPECT_EQ(hello().generation, 0u);
}

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
