#include "dataplane/port/port.h"

#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <rte_ethdev.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

#include "dataplane/port/fence.h"
#include "dataplane/port/offload.h"

namespace bulkhead::port {
namespace {

constexpr std::uint32_t kSegmentsMax = 64;  // of one packet: a super-packet from an ethdev may have many

/// What the data plane calls itself towards endpoints and the host: locally administered, the same on every
/// port.
constexpr abi::Mac kOwnMac = {{0x02, 0xb1, 0xcb, 0xea, 0xd0, 0x01}};

/// Leaves an empty packet.
void make_empty(rte_mbuf* packet) {
  rte_pktmbuf_free(std::exchange(packet->next, nullptr));
  packet->nb_segs = 1;
  packet->data_len = 0;
  packet->pkt_len = 0;
  packet->ol_flags = 0;
}

}  // namespace

Landing::~Landing() {
  rte_pktmbuf_free(small_);
  rte_pktmbuf_free(large_);
}

bool Landing::ready() {
  if (small_ == nullptr) small_ = rte_pktmbuf_alloc(pools_.small);
  if (large_ == nullptr) large_ = rte_pktmbuf_alloc(pools_.large);
  return small_ != nullptr && large_ != nullptr;
}

rte_mbuf* Landing::take(std::uint32_t bytes) {
  rte_mbuf* packet = std::exchange(small_, nullptr);
  const std::uint32_t room = rte_pktmbuf_tailroom(packet);
  packet->pkt_len = bytes;
  if (bytes <= room) {
    packet->data_len = static_cast<std::uint16_t>(bytes);
    return packet;
  }
  rte_mbuf* rest = std::exchange(large_, nullptr);
  packet->data_len = static_cast<std::uint16_t>(room);
  rest->data_len = static_cast<std::uint16_t>(bytes - room);
  packet->next = rest;
  packet->nb_segs = 2;
  return packet;
}

std::variant<std::unique_ptr<Port>, std::string> Port::open(const abi::Attach& request, int netns,
                                                            std::uint32_t workers, const Pools& pools) {
  std::unique_ptr<Port> port(new Port(request));
  std::string reason;
  switch (request.kind) {
    case abi::PortKind::kTap:
      reason = port->open_tap(netns);
      break;
    case abi::PortKind::kVeth:
      reason = port->open_veth();
      break;
    case abi::PortKind::kEthdev:
      reason = port->open_ethdev(workers, pools);
      break;
    default:
      reason = "unknown kind of port";
      break;
  }
  if (reason.empty()) {
    // An uplink's peer is its next hop, which has to be asked for; everything else is known from the start.
    for (const bool v4 : {true, false})
      if (port->request_.next_hop[v4 ? 0 : 1] == abi::Address{} && port->mac() != abi::Mac{})
        port->learn_peer(v4, port->mac());
    return port;
  }
  // An interface that was not fenced before is left as it was found.
  port->lower_fence_ = port->fence_ != nullptr && port->fence_->created();
  const char* device = request.kind == abi::PortKind::kEthdev ? request.device : request.interface_name;
  return "port " + std::to_string(request.port) + " (" + device + "): " + reason;
}

Port::Port(const abi::Attach& request) : request_(request), own_mac_(kOwnMac) {}

Port::~Port() {
  close_ethdev();
  if (fence_ != nullptr && lower_fence_) fence_->lower();
  const int tap = release_tap();
  if (tap >= 0) close(tap);
  if (fd_ >= 0) close(fd_);
}

int Port::release_tap() {
  if (kind() != abi::PortKind::kTap || fd_ < 0) return -1;
  if (remove_device_) ioctl(fd_, TUNSETPERSIST, 0);
  return std::exchange(fd_, -1);
}

bool Port::exists() const {
  switch (kind()) {
    case abi::PortKind::kVeth: {
      char name[IF_NAMESIZE];
      return if_indextoname(static_cast<unsigned>(ifindex_), name) != nullptr;
    }
    case abi::PortKind::kTap: {
      ifreq request{};
      return ioctl(fd_, TUNGETIFF, &request) == 0;
    }
    default:
      return rte_eth_dev_is_valid_port(ethdev_) != 0;
  }
}

/// A device that is down (ENETDOWN, EIO) comes back by itself; whether it is gone is asked of the kernel
/// later.
void Port::note_error(int error) {
  if (error == EBADFD || error == ENODEV || error == ENXIO || error == ENETDOWN) report(Trouble::kGone);
}

std::uint16_t Port::receive(std::uint32_t queue, Landing& landing, rte_mbuf** packets, std::uint16_t max) {
  if (fd_ >= 0) return receive_fd(landing, packets, max);
  return rte_eth_rx_burst(ethdev_, static_cast<std::uint16_t>(queue), packets, max);
}

std::uint16_t Port::send(std::uint32_t sender, rte_mbuf** packets, std::uint16_t count) {
  if (fd_ >= 0) return send_fd(packets, count);
  return send_ethdev(sender, packets, count);
}

std::uint16_t Port::receive_fd(Landing& landing, rte_mbuf** packets, std::uint16_t max) {
  std::uint16_t received = 0;
  std::size_t received_bytes = 0;
  while (received < max && received_bytes < kBurstBytes && landing.ready()) {
    VnetHeader header;
    const iovec parts[3] = {
        {&header, sizeof header},
        {rte_pktmbuf_mtod(landing.small(), void*), rte_pktmbuf_tailroom(landing.small())},
        {rte_pktmbuf_mtod(landing.large(), void*), rte_pktmbuf_tailroom(landing.large())},
    };
    const ssize_t bytes = readv(fd_, parts, 3);
    if (bytes < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) note_error(errno);
      break;
    }
    const auto taken = static_cast<std::size_t>(bytes);
    received_bytes += taken;
    rte_mbuf* packet =
        landing.take(static_cast<std::uint32_t>(taken < sizeof header ? 0 : taken - sizeof header));
    if (!read_vnet(header, packet)) {
      // Handed on without a byte, to be counted as malformed: it must not vanish, nor keep us here for ever.
      make_empty(packet);
    }
    packets[received++] = packet;
  }
  return received;
}

std::uint16_t Port::send_fd(rte_mbuf** packets, std::uint16_t count) {
  for (std::uint16_t sent = 0; sent < count; ++sent) {
    rte_mbuf* packet = packets[sent];
    VnetHeader header;
    write_vnet(packet, header);
    iovec parts[1 + kSegmentsMax];
    parts[0] = {&header, sizeof header};
    int used = 1;
    for (rte_mbuf* segment = packet; segment != nullptr; segment = segment->next) {
      if (used > static_cast<int>(kSegmentsMax)) return sent;
      parts[used++] = {rte_pktmbuf_mtod(segment, void*), segment->data_len};
    }
    ssize_t written;
    do written = writev(fd_, parts, used);
    while (written < 0 && errno == EINTR);
    if (written < 0) {
      note_error(errno);
      return sent;
    }
    rte_pktmbuf_free(packet);
  }
  return count;
}

}  // namespace bulkhead::port
