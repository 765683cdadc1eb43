// The data plane's socket against clients that send anything: every message gets exactly one answer, only a well-formed one
// reaches the handler, and no descriptor stays behind.
//
//   input: sequence of | how | bytes low | bytes high | message |
//
// `how` modulo 7 is how many descriptors come along. With its top bit, the message is made a whole request of the type that
// its header names: no input has to guess sizes and versions.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "dataplane/control/server.h"

namespace {

using namespace bulkhead;
using control::Fd;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

/// A reply struct that takes up what a request of each kind brings.
control::Reply answer(control::Request& request) {
  const auto& header = *static_cast<const abi::MessageHeader*>(request.message);
  require(header.magic == abi::kMessageMagic && header.version == abi::kVersion,
          "magic and version are right");
  require(header.type == request.type, "type is the header's");
  switch (request.type) {
    case abi::MessageType::kSwap:
      require(header.bytes == sizeof(abi::Swap), "a swap is whole");
      return control::Reply::of(abi::SwapReply{});
    case abi::MessageType::kAmend:
      require(header.bytes == sizeof(abi::Amend) && !request.fds.empty(), "an amendment is whole");
      return control::Reply::of(abi::SwapReply{});
    case abi::MessageType::kOffer:
      require(header.bytes == sizeof(abi::Offer) && !request.fds.empty(), "an offer is whole");
      return control::Reply::of(abi::Empty{});
    case abi::MessageType::kAttach:
      require(header.bytes == sizeof(abi::Attach) && request.fds.size() <= 1, "an attach is whole");
      return control::Reply::error("no");
    case abi::MessageType::kPorts:
      return control::Reply::of(abi::PortsReply{});
    case abi::MessageType::kHello:
    case abi::MessageType::kDetach:
    case abi::MessageType::kImage:
    case abi::MessageType::kRegions:
      require(request.fds.empty(), "nothing came along");
      return control::Reply::of(abi::Empty{});
    default:
      require(false, "type is a request's");
      return {};
  }
}

std::size_t bytes_of(abi::MessageType type) {
  switch (type) {
    case abi::MessageType::kHello:
      return sizeof(abi::Hello);
    case abi::MessageType::kOffer:
      return sizeof(abi::Offer);
    case abi::MessageType::kSwap:
      return sizeof(abi::Swap);
    case abi::MessageType::kAmend:
      return sizeof(abi::Amend);
    case abi::MessageType::kAttach:
      return sizeof(abi::Attach);
    case abi::MessageType::kDetach:
      return sizeof(abi::Detach);
    case abi::MessageType::kPorts:
      return sizeof(abi::PortsRequest);
    case abi::MessageType::kImage:
      return sizeof(abi::ImageRequest);
    default:
      return sizeof(abi::Empty);
  }
}

void make_whole(std::vector<std::uint8_t>& message) {
  abi::MessageHeader header;
  message.resize(std::max(message.size(), sizeof header));
  std::memcpy(&header.type, message.data() + offsetof(abi::MessageHeader, type), sizeof header.type);
  message.resize(bytes_of(header.type));
  header.bytes = static_cast<std::uint32_t>(message.size());
  std::memcpy(message.data(), &header, sizeof header);
}

class Setting {
 public:
  Setting()
      : path_("/tmp/bulkhead-fuzz-control-" + std::to_string(getpid()) + ".sock"),
        epoll_(epoll_create1(EPOLL_CLOEXEC)),
        null_(open("/dev/null", O_RDONLY | O_CLOEXEC)),
        server_(path_, epoll_.get(), answer) {}

  void connect() {
    client_ = Fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path_.c_str(), path_.size() + 1);
    require(::connect(client_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0, "connects");
    serve();
  }
  void disconnect() {
    client_ = Fd();
    serve();
  }
  void exchange(const std::uint8_t* bytes, std::size_t count, std::size_t fds) {
    iovec part{const_cast<std::uint8_t*>(bytes), count};
    alignas(cmsghdr) char control[CMSG_SPACE(8 * sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (fds != 0) {
      message.msg_control = control;
      message.msg_controllen = CMSG_SPACE(fds * sizeof(int));
      cmsghdr* rights = CMSG_FIRSTHDR(&message);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(fds * sizeof(int));
      const int fd = null_.get();
      for (std::size_t i = 0; i < fds; ++i) std::memcpy(CMSG_DATA(rights) + i * sizeof fd, &fd, sizeof fd);
    }
    require(sendmsg(client_.get(), &message, MSG_NOSIGNAL) == static_cast<ssize_t>(count), "is sent");
    serve();
    static std::uint8_t reply[abi::kMessageBytesMax];
    const ssize_t got = recv(client_.get(), reply, sizeof reply, 0);
    require(got >= static_cast<ssize_t>(sizeof(abi::MessageHeader)), "is answered");
    abi::MessageHeader header;
    std::memcpy(&header, reply, sizeof header);
    require(header.magic == abi::kMessageMagic && header.bytes == static_cast<std::size_t>(got),
            "the answer is whole");
    require(recv(client_.get(), reply, sizeof reply, 0) < 0, "is answered once");
  }
  /// The lowest free descriptor: the same before and after, or something leaked.
  static int next_fd() {
    const Fd probe(open("/dev/null", O_RDONLY | O_CLOEXEC));
    return probe.get();
  }

 private:
  void serve() {
    epoll_event event;
    while (epoll_wait(epoll_.get(), &event, 1, 0) == 1) server_.handle(event.data.fd);
  }

  std::string path_;
  Fd epoll_, null_;
  control::Server server_;
  Fd client_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Setting setting;
  const int free_before = Setting::next_fd();
  setting.connect();
  while (size >= 4) {
    const std::size_t bytes = std::clamp<std::size_t>(data[1] | std::size_t{data[2]} << 8, 1, size - 3);
    std::vector<std::uint8_t> message(data + 3, data + 3 + bytes);
    if ((data[0] & 0x80) != 0) make_whole(message);
    setting.exchange(message.data(), message.size(), data[0] % 7);
    data += 3 + bytes;
    size -= 3 + bytes;
  }
  setting.disconnect();
  require(Setting::next_fd() == free_before, "no descriptor stays behind");
  return 0;
}
