// A node as its socket's clients see it, and what they ask of it. No worker runs: the control thread is alone.
#pragma once

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

#include "dataplane/control/node.h"
#include "tests/unit/image/sample.h"

namespace bulkhead::control {

namespace fs = std::filesystem;

inline Eal eal() {
  static const Eal made{
      {rte_pktmbuf_pool_create("small", 8191, 0, 0, RTE_PKTMBUF_HEADROOM + 2048, SOCKET_ID_ANY),
       rte_pktmbuf_pool_create("large", 31, 0, 0, 65535, SOCKET_ID_ANY)},
      false};
  return made;
}

inline const image::sample::Image& sample() {
  static const auto made = image::sample::build(image::sample::make_tables());
  return made;
}

inline Fd sealed(std::span<const std::byte> bytes, int seals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK) {
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

}  // namespace bulkhead::control
