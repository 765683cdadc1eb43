#include <rte_cycles.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <ctime>

#include "dataplane/flow/memory.h"
#include "dataplane/forward/forward.h"
#include "dataplane/worker/worker.h"

namespace bulkhead::worker {
namespace {

constexpr int kReadyMax = 64;      // ports served in one round
constexpr int kBurstsPerPort = 2;  // before the next port has its turn
// Empty rounds before sleeping. Who fills a port wakes us at once; a device cannot, so that it is polled for longer.
constexpr std::uint32_t kSpins = 8, kDeviceSpins = 128;
constexpr int kSleepUs = 100'000, kDeviceSleepUs = 200;
constexpr std::uint32_t kDeviceRounds = 8;  // rounds of busy devices between two looks at the fds

constexpr std::uint64_t kHouseMs = 10;
constexpr std::uint64_t kSweepMs = 4'000;  // the whole flow table is seen once in this time
constexpr std::uint64_t kResolvingMs = 1'000;
constexpr std::uint64_t kRefreshMs = 30'000;
constexpr std::uint64_t kErrorsPerSecond = 200;  // ICMP errors to one port
constexpr std::uint64_t kErrorsBurst = 100;

constexpr std::uint32_t kHeldMax = 2048;  // fragments of one worker that wait for their first
constexpr std::uint32_t kHeldShare = 4;   // and no more than this part of its packet buffers

std::uint64_t clock_ms(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1000 + static_cast<std::uint64_t>(now.tv_nsec) / 1'000'000;
}

/// Whoever sends fragments that never become whole must leave buffers for all others.
flow::FragmentLimits fragment_limits(const port::Pools& pools) {
  flow::FragmentLimits limits;
  const unsigned lcores = rte_lcore_count();
  const std::uint32_t buffers = pools.small->size / (lcores > 1 ? lcores - 1 : 1);
  limits.held = std::min(kHeldMax, buffers / kHeldShare);
  return limits;
}

}  // namespace

Worker::Worker(const Environment& environment, std::uint32_t index)
    : env_(environment),
      index_(index),
      block_(environment.telemetry.block(index)),
      landing_(environment.pools),
      fragments_(environment.flows.hasher(), fragment_limits(environment.pools)),
      errors_(abi::kPortsMax, {rte_get_tsc_hz() / kErrorsPerSecond, kErrorsBurst}),
      tsc_hz_(rte_get_tsc_hz()),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  assert(epoll_ >= 0 && wake_ >= 0);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u32 = 0;  // no port has this number
  epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_, &event);
}

Worker::~Worker() {
  close(epoll_);
  close(wake_);
}

void Worker::add(port::Port& port) {
  if (port.fd() < 0) {
    for (auto& slot : devices_) {
      std::uint32_t free = 0;
      if (slot.compare_exchange_strong(free, port.number())) break;
    }
  } else {
    sleepers_.fetch_add(1, std::memory_order_relaxed);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u32 = port.number();
    epoll_ctl(epoll_, EPOLL_CTL_ADD, port.fd(), &event);
  }
  wake();
}

void Worker::remove(port::Port& port) {
  if (port.fd() < 0) {
    for (auto& slot : devices_) {
      std::uint32_t number = port.number();
      slot.compare_exchange_strong(number, 0);
    }
  } else {
    sleepers_.fetch_sub(1, std::memory_order_relaxed);
    epoll_ctl(epoll_, EPOLL_CTL_DEL, port.fd(), nullptr);
  }
}

void Worker::wake() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(wake_, &one, sizeof one);
}

void Worker::stop() {
  stopping_.store(true, std::memory_order_relaxed);
  wake();
}

void Worker::run() {
  env_.publisher.join(index_);
  std::uint32_t idle = 0, rounds = 0;
  while (!stopping_.load(std::memory_order_relaxed)) {
    now_tsc_ = rte_rdtsc();
    if (now_tsc_ >= next_clock_tsc_) keep_house(now_tsc_);
    std::uint32_t received = poll_devices();
    if (received == 0 || ++rounds % kDeviceRounds == 0) received += poll_ready(0);
    env_.publisher.quiescent(index_);
    if (received != 0) {
      idle = 0;
      continue;
    }
    const bool polls = has_devices();
    if (++idle < (polls ? kDeviceSpins : kSpins)) {
      // Who sends to us, or takes what we send, may be waiting for this very processor.
      sched_yield();
      continue;
    }
    telemetry::add(block_.sleeps, 1);
    if (poll_ready(polls ? kDeviceSleepUs : kSleepUs) != 0) idle = 0;
  }
  env_.publisher.offline(index_);
  fragments_.flush();
  for (flow::ReleasedFragment released; fragments_.next_released(released);)
    rte_pktmbuf_free(static_cast<rte_mbuf*>(released.packet));
}

bool Worker::has_devices() const {
  return std::any_of(std::begin(devices_), std::end(devices_),
                     [](const auto& number) { return number.load(std::memory_order_relaxed) != 0; });
}

