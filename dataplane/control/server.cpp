#include "dataplane/control/server.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>
#include <utility>

namespace bulkhead::control {
namespace {

constexpr std::size_t kClientsMax = 64;

struct Shape {
  std::size_t bytes;
  std::size_t fds_min, fds_max;
};

/// What a request of this type must look like; bytes 0: no request.
Shape shape(abi::MessageType type) {
  switch (type) {
    case abi::MessageType::kHello:
      return {sizeof(abi::Hello), 0, 0};
    case abi::MessageType::kOffer:
      return {sizeof(abi::Offer), 1, abi::kFdsMax};
    case abi::MessageType::kSwap:
      return {sizeof(abi::Swap), 0, abi::kFdsMax};
    case abi::MessageType::kAmend:
      return {sizeof(abi::Amend), 1, abi::kFdsMax};
    case abi::MessageType::kAttach:
      return {sizeof(abi::Attach), 0, 1};
    case abi::MessageType::kDetach:
      return {sizeof(abi::Detach), 0, 0};
    case abi::MessageType::kPorts:
      return {sizeof(abi::PortsRequest), 0, 0};
    case abi::MessageType::kImage:
      return {sizeof(abi::ImageRequest), 0, 0};
    case abi::MessageType::kRegions:
    case abi::MessageType::kSubscribe:
      return {sizeof(abi::Empty), 0, 0};
    default:
      return {0, 0, 0};
  }
}

std::string misshapen(const abi::MessageHeader& header, std::size_t bytes, std::size_t fds) {
  if (header.magic != abi::kMessageMagic) return "not a Bulkhead message";
  if (header.version != abi::kVersion)
    return "protocol version " + std::to_string(header.version) + ", expected " +
           std::to_string(abi::kVersion) + ": install matching versions of all parts";
  const Shape expected = shape(header.type);
  if (expected.bytes == 0)
    return "unknown message type " + std::to_string(static_cast<unsigned>(header.type));
  if (bytes != expected.bytes || header.bytes != bytes)
    return "message of " + std::to_string(bytes) + " bytes, expected " + std::to_string(expected.bytes);
  if (fds < expected.fds_min || fds > expected.fds_max)
    return std::to_string(fds) + " file descriptors, expected " + std::to_string(expected.fds_min) + " to " +
           std::to_string(expected.fds_max);
  return {};
}

bool send_message(int socket, std::span<const std::byte> bytes, const std::vector<int>& fds) {
  iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(abi::kFdsMax * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(rights), fds.data(), fds.size() * sizeof(int));
  }
  ssize_t sent;
  do sent = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(bytes.size());
}

std::vector<Fd> take_fds(msghdr& message) {
  std::vector<Fd> fds;
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof fd);
      fds.emplace_back(fd);
    }
  }
  return fds;
}

}  // namespace

Fd& Fd::operator=(Fd&& other) noexcept {
  if (fd_ >= 0) close(fd_);
  fd_ = other.release();
  return *this;
}

Fd::~Fd() {
  if (fd_ >= 0) close(fd_);
}

int Fd::release() {
  return std::exchange(fd_, -1);
}

Reply Reply::error(const std::string& text) {
  abi::ErrorReply reply{};
  reply.header.type = abi::MessageType::kError;
  std::snprintf(reply.text, sizeof reply.text, "%s", text.c_str());
  return of(reply);
}

Server::Server(const std::string& path, int epoll, Handler handler)
    : path_(path), epoll_(epoll), handler_(std::move(handler)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    throw std::system_error(ENAMETOOLONG, std::generic_category(), "socket " + path);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  listener_ = Fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  unlink(path.c_str());
  const mode_t mask = umask(0177);
  const int bound = bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
  umask(mask);
  if (bound != 0 || listen(listener_.get(), 16) != 0)
    throw std::system_error(errno, std::generic_category(), "socket " + path);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = listener_.get();
  epoll_ctl(epoll_, EPOLL_CTL_ADD, listener_.get(), &event);
}

Server::~Server() {
  unlink(path_.c_str());
}

bool Server::handle(int fd) {
  if (fd == listener_.get()) {
    accept_client();
    return true;
  }
  const auto found = std::find_if(clients_.begin(), clients_.end(),
                                  [fd](const auto& client) { return client->socket.get() == fd; });
  if (found == clients_.end()) return false;
  if (!serve(**found)) clients_.erase(found);
  return true;
}

void Server::accept_client() {
  Fd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (socket.get() < 0 || clients_.size() >= kClientsMax) return;
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = socket.get();
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, socket.get(), &event) != 0) return;
  clients_.push_back(std::make_unique<Client>(Client{std::move(socket)}));
}

bool Server::serve(Client& client) {
  alignas(8) std::byte bytes[sizeof(abi::Swap) + 1024];
  static_assert(sizeof(abi::Swap) > sizeof(abi::Attach));
  iovec part{bytes, sizeof bytes};
  alignas(cmsghdr) char control[CMSG_SPACE(abi::kFdsMax * sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t received = recvmsg(client.socket.get(), &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (received < 0) return errno == EAGAIN || errno == EINTR;
  std::vector<Fd> fds = take_fds(message);
  if (received == 0) return false;

  abi::MessageHeader header{};
  std::string wrong;
  if (static_cast<std::size_t>(received) < sizeof header ||
      (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0)
    wrong = "message too short or too long";
  else {
    std::memcpy(&header, bytes, sizeof header);
    wrong = misshapen(header, static_cast<std::size_t>(received), fds.size());
  }
  Reply reply;
  if (!wrong.empty()) {
    reply = Reply::error(wrong);
  } else if (header.type == abi::MessageType::kSubscribe) {
    client.subscribed = true;
    reply = Reply::of(abi::Empty{});
  } else {
    Request request{header.type, bytes, std::move(fds)};
    reply = handler_(request);
  }
  abi::MessageHeader answer{};
  std::memcpy(&answer, reply.bytes.data(), sizeof answer);
  const bool failed = !wrong.empty() || (answer.type == abi::MessageType::kError &&
                                         reply.bytes.size() == sizeof(abi::ErrorReply));
  answer.magic = abi::kMessageMagic;
  answer.version = abi::kVersion;
  answer.type = failed ? abi::MessageType::kError : header.type;
  answer.sequence = header.sequence;
  answer.bytes = static_cast<std::uint32_t>(reply.bytes.size());
  std::memcpy(reply.bytes.data(), &answer, sizeof answer);
  const bool sent = send_message(client.socket.get(), reply.bytes, reply.fds);
  if (reply.afterwards) reply.afterwards();
  return sent;
}

void Server::announce(const abi::PortLost& event) {
  const auto* first = reinterpret_cast<const std::byte*>(&event);
  for (const auto& client : clients_)
    if (client->subscribed) send_message(client->socket.get(), {first, first + sizeof event}, {});
}

}  // namespace bulkhead::control
