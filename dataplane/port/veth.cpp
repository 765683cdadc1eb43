#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "dataplane/port/fence.h"
#include "dataplane/port/port.h"

namespace bulkhead::port {
namespace {

constexpr int kSocketBytes = 4 << 20;

std::string failed(const char* call) {
  return std::string(call) + ": " + strerror(errno);
}

bool set(int fd, int option, int value) {
  return setsockopt(fd, SOL_PACKET, option, &value, sizeof value) == 0;
}

}  // namespace

std::string Port::open_veth() {
  ifindex_ = static_cast<int>(if_nametoindex(request_.interface_name));
  if (ifindex_ == 0) return std::string("there is no interface ") + request_.interface_name;

  // The fence stands before the first packet can be forwarded.
  std::string reason;
  fence_ = std::make_unique<Fence>(ifindex_, reason);
  if (!reason.empty()) return reason;

  // Protocol 0: nothing is received until bind() names the interface.
  fd_ = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd_ < 0) return failed("packet socket");
  if (!set(fd_, PACKET_VNET_HDR, 1)) return failed("PACKET_VNET_HDR");
  if (!set(fd_, PACKET_QDISC_BYPASS, 1)) return failed("PACKET_QDISC_BYPASS");
  if (!set(fd_, PACKET_IGNORE_OUTGOING, 1)) return failed("PACKET_IGNORE_OUTGOING");
  for (const int option : {SO_RCVBUFFORCE, SO_SNDBUFFORCE})
    if (setsockopt(fd_, SOL_SOCKET, option, &kSocketBytes, sizeof kSocketBytes) != 0)
      return failed("socket buffer");

  ifreq request{};
  std::snprintf(request.ifr_name, sizeof request.ifr_name, "%s", request_.interface_name);
  if (ioctl(fd_, SIOCGIFMTU, &request) != 0) return failed("reading the MTU");
  mtu_ = request_.mtu != 0 ? request_.mtu : static_cast<std::uint32_t>(request.ifr_mtu);

  // Containers may be addressed by the data plane's own MAC, which is not the interface's.
  packet_mreq promiscuous{};
  promiscuous.mr_ifindex = ifindex_;
  promiscuous.mr_type = PACKET_MR_PROMISC;
  if (setsockopt(fd_, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof promiscuous) != 0)
    return failed("promiscuous mode");

  if (ioctl(fd_, SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_UP) == 0) {
    request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
    if (ioctl(fd_, SIOCSIFFLAGS, &request) != 0) return failed("bringing the interface up");
  }
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = ifindex_;
  if (bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return failed("bind");
  offload_ = true;
  return {};
}

}  // namespace bulkhead::port