std::uint32_t Worker::poll_devices() {
  std::uint32_t received = 0;
  for (const auto& slot : devices_) {
    const std::uint32_t number = slot.load(std::memory_order_relaxed);
    if (number == 0) continue;
    port::Port* port = env_.ports.at(number);
    if (port == nullptr) continue;
    rte_mbuf* packets[port::kBurst];
    const std::uint32_t queue = port->queues() > 1 ? index_ : 0;
    const std::uint16_t count = port->receive(queue, landing_, packets, port::kBurst);
    if (count == 0) continue;
    process(*port, packets, count);
    received += count;
  }
  return received;
}

/// Serves the ports whose fds are ready, after waiting for one for at most `timeout_us`. A waiting worker is offline: no grace
/// period waits for it, and it holds no pointer.
std::uint32_t Worker::poll_ready(int timeout_us) {
  epoll_event ready[kReadyMax];
  int count;
  if (timeout_us == 0) {
    if (sleepers_.load(std::memory_order_relaxed) == 0) return 0;
    count = epoll_wait(epoll_, ready, kReadyMax, 0);
  } else {
    env_.publisher.offline(index_);
    const timespec timeout{timeout_us / 1'000'000, timeout_us % 1'000'000 * 1000};
    count = epoll_pwait2(epoll_, ready, kReadyMax, &timeout, nullptr);
    env_.publisher.online(index_);
    now_tsc_ = rte_rdtsc();
    if (now_tsc_ >= next_clock_tsc_) keep_house(now_tsc_);
  }
  std::uint32_t received = 0;
  for (int i = 0; i < count; ++i) {
    if (ready[i].data.u32 == 0) {
      std::uint64_t drained;
      [[maybe_unused]] const ssize_t bytes = read(wake_, &drained, sizeof drained);
      continue;
    }
    port::Port* port = env_.ports.at(ready[i].data.u32);
    // While we slept the number may have become another port's, which is polled elsewhere.
    if (port == nullptr || port->fd() < 0 || port->worker != index_) continue;
    for (int burst = 0; burst < kBurstsPerPort; ++burst) {
      rte_mbuf* packets[port::kBurst];
      const std::uint16_t taken = port->receive(0, landing_, packets, port::kBurst);
      if (taken != 0) process(*port, packets, taken);
      received += taken;
      if (taken < port::kBurst) break;  // empty, or so many bytes that others have their turn
    }
    if (port->trouble() != port::Trouble::kNone) {
      // An fd in error is always ready: it would keep us awake until the control thread has seen to it.
      epoll_ctl(epoll_, EPOLL_CTL_DEL, port->fd(), nullptr);
      const std::uint64_t one = 1;
      [[maybe_unused]] const ssize_t written = write(env_.trouble_event, &one, sizeof one);
    }
  }
  return received;
}

void Worker::keep_house(std::uint64_t now_tsc) {
  next_clock_tsc_ = now_tsc + tsc_hz_ / 1000;
  now_ms_ = clock_ms(CLOCK_REALTIME);
  boot_ms_ = clock_ms(CLOCK_BOOTTIME);
  now_s_ = env_.flows.clock_s(boot_ms_ / 1000);
  if (boot_ms_ < next_house_ms_) return;
  const std::uint64_t since_ms = next_house_ms_ == 0 ? kHouseMs : boot_ms_ - next_house_ms_ + kHouseMs;
  next_house_ms_ = boot_ms_ + kHouseMs;

  const std::uint64_t share = env_.flows.share(index_);
  const auto buckets =
      static_cast<std::uint32_t>(std::min(share, share * std::min(since_ms, kSweepMs) / kSweepMs + 1));
  const flow::Swept swept = env_.flows.age(index_, now_s_, buckets, env_.timeouts);
  if (swept.ended != 0) telemetry::add(block_.flows_ended, swept.ended);
  env_.flows.reclaim(index_, Grace{env_.publisher});

  fragments_.expire(boot_ms_);
  for (flow::ReleasedFragment released; fragments_.next_released(released);) {
    auto* packet = static_cast<rte_mbuf*>(released.packet);
    in_counters_ = &block_.ports[packet->port];
    drop(packet, released.verdict.fate);
  }
  if (port::Port* uplink = env_.ports.at(env_.ports.uplink()); uplink != nullptr && uplink->worker == index_)
    ask_next_hop(*uplink);
}

/// Asks for the uplink's gateways until they answer, and again now and then in case they change.
void Worker::ask_next_hop(port::Port& uplink) {
  const abi::Attach& request = uplink.request();
  bool unresolved = false;
  for (const int family : {0, 1})
    unresolved |= request.next_hop[family] != abi::Address{} && uplink.peer(family == 0) == 0;
  if (boot_ms_ < next_hop_ms_) return;
  next_hop_ms_ = boot_ms_ + (unresolved ? kResolvingMs : kRefreshMs);
  in_counters_ = &block_.ports[uplink.number()];
  std::uint8_t frame[forward::kNdFrameBytes];
  if (request.next_hop[0] != abi::Address{}) {
    forward::build_arp_request(uplink.own_mac(), request.own[0], request.next_hop[0], frame);
    reply(frame, forward::kArpFrameBytes, uplink);
  }
  if (request.next_hop[1] != abi::Address{}) {
    forward::build_solicitation(uplink.own_mac(), request.own[1], request.next_hop[1], frame);
    reply(frame, forward::kNdFrameBytes, uplink);
  }
  flush();
}

}  // namespace bulkhead::worker
