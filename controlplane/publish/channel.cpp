#include "controlplane/publish/channel.h"

#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <type_traits>

namespace bulkhead::publish {
namespace {

/// A change is answered within a millisecond, mostly, and a sleeper woken up within a tenth of one.
constexpr std::int64_t kAwakeUs = 1000;

std::int64_t now_us() {
  using namespace std::chrono;
  return duration_cast<microseconds>(steady_clock::now().time_since_epoch()).count();
}
std::int64_t now_ms() {
  return now_us() / 1000;
}

std::string system_error(const std::string& what) {
  return what + ": " + std::strerror(errno);
}

/// Waits for `events`; false once `deadline_ms` has passed.
bool wait(int fd, short events, std::int64_t deadline_ms) {
  for (;;) {
    pollfd item{fd, events, 0};
    const std::int64_t left_ms = std::max<std::int64_t>(0, deadline_ms - now_ms());
    const int ready = ::poll(&item, 1, static_cast<int>(left_ms));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) throw ChannelError(system_error("waiting for the data plane"));
    if (now_ms() >= deadline_ms) return false;
  }
}

template <std::size_t N>
void terminate(char (&text)[N]) {
  text[N - 1] = '\0';
}

template <std::size_t N>
void copy_text(char (&to)[N], std::string_view from) {
  const std::size_t bytes = std::min(from.size(), N - 1);
  std::memcpy(to, from.data(), bytes);
  std::memset(to + bytes, 0, N - bytes);
}

abi::SwapReply acknowledged(const abi::SwapReply& reply, std::uint64_t generation) {
  if (reply.generation == generation) return reply;
  throw ChannelError("generation " + std::to_string(generation) + " was sent and " +
                     std::to_string(reply.generation) + " acknowledged");
}

}  // namespace

Channel::Channel(Fd socket, std::string_view who, int timeout_ms)
    : socket_(std::move(socket)), who_(who), timeout_ms_(timeout_ms), buffer_(abi::kMessageBytesMax) {}

Channel Channel::connect(const std::string& socket_path, std::string_view who, int timeout_ms) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof address.sun_path) {
    throw ChannelError(socket_path + ": a socket's path has at most " +
                       std::to_string(sizeof address.sun_path - 1) + " bytes");
  }
  std::memcpy(address.sun_path, socket_path.c_str(), socket_path.size() + 1);

  Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) throw ChannelError(system_error("socket"));
  int result;
  do {
    result = ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  } while (result < 0 && errno == EINTR);
  if (result < 0) {
    const char* hint = errno == ENOENT || errno == ECONNREFUSED ? " (is bulkhead-dataplane running?)" : "";
    throw ChannelError(system_error(socket_path) + hint);
  }
  Channel channel(std::move(socket), who, timeout_ms);
  channel.hello();
  return channel;
}

void Channel::send(const void* message, std::size_t bytes, std::span<const int> fds) {
  iovec vector{const_cast<void*>(message), bytes};
  alignas(cmsghdr) char control[CMSG_SPACE(abi::kFdsMax * sizeof(int))] = {};
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  if (!fds.empty()) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(rights), fds.data(), fds.size_bytes());
  }
  const std::int64_t deadline_ms = now_ms() + timeout_ms_;
  for (;;) {
    const ssize_t sent = ::sendmsg(socket_.get(), &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent == static_cast<ssize_t>(bytes)) return;
    if (sent >= 0) throw ChannelError("the data plane's socket took only part of a message");
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != ENOBUFS) throw ChannelError(system_error("sending to the data plane"));
    if (!wait(socket_.get(), POLLOUT, deadline_ms)) {
      throw ChannelError("the data plane took no message for " + std::to_string(timeout_ms_) + " ms");
    }
  }
}

