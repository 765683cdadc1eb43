// The client's end of the data plane's socket: requests go down, exactly one answer comes back.
//
// Messages and descriptors are as dataplane/abi/messages.h says. Whatever arrives is untrusted until its
// size, magic, version, type and sequence were checked here; what a call returns is a checked value whose
// strings end within their fields. One thread uses a Channel. Calls block, at most `timeout_ms` each, and go
// on after EINTR.
//
//   Channel channel = Channel::connect("/run/bulkhead/dataplane.sock", "bulkheadctl");
//   for (const abi::PortInfo& port : channel.ports()) ...
//
// Two ways to fail. `RequestRefused`: the data plane answered no and said why; the channel goes on.
// `ChannelError`: no connection, no answer in time, or bytes that are no answer; the channel is of no more
// use and is thrown away (what the data plane did with the last request is then unknown: ask again after
// reconnect).
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "controlplane/publish/fd.h"
#include "dataplane/abi/messages.h"
#include "dataplane/image/format.h"

namespace bulkhead::publish {

struct ChannelError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct RequestRefused : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The enforced sections, sealed or read-only: the policy section, then the shards.
struct EnforcedImage {
  struct Section {
    std::uint64_t bytes = 0;
    Fd fd;
  };
  std::uint64_t generation = 0;
  std::vector<Section> sections;
};

/// A section of an image to be enforced. The descriptor is borrowed; -1: the data plane has the section.
struct OfferedSection {
  image::Digest digest{};
  int fd = -1;
};

/// A section that is another than in the enforced image. The descriptor is borrowed.
struct ChangedSection {
  std::uint16_t place = 0;  // 0: the policy section; the shards follow
  int fd = -1;
};

/// What the data plane shows of itself, to be mapped read-only.
struct Regions {
  std::uint64_t telemetry_bytes = 0;
  std::uint64_t flow_table_bytes = 0;
  Fd telemetry;
  Fd flow_table;
};

class Channel {
 public:
  /// Connects and says hello. `who` (at most 31 bytes) is what the data plane logs. ChannelError names the
  /// socket.
  static Channel connect(const std::string& socket_path, std::string_view who, int timeout_ms = 10'000);

  /// A channel over a connected SOCK_SEQPACKET socket, before hello().
  Channel(Fd socket, std::string_view who, int timeout_ms);

  abi::HelloReply hello();
  /// The policy section, then the shards; at most abi::kSectionsMax.
  abi::SwapReply swap(std::uint64_t generation, std::span<const OfferedSection> sections);
  /// Makes `digest` of the image `base`, which must be the enforced one. `changes`: 1 to abi::kFdsMax, their places rising.
  abi::SwapReply amend(std::uint64_t generation, const image::Digest& base, const image::Digest& digest,
                       std::span<const ChangedSection> changes);

  /// `request.header` is filled in here. `netns_fd` -1: the data plane's own network namespace.
  abi::AttachReply attach(abi::Attach request, int netns_fd = -1);
  void detach(std::uint32_t port, bool remove_device);

  /// Every attached port, however many replies it takes.
  std::vector<abi::PortInfo> ports();
  EnforcedImage image();  // RequestRefused where none is enforced
  Regions regions();

  /// From now on PortLost events arrive. They are taken in during any call; `next_event` gives them one by
  /// one, without blocking, also those that wait on the socket. None is left when it returns nothing.
  void subscribe();
  std::optional<abi::PortLost> next_event();

  /// Readable when an event waits on the socket or the data plane has gone (next_event throws then).
  int fd() const { return socket_.get(); }

 private:
  void send(const void* message, std::size_t bytes, std::span<const int> fds);
  template <class Reply, class Request>
  Reply call(Request request, abi::MessageType type, std::span<const int> fds = {}, std::size_t fds_back = 0,
             std::vector<Fd>* received = nullptr);
  /// One whole datagram into buffer_, its header checked. Nothing when `deadline_ms` passes (0: at once).
  std::optional<abi::MessageHeader> receive(std::int64_t deadline_ms, std::vector<Fd>* fds);
  abi::PortLost take_event() const;

  Fd socket_;
  std::string who_;
  int timeout_ms_;
  std::uint32_t sequence_ = 0;
  std::vector<std::byte> buffer_;
  std::size_t received_bytes_ = 0;
  std::deque<abi::PortLost> events_;
};

}  // namespace bulkhead::publish
