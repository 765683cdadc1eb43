#include "controlplane/publish/channel.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/time.h>

#include <algorithm>

#include "tests/unit/publish/fake_dataplane.h"

namespace bulkhead::publish {
namespace {

std::string socket_path() {
  return ::testing::TempDir() + "bulkhead-channel-" + std::to_string(::getpid()) + ".sock";
}

template <class Message>
std::string bytes_of(const Message& message) {
  return {reinterpret_cast<const char*>(&message), sizeof message};
}

/// An answer to the request after the handshake, right in everything.
template <class Message>
Message good_answer(abi::MessageType type) {
  Message message{};
  message.header.type = type;
  message.header.sequence = 2;
  message.header.bytes = sizeof message;
  return message;
}

template <class Call>
std::string channel_error(Call call) {
  try {
    call();
  } catch (const ChannelError& error) {
    return error.what();
  } catch (const std::exception& error) {
    return std::string("another error: ") + error.what();
  }
  return "no error";
}

class ChannelTest : public ::testing::Test {
 protected:
  FakeDataplane dataplane{socket_path()};
  Channel channel = Channel::connect(socket_path(), "test", 1000);
};

TEST(ChannelConnect, a_missing_socket_is_named_with_a_hint) {
  EXPECT_EQ(channel_error([] { Channel::connect("/nonexistent/dataplane.sock", "test"); }),
            "/nonexistent/dataplane.sock: No such file or directory (is bulkhead-dataplane running?)");
}

TEST_F(ChannelTest, a_port_list_longer_than_one_reply_arrives_whole) {
  std::map<std::uint32_t, abi::PortInfo> ports;
  for (std::uint32_t i = 1; i <= 300; ++i) ports[i].port = i;
  dataplane.set_ports(ports);
  const auto listed = channel.ports();
  ASSERT_EQ(listed.size(), 300u);
  EXPECT_EQ(listed.back().port, 300u);
}

TEST_F(ChannelTest, an_image_of_more_sections_than_a_message_carries_goes_and_comes_whole) {
  constexpr std::size_t kSections = 2 * abi::kFdsMax + 40;
  std::vector<std::vector<std::byte>> sections;
  std::vector<Fd> fds;
  std::vector<OfferedSection> offered;
  for (std::size_t i = 0; i < kSections; ++i) {
    sections.emplace_back(200, std::byte(i));
    sections.back().back() = std::byte(i >> 8);
    fds.push_back(sealed_memfd("section", sections.back()));
    offered.push_back({image::digest_of(sections.back()), fds.back().get()});
  }
  EXPECT_EQ(channel.swap(3, offered).generation, 3u);
  const auto published = dataplane.published();
  ASSERT_EQ(published.size(), 1u);
  ASSERT_EQ(published[0].sections.size(), kSections);
  for (std::size_t i = 0; i < kSections; ++i)
    EXPECT_EQ(static_cast<std::byte>(published[0].sections[i][0]), std::byte(i));
  EXPECT_EQ(std::count(published[0].sent.begin(), published[0].sent.end(), true), abi::kFdsMax);

  const EnforcedImage image = channel.image();
  EXPECT_EQ(image.generation, 3u);
  ASSERT_EQ(image.sections.size(), kSections);
  for (std::size_t i = 0; i < kSections; ++i) {
    std::byte first{};
    EXPECT_EQ(pread(image.sections[i].fd.get(), &first, 1, 0), 1);
    EXPECT_EQ(first, std::byte(i));
    EXPECT_EQ(image.sections[i].bytes, 200u);
  }
  dataplane.set_restless();
  EXPECT_EQ(channel_error([&] { channel.image(); }), "the enforced image changes faster than it is read");
}

TEST_F(ChannelTest, a_port_list_that_never_ends_is_refused) {
  auto reply = good_answer<abi::PortsReply>(abi::MessageType::kPorts);
  reply.next = 5;
  dataplane.answer_next_with(bytes_of(reply));
  reply.header.sequence = 3;
  dataplane.answer_next_with(bytes_of(reply));
  EXPECT_EQ(channel_error([&] { channel.ports(); }), "a port list without an end");
}

TEST_F(ChannelTest, a_port_list_that_overstates_its_count_is_refused) {
  auto reply = good_answer<abi::PortsReply>(abi::MessageType::kPorts);
  reply.count = abi::kPortsPerReply + 1;
  dataplane.answer_next_with(bytes_of(reply));
  EXPECT_EQ(channel_error([&] { channel.ports(); }), "a port list that says it is longer than it is");
}

TEST_F(ChannelTest, a_refusal_leaves_the_channel_usable) {
  dataplane.refuse_swaps("the image is too old");
  try {
    channel.swap(1, {});
    FAIL() << "the refusal was not seen";
  } catch (const RequestRefused& refused) {
    EXPECT_STREQ(refused.what(), "the image is too old");
  }
  EXPECT_EQ(channel.hello().pid, 4711u);
}

TEST_F(ChannelTest, a_short_message_is_refused) {
  dataplane.answer_next_with("BLHK");
  EXPECT_EQ(channel_error([&] { channel.hello(); }), "a message of 4 bytes is shorter than its header");
}

TEST_F(ChannelTest, a_message_of_another_size_than_its_type_is_refused) {
  dataplane.answer_next_with(bytes_of(good_answer<abi::Empty>(abi::MessageType::kHello)));
  EXPECT_EQ(channel_error([&] { channel.hello(); }), "an answer of 24 bytes where 104 were expected");
}

TEST_F(ChannelTest, an_oversized_message_is_refused) {
  dataplane.answer_next_with(std::string(abi::kMessageBytesMax + 1, 'x'));
  EXPECT_EQ(channel_error([&] { channel.hello(); }),
            "a message of the data plane is larger than any of this version");
}

TEST_F(ChannelTest, another_version_is_refused_by_name) {
  auto reply = good_answer<abi::HelloReply>(abi::MessageType::kHello);
  reply.header.version = abi::kVersion + 1;
  dataplane.answer_next_with(bytes_of(reply));
  EXPECT_EQ(channel_error([&] { channel.hello(); }),
            "the data plane speaks version " + std::to_string(abi::kVersion + 1) + ", this program " +
                std::to_string(abi::kVersion) + ": install both from one release");
}

TEST_F(ChannelTest, a_foreign_magic_is_refused) {
  auto reply = good_answer<abi::HelloReply>(abi::MessageType::kHello);
  reply.header.magic = 1;
  dataplane.answer_next_with(bytes_of(reply));
  EXPECT_EQ(channel_error([&] { channel.hello(); }), "what answers is not a Bulkhead data plane");
}

TEST_F(ChannelTest, an_answer_to_another_request_is_refused) {
  auto reply = good_answer<abi::HelloReply>(abi::MessageType::kHello);
  reply.header.sequence = 99;
  dataplane.answer_next_with(bytes_of(reply));
  EXPECT_EQ(channel_error([&] { channel.hello(); }), "an answer that was not asked for");
}

TEST_F(ChannelTest, a_silent_data_plane_is_given_up_in_time) {
  Channel impatient = [] {
    int pair[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    static Fd other_end(pair[1]);
    return Channel(Fd{pair[0]}, "test", 50);
  }();
  EXPECT_EQ(channel_error([&] { impatient.hello(); }), "no answer from the data plane for 50 ms");
}

TEST_F(ChannelTest, a_closed_connection_is_an_error_not_a_signal) {
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
  Channel broken(Fd{pair[0]}, "test", 1000);
  ::close(pair[1]);
  EXPECT_EQ(channel_error([&] { broken.hello(); }), "sending to the data plane: Broken pipe");
}

TEST_F(ChannelTest, events_between_answers_are_kept_in_order) {
  channel.subscribe();
  dataplane.send_event_before_next_answer(7);
  channel.hello();
  dataplane.send_event_before_next_answer(8);
  channel.hello();
  const auto first = channel.next_event();
  const auto second = channel.next_event();
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->port, 7u);
  EXPECT_EQ(second->port, 8u);
  EXPECT_FALSE(channel.next_event());
}

TEST_F(ChannelTest, a_text_without_an_end_stays_within_its_field) {
  auto reply = good_answer<abi::ErrorReply>(abi::MessageType::kError);
  std::memset(reply.text, 'x', sizeof reply.text);
  dataplane.answer_next_with(bytes_of(reply));
  try {
    channel.hello();
    FAIL();
  } catch (const RequestRefused& refused) {
    EXPECT_EQ(std::strlen(refused.what()), sizeof reply.text - 1);
  }
}

TEST_F(ChannelTest, interrupted_system_calls_are_taken_up_again) {
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
  Channel slow(Fd{pair[0]}, "test", 5000);
  struct sigaction action {};
  action.sa_handler = [](int) {};  // without SA_RESTART: poll and recvmsg return EINTR
  struct sigaction before {};
  ASSERT_EQ(::sigaction(SIGALRM, &action, &before), 0);
  const pthread_t caller = ::pthread_self();
  std::jthread peer([&] {
    for (int i = 0; i < 50; ++i) {
      ::pthread_kill(caller, SIGALRM);
      ::usleep(1000);
    }
    auto reply = good_answer<abi::HelloReply>(abi::MessageType::kHello);
    reply.header.sequence = 1;
    reply.generation = 12;
    EXPECT_EQ(::send(pair[1], &reply, sizeof reply, 0), static_cast<ssize_t>(sizeof reply));
  });
  EXPECT_EQ(slow.hello().generation, 12u);
  peer.join();
  ::sigaction(SIGALRM, &before, nullptr);
  ::close(pair[1]);
}

}  // namespace
}  // namespace bulkhead::publish
