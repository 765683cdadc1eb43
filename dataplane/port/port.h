// Ports: where packets come in and go out. Receive a burst, send a burst, an fd to sleep on.
//
//   kind     through                                  carries super-packets   sleeps on
//   tap      /dev/net/tun with virtio-net header      yes                     the tap's fd
//   veth     AF_PACKET with virtio-net header         yes                     the socket
//   ethdev   any DPDK device by name                  if the device can       nothing: polled
//
// Who does what: the control thread opens, attaches and closes ports; exactly one worker receives from a port
// (from one queue of it, for a device with several); any worker sends to it. A Port dies one grace period
// after it left the Table.
//
// Packets that are larger than a first segment continue in a second, large one. What the far end left to
// hardware (a partial checksum, segmentation) rides in the mbuf as the usual RTE_MBUF_F_TX_* flags with
// l2_len, l3_len, l4_len and tso_segsz: offload.h reads and writes the virtio-net header. A port without
// kOffload must be given finished packets.
#pragma once

#include <rte_mbuf.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <variant>

#include "dataplane/abi/messages.h"

namespace bulkhead::port {

inline constexpr std::uint16_t kBurst = 64;
/// Super-packets fill a core's second-level cache long before there are 64: with this much read, a burst from an fd ends.
inline constexpr std::size_t kBurstBytes = 256 << 10;

/// Packet memory of one process. `small` holds every packet's first segment, `large` the rest of a
/// super-packet.
struct Pools {
  rte_mempool* small = nullptr;
  rte_mempool* large = nullptr;
};

/// Segments that the next read goes into; one a worker, so that an empty read costs no allocation.
class Landing {
 public:
  explicit Landing(const Pools& pools) : pools_(pools) {}
  ~Landing();
  Landing(const Landing&) = delete;

  bool ready();  // false: no packet memory left
  rte_mbuf* small() { return small_; }
  rte_mbuf* large() { return large_; }
  /// `bytes` of packet were read; hands out the packet and keeps the large segment if it was not needed.
  rte_mbuf* take(std::uint32_t bytes);

 private:
  Pools pools_;
  rte_mbuf* small_ = nullptr;
  rte_mbuf* large_ = nullptr;
};

enum class Trouble : std::uint8_t { kNone, kGone };

class Port {
 public:
  /// Opens the device. `netns` is the namespace for a tap (-1: our own) and stays the caller's. The error is
  /// for people: what was tried, on which device, what the kernel said. Control thread only; may take 100 ms.
  static std::variant<std::unique_ptr<Port>, std::string> open(const abi::Attach& request, int netns,
                                                               std::uint32_t workers, const Pools& pools);
  ~Port();
  Port(const Port&) = delete;

  /// At most `max` packets and about kBurstBytes, headers in the first segment. One whose virtio-net header is broken comes as an empty
  /// packet.
  std::uint16_t receive(std::uint32_t queue, Landing& landing, rte_mbuf** packets, std::uint16_t max);

  /// Worker `sender` sends in order and frees what was sent; the packets from the returned index on are still
  /// the caller's.
  std::uint16_t send(std::uint32_t sender, rte_mbuf** packets, std::uint16_t count);

  const abi::Attach& request() const { return request_; }
  std::uint32_t number() const { return request_.port; }
  abi::PortKind kind() const { return request_.kind; }
  abi::PortRole role() const { return request_.role; }
  /// The endpoint's MAC, or the host tap's.
  const abi::Mac& mac() const { return request_.mac; }
  /// Whom packets are sent to: the endpoint, the host, or the uplink's next hop of that family once it has answered. 0: unknown,
  /// else the MAC in the low 48 bits as it lies in memory, and bit 63. Any thread.
  std::uint64_t peer(bool v4) const { return peer_[v4 ? 0 : 1].load(std::memory_order_relaxed); }
  void learn_peer(bool v4, const abi::Mac& mac) {
    peer_[v4 ? 0 : 1].store(pack(mac), std::memory_order_relaxed);
  }
  static std::uint64_t pack(const abi::Mac& mac) {
    std::uint64_t packed = 0;
    std::memcpy(&packed, mac.bytes.data(), 6);
    return packed | std::uint64_t{1} << 63;
  }
  static abi::Mac unpack(std::uint64_t packed) {
    abi::Mac mac;
    std::memcpy(mac.bytes.data(), &packed, 6);
    return mac;
  }
  /// The data plane's own on this port.
  const abi::Mac& own_mac() const { return own_mac_; }
  std::uint32_t mtu() const { return mtu_; }
  bool offload() const { return offload_; }
  std::uint16_t vlan() const { return request_.vlan; }
  int fd() const { return fd_; }                    // -1: poll
  std::uint32_t queues() const { return queues_; }  // worker w receives from queue w if there are several

  /// Tells the control thread that the device may be gone; any thread. It asks exists() and acts.
  void report(Trouble trouble) { trouble_.store(trouble, std::memory_order_relaxed); }
  Trouble trouble() const { return trouble_.load(std::memory_order_relaxed); }
  bool exists() const;
  /// Deletes a tap when the port closes; otherwise it stays in its namespace for the next attach.
  void remove_device_on_close() { remove_device_ = true; }
  /// A tap's descriptor, which is the caller's to close from here on: that may take long. The port is of no use any more. -1
  /// where it is no tap.
  int release_tap();
  /// Gives a veth back to the kernel when the port closes; otherwise it stays fenced off for the next process.
  void lower_fence_on_close() { lower_fence_ = true; }

  std::uint32_t worker = 0;  // that receives; set by the control thread before the port is published

 private:
  explicit Port(const abi::Attach& request);
  std::string open_tap(int netns);
  std::string open_veth();
  std::string open_ethdev(std::uint32_t workers, const Pools& pools);
  void close_ethdev();
  std::uint16_t receive_fd(Landing& landing, rte_mbuf** packets, std::uint16_t max);
  std::uint16_t send_fd(rte_mbuf** packets, std::uint16_t count);
  std::uint16_t send_ethdev(std::uint32_t sender, rte_mbuf** packets, std::uint16_t count);
  void note_error(int error);

  abi::Attach request_;
  abi::Mac own_mac_;
  std::uint32_t mtu_ = 0;
  std::uint32_t queues_ = 1;
  std::uint32_t send_queues_ = 1;
  int fd_ = -1;
  int ifindex_ = 0;
  std::uint16_t ethdev_ = RTE_MAX_ETHPORTS;
  bool offload_ = false;
  bool send_shared_ = false;  // fewer send queues than workers: one queue behind send_lock_
  bool remove_device_ = false;
  bool lower_fence_ = false;
  std::unique_ptr<class Fence> fence_;
  std::atomic<std::uint64_t> peer_[2] = {};
  std::atomic<Trouble> trouble_{Trouble::kNone};
  std::atomic_flag send_lock_ = ATOMIC_FLAG_INIT;
};

}  // namespace bulkhead::port
