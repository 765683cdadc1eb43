// A peer for bench/tap-vs-bridge: what taps can do at best when a process stands between them.
//
//   bench/relay /run/netns/A /run/netns/B
//
// Makes a tap `eth0` in each namespace, with the offloads of the data plane's, and moves frames from one to the other: it reads and
// writes, looks at nothing, and waits as a worker does: on one processor, with its turns and its sleep. Says "ready" once both taps are
// there; ends when it is killed.
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <stdexcept>
#include <string>
#include <system_error>

#include "dataplane/worker/precedence.h"

namespace bulkhead::bench {
namespace {

constexpr int kVnetBytes = 12;      // virtio_net_hdr_v1, which travels with every frame
constexpr int kSpins = 8;           // empty rounds before sleeping, as dataplane/worker
constexpr int kFramesPerTurn = 64;  // before the other tap is looked at
alignas(4096) char frame[kVnetBytes + 65'536 + 64];

[[noreturn]] void fail(const char* doing) {
  throw std::system_error(errno, std::generic_category(), doing);
}

int open_tap(const char* netns) {
  const int there = open(netns, O_RDONLY | O_CLOEXEC), home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  if (there < 0 || home < 0 || setns(there, CLONE_NEWNET) != 0) fail(netns);
  const int tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (tap < 0) fail("/dev/net/tun");
  ifreq request{};
  std::strcpy(request.ifr_name, "eth0");
  request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
  int header = kVnetBytes;
  const unsigned long offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
  if (ioctl(tap, TUNSETIFF, &request) != 0 || ioctl(tap, TUNSETVNETHDRSZ, &header) != 0 ||
      ioctl(tap, TUNSETOFFLOAD, offloads) != 0)
    fail("making a tap");
  if (setns(home, CLONE_NEWNET) != 0) fail("coming back");
  close(there);
  close(home);
  return tap;
}

/// The last processor that we may use, which is a first worker's, too.
void settle() {
  cpu_set_t allowed, last;
  CPU_ZERO(&last);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) fail("sched_getaffinity");
  for (int cpu = CPU_SETSIZE - 1; CPU_COUNT(&last) == 0; --cpu)
    if (CPU_ISSET(cpu, &allowed)) CPU_SET(cpu, &last);
  if (sched_setaffinity(0, sizeof last, &last) != 0) fail("sched_setaffinity");
  if (const std::string refused = worker::take_precedence(); !refused.empty())
    throw std::runtime_error(refused);
}

int run(const char* one, const char* other) {
  settle();
  const int taps[2] = {open_tap(one), open_tap(other)};
  const int ready = epoll_create1(EPOLL_CLOEXEC);
  for (std::uint32_t i = 0; i < 2; ++i) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u32 = i;
    if (epoll_ctl(ready, EPOLL_CTL_ADD, taps[i], &event) != 0) fail("epoll_ctl");
  }
  std::cout << "ready" << std::endl;
  for (int idle = 0;;) {
    epoll_event events[2];
    const int count = epoll_wait(ready, events, 2, idle < kSpins ? 0 : -1);
    if (count <= 0) {
      ++idle;
      sched_yield();
      continue;
    }
    idle = 0;
    for (int i = 0; i < count; ++i) {
      const std::uint32_t from = events[i].data.u32;
      for (int frames = 0; frames < kFramesPerTurn; ++frames) {
        const ssize_t bytes = read(taps[from], frame, sizeof frame);
        if (bytes <= 0) break;
        [[maybe_unused]] const ssize_t written =
            write(taps[1 - from], frame, static_cast<std::size_t>(bytes));
      }
    }
  }
}

}  // namespace
}  // namespace bulkhead::bench

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "bench/relay: expected two paths of network namespaces\n";
    return 2;
  }
  try {
    return bulkhead::bench::run(argv[1], argv[2]);
  } catch (const std::exception& error) {
    std::cerr << "bench/relay: " << error.what() << "\n";
    return 2;
  }
}
