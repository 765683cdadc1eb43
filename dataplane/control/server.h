// The data plane's socket: many clients, whole messages, file descriptors along with them.
//
// Framing only: a message of another magic, version, type or size never reaches the handler, and the client is told why.
// Everything runs on the control thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dataplane/abi/messages.h"

namespace bulkhead::control {

/// An owned file descriptor.
class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.release()) {}
  Fd& operator=(Fd&& other) noexcept;
  ~Fd();
  int get() const { return fd_; }
  int release();

 private:
  int fd_;
};

struct Request {
  abi::MessageType type;
  const void* message;  // the struct that belongs to `type`, whole
  std::vector<Fd> fds;  // as many as the table in messages.h says; the handler may take them
};

/// What goes back: bytes of one reply struct (its header is filled in by the server) and borrowed descriptors; and what is
/// to be done once it is on its way, before anything else is served.
struct Reply {
  std::vector<std::byte> bytes;
  std::vector<int> fds;
  std::function<void()> afterwards = {};

  template <typename Message>
  static Reply of(const Message& message, std::vector<int> fds = {}) {
    const auto* first = reinterpret_cast<const std::byte*>(&message);
    return {{first, first + sizeof(Message)}, std::move(fds), {}};
  }
  static Reply error(const std::string& text);
};

class Server {
 public:
  using Handler = std::function<Reply(Request&)>;

  /// Listens at `path` (mode 0600, an old socket there is replaced). Throws std::system_error.
  Server(const std::string& path, int epoll, Handler handler);
  ~Server();
  Server(const Server&) = delete;

  /// Call for every epoll event whose data is one of ours; false if it is not.
  bool handle(int fd);

  /// To every client that subscribed. A client that does not read loses the event, nobody waits.
  void announce(const abi::PortLost& event);

 private:
  struct Client {
    Fd socket;
    bool subscribed = false;
  };
  void accept_client();
  bool serve(Client& client);  // false: gone

  std::string path_;
  int epoll_;
  Handler handler_;
  Fd listener_;
  std::vector<std::unique_ptr<Client>> clients_;
};

}  // namespace bulkhead::control