std::optional<abi::MessageHeader> Channel::receive(std::int64_t deadline_ms, std::vector<Fd>* fds) {
  iovec vector{buffer_.data(), buffer_.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(abi::kFdsMax * sizeof(int))];
  msghdr message{};
  ssize_t bytes;
  const std::int64_t awake_until_us = deadline_ms == 0 ? 0 : now_us() + kAwakeUs;
  for (;;) {
    message = {};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    bytes = ::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (bytes >= 0) break;
    if (errno == EINTR) continue;
    if (errno != EAGAIN) throw ChannelError(system_error("receiving from the data plane"));
    if (now_us() < awake_until_us) {
      sched_yield();
      continue;
    }
    if (!wait(socket_.get(), POLLIN, deadline_ms)) return std::nullopt;
  }
  std::vector<Fd> received;  // owned before anything is checked, so that a refused message leaks none
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
      received.emplace_back(fd);
    }
  }
  if (bytes == 0) throw ChannelError("the data plane closed the connection");
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    throw ChannelError("a message of the data plane is larger than any of this version");
  }
  abi::MessageHeader header;
  if (static_cast<std::size_t>(bytes) < sizeof header) {
    throw ChannelError("a message of " + std::to_string(bytes) + " bytes is shorter than its header");
  }
  std::memcpy(&header, buffer_.data(), sizeof header);
  if (header.magic != abi::kMessageMagic) throw ChannelError("what answers is not a Bulkhead data plane");
  if (header.version != abi::kVersion) {
    throw ChannelError("the data plane speaks version " + std::to_string(header.version) + ", this program " +
                       std::to_string(abi::kVersion) + ": install both from one release");
  }
  if (header.bytes != static_cast<std::size_t>(bytes)) {
    throw ChannelError("a message of " + std::to_string(bytes) + " bytes says it has " +
                       std::to_string(header.bytes));
  }
  received_bytes_ = static_cast<std::size_t>(bytes);
  if (fds != nullptr) *fds = std::move(received);
  return header;
}

abi::PortLost Channel::take_event() const {
  if (received_bytes_ != sizeof(abi::PortLost)) {
    throw ChannelError("a port-lost event has " + std::to_string(received_bytes_) + " bytes, expected " +
                       std::to_string(sizeof(abi::PortLost)));
  }
  abi::PortLost event;
  std::memcpy(&event, buffer_.data(), sizeof event);
  terminate(event.reason);
  return event;
}

template <class Reply, class Request>
Reply Channel::call(Request request, abi::MessageType type, std::span<const int> fds, std::size_t fds_back,
                    std::vector<Fd>* received) {
  static_assert(std::is_trivially_copyable_v<Request> && std::is_trivially_copyable_v<Reply>);
  request.header = {};
  request.header.type = type;
  request.header.sequence = ++sequence_;
  request.header.bytes = sizeof request;
  send(&request, sizeof request, fds);

  const std::int64_t deadline_ms = now_ms() + timeout_ms_;
  for (;;) {
    std::vector<Fd> descriptors;
    const auto header = receive(deadline_ms, &descriptors);
    if (!header)
      throw ChannelError("no answer from the data plane for " + std::to_string(timeout_ms_) + " ms");
    if (header->type == abi::MessageType::kPortLost) {
      events_.push_back(take_event());
      continue;
    }
    if (header->sequence != sequence_) throw ChannelError("an answer that was not asked for");
    if (header->type == abi::MessageType::kError && received_bytes_ == sizeof(abi::ErrorReply)) {
      abi::ErrorReply error;
      std::memcpy(&error, buffer_.data(), sizeof error);
      terminate(error.text);
      throw RequestRefused(error.text);
    }
    if (header->type != type) throw ChannelError("an answer of another type than the request's");
    if (received_bytes_ != sizeof(Reply)) {
      throw ChannelError("an answer of " + std::to_string(received_bytes_) + " bytes where " +
                         std::to_string(sizeof(Reply)) + " were expected");
    }
    if (descriptors.size() > fds_back) {
      throw ChannelError("an answer with " + std::to_string(descriptors.size()) +
                         " descriptors where at most " + std::to_string(fds_back) + " were expected");
    }
    Reply reply;
    std::memcpy(&reply, buffer_.data(), sizeof reply);
    if (received != nullptr) *received = std::move(descriptors);
    return reply;
  }
}

abi::HelloReply Channel::hello() {
  abi::Hello request{};
  copy_text(request.who, who_);
  return call<abi::HelloReply>(request, abi::MessageType::kHello);
}

abi::SwapReply Channel::swap(std::uint64_t generation, std::span<const OfferedSection> sections) {
  static_assert(abi::kSectionsMax == image::kShardsMax + 1);
  assert(sections.size() <= abi::kSectionsMax);
  abi::Swap request{};
  request.generation = generation;
  std::vector<int> fds;
  for (const OfferedSection& section : sections)
    if (section.fd >= 0) fds.push_back(section.fd);
  // The last ones come along with the swap, what is more ahead of it.
  const std::size_t ahead = fds.size() - std::min<std::size_t>(fds.size(), abi::kFdsMax);
  for (std::size_t first = 0; first < ahead; first += abi::kFdsMax) {
    abi::Offer offer{};
    offer.is_first = first == 0 ? 1 : 0;
    call<abi::Empty>(offer, abi::MessageType::kOffer,
                     std::span(fds).subspan(first, std::min<std::size_t>(ahead - first, abi::kFdsMax)));
  }
  const auto with_swap = std::span<const int>(fds).subspan(ahead);
  for (std::size_t new_ones = 0; const OfferedSection& section : sections) {
    const std::uint32_t number = request.sections++;
    std::memcpy(request.digests[number], section.digest.bytes, sizeof request.digests[number]);
    if (section.fd >= 0) request.is_new[number] = new_ones++ < ahead ? 0 : 1;
  }
  return acknowledged(call<abi::SwapReply>(request, abi::MessageType::kSwap, with_swap), generation);
}

