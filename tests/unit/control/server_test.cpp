#include "dataplane/control/server.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <system_error>

namespace bulkhead::control {
namespace {

std::ptrdiff_t open_fds() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
}

std::string socket_path() {
  return testing::TempDir() + "bulkhead-server-" + std::to_string(getpid()) + ".sock";
}

template <class Message>
Message request(abi::MessageType type) {
  Message message{};
  message.header = {abi::kMessageMagic, abi::kVersion, type, 0, 77, sizeof message, 0};
  return message;
}

class ServerTest : public testing::Test {
 protected:
  ServerTest()
      : epoll_(epoll_create1(EPOLL_CLOEXEC)), server_(socket_path(), epoll_.get(), [this](Request& asked) {
          ++handled_;
          fds_seen_ = asked.fds.size();
          return answer_ ? answer_(asked) : Reply::of(abi::Empty{});
        }) {}

  Fd connected() {
    Fd client(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, socket_path().c_str(), sizeof address.sun_path - 1);
    EXPECT_EQ(connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    serve();
    return client;
  }
  /// Lets the server do all it has to do.
  void serve() {
    epoll_event event;
    while (epoll_wait(epoll_.get(), &event, 1, 0) == 1) ASSERT_TRUE(server_.handle(event.data.fd));
  }
  static void send_bytes(const Fd& client, const void* bytes, std::size_t count, std::size_t fds = 0) {
    iovec part{const_cast<void*>(bytes), count};
    alignas(cmsghdr) char control[CMSG_SPACE(140 * sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    const Fd extra(memfd_create("extra", MFD_CLOEXEC));
    if (fds != 0) {
      message.msg_control = control;
      message.msg_controllen = CMSG_SPACE(fds * sizeof(int));
      cmsghdr* rights = CMSG_FIRSTHDR(&message);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(fds * sizeof(int));
      for (std::size_t i = 0; i < fds; ++i) {
        const int fd = extra.get();
        std::memcpy(CMSG_DATA(rights) + i * sizeof fd, &fd, sizeof fd);
      }
    }
    ASSERT_EQ(sendmsg(client.get(), &message, MSG_NOSIGNAL), static_cast<ssize_t>(count));
  }
  /// The text of the error that comes back; "" for another answer, "gone" where we are hung up on.
  static std::string error_from(const Fd& client, std::uint32_t sequence = 77) {
    abi::ErrorReply reply{};
    const ssize_t n = recv(client.get(), &reply, sizeof reply, 0);
    if (n == 0 || (n < 0 && errno == ECONNRESET)) return "gone";
    EXPECT_GE(n, static_cast<ssize_t>(sizeof(abi::MessageHeader)));
    EXPECT_EQ(reply.header.magic, abi::kMessageMagic);
    EXPECT_EQ(reply.header.bytes, static_cast<std::uint32_t>(n));
    EXPECT_EQ(reply.header.sequence, sequence);
    return reply.header.type == abi::MessageType::kError ? reply.text : "";
  }
  template <class Message>
  std::string ask(const Fd& client, const Message& message, std::size_t fds = 0,
                  std::size_t bytes = sizeof(Message)) {
    send_bytes(client, &message, bytes, fds);
    serve();
    return error_from(client, bytes < sizeof(abi::MessageHeader) ? 0 : message.header.sequence);
  }

  Fd epoll_;
  std::function<Reply(Request&)> answer_;
  int handled_ = 0;
  std::size_t fds_seen_ = 0;
  Server server_;
};

TEST_F(ServerTest, misshapen_message_never_reaches_the_handler_and_the_client_is_told_why) {
  const Fd client = connected();
  const auto before = open_fds();
  auto hello = request<abi::Hello>(abi::MessageType::kHello);
  hello.header.magic = 1;
  EXPECT_EQ(ask(client, hello), "not a Bulkhead message");
  hello = request<abi::Hello>(abi::MessageType::kHello);
  hello.header.version = abi::kVersion + 1;
  EXPECT_NE(ask(client, hello).find("expected " + std::to_string(abi::kVersion)), std::string::npos);
  for (const std::uint16_t type : {std::uint16_t{0}, std::uint16_t{11}, std::uint16_t{0xffff}})
    EXPECT_EQ(ask(client, request<abi::Hello>(static_cast<abi::MessageType>(type))),
              "unknown message type " + std::to_string(type));
  hello = request<abi::Hello>(abi::MessageType::kHello);
  hello.header.bytes = 24;
  EXPECT_EQ(ask(client, hello), "message of 56 bytes, expected 56") << "the header's own count is wrong";
  hello.header.bytes = 55;
  EXPECT_EQ(ask(client, hello, 0, 55), "message of 55 bytes, expected 56");
  EXPECT_EQ(ask(client, hello, 0, 23), "message too short or too long");
  EXPECT_EQ(ask(client, hello, 0, 1), "message too short or too long");
  std::vector<char> long_one(sizeof(abi::Swap) + 2048);
  std::memcpy(long_one.data(), &hello, sizeof hello);
  send_bytes(client, long_one.data(), long_one.size());
  serve();
  EXPECT_EQ(error_from(client, 0), "message too short or too long");
  EXPECT_EQ(handled_, 0);
  EXPECT_EQ(open_fds(), before);
}

TEST_F(ServerTest, wrong_number_of_descriptors_is_refused_and_none_is_kept) {
  const Fd client = connected();
  const auto before = open_fds();
  const auto swap = request<abi::Swap>(abi::MessageType::kSwap);
  const auto attach = request<abi::Attach>(abi::MessageType::kAttach);
  for (const std::size_t fds : {2, 3, 4})
    EXPECT_NE(ask(client, attach, fds).find("expected 0 to 1"), std::string::npos);
  send_bytes(client, &swap, sizeof swap, abi::kFdsMax + 2);
  serve();
  EXPECT_EQ(error_from(client, 0), "message too short or too long") << "more than we have room for";
  EXPECT_NE(ask(client, request<abi::Hello>(abi::MessageType::kHello), 1).find("1 file descriptors"),
            std::string::npos);
  EXPECT_EQ(handled_, 0);
  EXPECT_EQ(ask(client, swap, 2), "");
  EXPECT_EQ(fds_seen_, 2u);
  EXPECT_EQ(handled_, 1);
  EXPECT_EQ(open_fds(), before) << "what the handler does not take is closed";
}

TEST_F(ServerTest, answers_carry_the_request_s_type_and_sequence_and_descriptors) {
  const Fd client = connected();
  answer_ = [this](Request&) { return Reply::of(abi::ImageReply{}, {epoll_.get(), epoll_.get()}); };
  const auto asked = request<abi::ImageRequest>(abi::MessageType::kImage);
  send_bytes(client, &asked, sizeof asked);
  serve();
  abi::ImageReply reply{};
  iovec part{&reply, sizeof reply};
  alignas(cmsghdr) char control[CMSG_SPACE(4 * sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ASSERT_EQ(recvmsg(client.get(), &message, MSG_CMSG_CLOEXEC), static_cast<ssize_t>(sizeof reply));
  EXPECT_EQ(reply.header.type, abi::MessageType::kImage);
  EXPECT_EQ(reply.header.sequence, 77u);
  ASSERT_EQ(CMSG_FIRSTHDR(&message)->cmsg_len, CMSG_LEN(2 * sizeof(int)));
  for (int i = 0; i < 2; ++i) {
    int fd;
    std::memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)) + static_cast<std::size_t>(i) * sizeof fd, sizeof fd);
    close(fd);
  }
  answer_ = [](Request&) { return Reply::error("no"); };
  EXPECT_EQ(ask(client, asked), "no");
}

TEST_F(ServerTest, client_that_never_reads_is_let_go_and_blocks_nobody) {
  const auto before = open_fds();
  {
    const Fd deaf = connected(), client = connected();
    answer_ = [](Request&) { return Reply::of(abi::PortsReply{}); };
    const auto ports = request<abi::PortsRequest>(abi::MessageType::kPorts);
    for (int i = 0; i < 64; ++i)
      if (send(deaf.get(), &ports, sizeof ports, MSG_NOSIGNAL) > 0) serve();
    EXPECT_LT(handled_, 64) << "it was let go long before";
    answer_ = nullptr;
    EXPECT_EQ(ask(client, request<abi::Hello>(abi::MessageType::kHello)), "");
  }
  serve();
  EXPECT_EQ(open_fds(), before);
}

TEST_F(ServerTest, only_who_subscribed_hears_of_lost_ports) {
  const Fd one = connected(), two = connected();
  EXPECT_EQ(ask(one, request<abi::Empty>(abi::MessageType::kSubscribe)), "");
  abi::PortLost event{};
  event.header = {abi::kMessageMagic, abi::kVersion, abi::MessageType::kPortLost, 0, 0, sizeof event, 0};
  event.port = 9;
  for (int i = 0; i < 5'000; ++i) server_.announce(event);  // a subscriber that does not read blocks nobody
  abi::PortLost heard{};
  ASSERT_EQ(recv(one.get(), &heard, sizeof heard, 0), static_cast<ssize_t>(sizeof heard));
  EXPECT_EQ(heard.port, 9u);
  EXPECT_EQ(recv(two.get(), &heard, sizeof heard, 0), -1);
}

TEST_F(ServerTest, too_many_clients_are_turned_away_and_leave_room_when_they_go) {
  {
    std::vector<Fd> crowd;
    for (int i = 0; i < 64; ++i) crowd.push_back(connected());
    const Fd late = connected();
    EXPECT_EQ(error_from(late), "gone");
    EXPECT_EQ(ask(crowd.front(), request<abi::Hello>(abi::MessageType::kHello)), "");
  }
  serve();
  EXPECT_EQ(ask(connected(), request<abi::Hello>(abi::MessageType::kHello)), "");
}

TEST_F(ServerTest, socket_is_its_owner_s_alone) {
  struct stat info {};
  ASSERT_EQ(stat(socket_path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST(ServerPath, too_long_or_unreachable_path_is_an_error_that_names_it) {
  const Fd epoll(epoll_create1(EPOLL_CLOEXEC));
  for (const std::string& path : {"/tmp/" + std::string(200, 'x'), std::string("/nowhere/at/all.sock")}) {
    try {
      Server server(path, epoll.get(), {});
      ADD_FAILURE() << path;
    } catch (const std::system_error& error) {
      EXPECT_NE(std::string(error.what()).find(path), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace bulkhead::control
