#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "dataplane/port/netns.h"
#include "dataplane/port/offload.h"
#include "dataplane/port/port.h"

namespace bulkhead::port {
namespace {

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

constexpr std::uint32_t kMtuDefault = 1500;

std::string failed(const char* call) {
  return std::string(call) + ": " + strerror(errno);
}

/// Sets MAC and MTU, reads both back and brings the device up. Inside the device's namespace.
std::string configure(ifreq& request, abi::Attach& wanted, std::uint32_t& mtu) {
  const int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (control < 0) return failed("socket");
  std::string reason;
  if (wanted.mac != abi::Mac{}) {
    request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
    std::memcpy(request.ifr_hwaddr.sa_data, wanted.mac.bytes.data(), 6);
    if (ioctl(control, SIOCSIFHWADDR, &request) != 0) reason = failed("setting the MAC");
  }
  if (reason.empty()) {
    request.ifr_mtu = static_cast<int>(wanted.mtu != 0 ? wanted.mtu : kMtuDefault);
    mtu = static_cast<std::uint32_t>(request.ifr_mtu);
    if (ioctl(control, SIOCSIFMTU, &request) != 0)
      reason = "setting MTU " + std::to_string(mtu) + ": " + strerror(errno);
  }
  if (reason.empty()) {
    if (ioctl(control, SIOCGIFHWADDR, &request) != 0)
      reason = failed("reading the MAC");
    else
      std::memcpy(wanted.mac.bytes.data(), request.ifr_hwaddr.sa_data, 6);
  }
  if (reason.empty() && ioctl(control, SIOCGIFFLAGS, &request) == 0) {
    request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
    if (ioctl(control, SIOCSIFFLAGS, &request) != 0) reason = failed("bringing the device up");
  }
  close(control);
  return reason;
}

}  // namespace

std::string Port::open_tap(int netns) {
  const NetnsVisit visit(netns);
  if (!visit.failed().empty()) return visit.failed();

  fd_ = ::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd_ < 0) return failed("open /dev/net/tun");
  ifreq request{};
  std::snprintf(request.ifr_name, sizeof request.ifr_name, "%s", request_.interface_name);
  request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
  // Takes up the device of that name if it persists from before, else makes it.
  if (ioctl(fd_, TUNSETIFF, &request) != 0)
    return std::string("making tap ") + request_.interface_name + ": " + strerror(errno);
  int header = kVnetBytes;
  if (ioctl(fd_, TUNSETVNETHDRSZ, &header) != 0) return failed("TUNSETVNETHDRSZ");
  // UDP segmentation is known to kernels from 6.2 on; without it UDP crosses as single datagrams.
  unsigned long offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN | TUN_F_USO4 | TUN_F_USO6;
  if (ioctl(fd_, TUNSETOFFLOAD, offloads) != 0 &&
      ioctl(fd_, TUNSETOFFLOAD, offloads & ~static_cast<unsigned long>(TUN_F_USO4 | TUN_F_USO6)) != 0)
    return failed("TUNSETOFFLOAD");
  if (std::string reason = configure(request, request_, mtu_); !reason.empty()) return reason;
  // The device outlives this process, so that a restart finds container addresses and routes as they were.
  if (ioctl(fd_, TUNSETPERSIST, 1) != 0) return failed("TUNSETPERSIST");
  offload_ = true;
  return {};
}

}  // namespace bulkhead::port