abi::SwapReply Channel::amend(std::uint64_t generation, const image::Digest& base,
                              const image::Digest& digest, std::span<const ChangedSection> changes) {
  assert(!changes.empty() && changes.size() <= abi::kFdsMax);
  abi::Amend request{};
  request.generation = generation;
  std::memcpy(request.base, base.bytes, sizeof request.base);
  std::memcpy(request.digest, digest.bytes, sizeof request.digest);
  std::vector<int> fds;
  for (const ChangedSection& change : changes) {
    request.places[request.count++] = change.place;
    fds.push_back(change.fd);
  }
  return acknowledged(call<abi::SwapReply>(request, abi::MessageType::kAmend, fds), generation);
}

abi::AttachReply Channel::attach(abi::Attach request, int netns_fd) {
  const int fds[] = {netns_fd};
  const auto passed = netns_fd < 0 ? std::span<const int>{} : std::span<const int>{fds};
  const auto reply = call<abi::AttachReply>(request, abi::MessageType::kAttach, passed);
  if (reply.port != request.port) throw ChannelError("another port was attached than the one asked for");
  return reply;
}

void Channel::detach(std::uint32_t port, bool remove_device) {
  abi::Detach request{};
  request.port = port;
  request.remove_device = remove_device ? 1 : 0;
  call<abi::Empty>(request, abi::MessageType::kDetach);
}

std::vector<abi::PortInfo> Channel::ports() {
  std::vector<abi::PortInfo> ports;
  abi::PortsRequest request{};
  do {
    const auto reply = call<abi::PortsReply>(request, abi::MessageType::kPorts);
    if (reply.count > abi::kPortsPerReply)
      throw ChannelError("a port list that says it is longer than it is");
    for (std::uint32_t i = 0; i < reply.count; ++i) {
      abi::PortInfo port = reply.ports[i];
      terminate(port.interface_name);
      terminate(port.device);
      terminate(port.netns_path);
      ports.push_back(port);
    }
    // The numbers must rise, or a broken peer would keep us here for ever.
    if (reply.next != 0 && reply.next <= request.from) throw ChannelError("a port list without an end");
    request.from = reply.next;
  } while (request.from != 0);
  return ports;
}

EnforcedImage Channel::image() {
  constexpr int kRestartsMax = 100;
  int restarts = 0;
  EnforcedImage image;
  for (std::uint32_t sections = 1; image.sections.size() < sections;) {
    abi::ImageRequest request{};
    request.from = static_cast<std::uint32_t>(image.sections.size());
    std::vector<Fd> fds;
    const auto reply = call<abi::ImageReply>(request, abi::MessageType::kImage, {}, abi::kFdsMax, &fds);
    if (request.from != 0 && reply.generation != image.generation) {
      if (++restarts > kRestartsMax) throw ChannelError("the enforced image changes faster than it is read");
      image = {};
      continue;
    }
    if (reply.generation == 0 || reply.sections < 2 || reply.sections > abi::kSectionsMax || fds.empty() ||
        reply.count != fds.size() || fds.size() > reply.sections - request.from)
      throw ChannelError("an enforced image of " + std::to_string(reply.sections) + " sections, of which " +
                         std::to_string(reply.count) + " came with " + std::to_string(fds.size()) +
                         " descriptors");
    image.generation = reply.generation;
    sections = reply.sections;
    for (std::size_t i = 0; i < fds.size(); ++i)
      image.sections.push_back({reply.bytes[i], std::move(fds[i])});
  }
  return image;
}

Regions Channel::regions() {
  std::vector<Fd> fds;
  const auto reply = call<abi::RegionsReply>(abi::Empty{}, abi::MessageType::kRegions, {}, 2, &fds);
  if (fds.size() != 2) throw ChannelError("the data plane's regions came without their descriptors");
  return {reply.telemetry_bytes, reply.flow_table_bytes, std::move(fds[0]), std::move(fds[1])};
}

void Channel::subscribe() {
  call<abi::Empty>(abi::Empty{}, abi::MessageType::kSubscribe);
}

std::optional<abi::PortLost> Channel::next_event() {
  if (events_.empty()) {
    const auto header = receive(0, nullptr);
    if (!header) return std::nullopt;
    if (header->type != abi::MessageType::kPortLost) throw ChannelError("an answer that was not asked for");
    return take_event();
  }
  const abi::PortLost event = events_.front();
  events_.pop_front();
  return event;
}

}  // namespace bulkhead::publish
