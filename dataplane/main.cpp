// bulkhead-dataplane: starts DPDK and the node, then serves its socket until a signal ends it.
#include <rte_eal.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>

#include "dataplane/control/eal.h"
#include "dataplane/control/node.h"
#include "dataplane/control/options.h"
#include "dataplane/control/server.h"

namespace {

using namespace bulkhead::control;

constexpr int kLookAfterPortsMs = 500;

void watch(int epoll, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

/// Each section of an image is a descriptor, and each port.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

/// Before any thread exists, so that all of them have the signals blocked.
int signal_fd() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

void serve(Node& node, const Options& options, int signals) {
  const Fd epoll(epoll_create1(EPOLL_CLOEXEC));
  Server server(options.run_dir + "/" + bulkhead::abi::kDataplaneSocket, epoll.get(),
                [&node](Request& request) { return node.handle(request); });
  watch(epoll.get(), signals);
  watch(epoll.get(), node.trouble_event());
  spdlog::info("ready: {} worker(s), {}", options.workers, options.run_dir);
  auto next_look = std::chrono::steady_clock::now();
  for (;;) {
    epoll_event event{};
    const int ready = epoll_wait(epoll.get(), &event, 1, kLookAfterPortsMs);
    if (ready < 0 && errno != EINTR) return;
    if (ready == 1 && event.data.fd == signals) return;
    // A client that never stops asking must not keep us from the ports.
    const auto now = std::chrono::steady_clock::now();
    if (ready == 1 && server.handle(event.data.fd) && now < next_look) continue;
    next_look = now + std::chrono::milliseconds(kLookAfterPortsMs);
    for (const auto& lost : node.look_after_ports()) server.announce(lost);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const Parsed parsed = parse_options(argc, argv);
  if (!parsed.options) return parsed.exit_code;
  const Options& options = *parsed.options;
  spdlog::set_default_logger(spdlog::stderr_color_mt("dataplane"));
  spdlog::set_pattern("%Y-%m-%d %H:%M:%S.%e %^%l%$ %v");
  spdlog::set_level(spdlog::level::from_str(options.log_level));
  const Fd signals(signal_fd());
  raise_descriptor_limit();
  try {
    std::filesystem::create_directories(options.run_dir);
    auto eal = start_eal(options);
    if (const auto* reason = std::get_if<std::string>(&eal)) throw std::runtime_error(*reason);
    {
      Node node(options, std::get<Eal>(eal));
      node.start();
      serve(node, options, signals.get());
      spdlog::info("stopping: flows, image and ports are kept for the next start");
    }
    rte_eal_cleanup();
  } catch (const std::exception& error) {
    spdlog::error("{}", error.what());
    return 1;
  }
  return 0;
}
