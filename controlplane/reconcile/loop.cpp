#include "controlplane/reconcile/loop.h"

#include <fcntl.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>

#include "controlplane/reconcile/reconciler.h"
#include "controlplane/reconcile/status_socket.h"
#include "controlplane/source/watch.h"

namespace bulkhead::reconcile {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kDebounceMax{1'000};  // a world that is never quiet is compiled this often
constexpr milliseconds kTick{250};
constexpr unsigned kQuietTicks = 4;

/// Waits for a descriptor that somebody else owns and may replace.
class Readable {
 public:
  Readable(asio::io_context& context, std::function<void()> then)
      : descriptor_(context), then_(std::move(then)) {}
  ~Readable() { follow(-1); }
  Readable(const Readable&) = delete;
  Readable& operator=(const Readable&) = delete;

  /// The descriptor to wait for from now on; -1: none. Its owner closes it only after the next follow().
  void follow(int fd) {
    // A socket that replaced another may have got its number: only the inode tells them apart.
    struct stat status {};
    const ino_t inode = fd >= 0 && ::fstat(fd, &status) == 0 ? status.st_ino : 0;
    if (fd == fd_ && inode == inode_) return;
    inode_ = inode;
    if (descriptor_.is_open()) {
      descriptor_.cancel();
      descriptor_.close();
    }
    fd_ = fd;
    // A duplicate: closing ours never closes the owner's.
    if (fd >= 0) {
      descriptor_.assign(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
      wait();
    }
  }

 private:
  void wait() {
    descriptor_.async_wait(asio::posix::stream_descriptor::wait_read, [this](const error_code& error) {
      if (error) return;
      const ino_t before = inode_;
      then_();
      if (inode_ == before && descriptor_.is_open()) wait();
    });
  }

  asio::posix::stream_descriptor descriptor_;
  std::function<void()> then_;
  int fd_ = -1;
  ino_t inode_ = 0;
};

class Loop {
 public:
  explicit Loop(const config::Config& config)
      : config_(config),
        reconciler_(config),
        watch_({config.endpoints_path, config.policies_directory}),
        status_(context_, config.run_directory + "/controlplane.sock", requests()),
        signals_(context_, SIGTERM, SIGINT, SIGHUP),
        debounce_(context_),
        tick_(context_),
        files_(context_, [this] { files_changed(); }),
        node_(context_, [this] { node_changed(); }),
        dataplane_(context_, [this] { dataplane_readable(); }) {}

  void run() {
    ::signal(SIGPIPE, SIG_IGN);
    wait_for_signal();
    files_.follow(watch_.fd());
    reconciler_.reload();
    settle();
    wait_for_tick();
    context_.run();
  }

 private:
  void wait_for_signal() {
    signals_.async_wait([this](const error_code& error, int signal) {
      if (error) return;
      if (signal != SIGHUP) {
        spdlog::info("stopping; a data plane goes on with what it enforces");
        context_.stop();
        return;
      }
      spdlog::info("reading everything again");
      changed();
      wait_for_signal();
    });
  }

  void files_changed() {
    if (watch_.drain()) changed();
  }

  void node_changed() {
    reconciler_.node_changed();
    changed();
  }

  void dataplane_readable() {
    reconciler_.dataplane_readable();
    settle();
  }

  /// The bounded debounce: quiet for debounce_ms, but no later than kDebounceMax after the first change.
  void changed() {
    const auto now = Clock::now();
    if (!dirty_) first_change_ = now;
    dirty_ = true;
    const auto latest = first_change_ + kDebounceMax;
    debounce_.expires_at(std::min(now + milliseconds(config_.debounce_ms), latest));
    debounce_.async_wait([this, latest](const error_code& error) {
      if (error) return;
      watch_.drain();
      if (watch_.busy() && Clock::now() < latest) return changed();
      watch_.forget_writers();
      dirty_ = false;
      reconciler_.reload();
      settle();
    });
  }

  Requests requests() {
    return {[this] { return reconciler_.status(); }, [this] { changed(); },
            [this](const policies::Quarantine& what) {
              auto outcome = reconciler_.quarantine(what);
              follow();
              return outcome;
            },
            [this](const std::string& namespace_name, const std::string& name) {
              auto outcome = reconciler_.lift(namespace_name, name);
              follow();
              return outcome;
            }};
  }

  void settle() {
    reconciler_.settle();
    follow();
  }

  /// Descriptors may be others after every pass.
  void follow() {
    node_.follow(reconciler_.node_fd());
    dataplane_.follow(reconciler_.dataplane_fd());
  }

  void wait_for_tick() {
    tick_.expires_after(kTick);
    tick_.async_wait([this](const error_code& error) {
      if (error) return;
      if (watch_.rearm()) changed();
      // Looking at every port's place costs a few system calls each: often only while something waits.
      if (reconciler_.waiting() || reconciler_.expiry_due() || ++quiet_ticks_ % kQuietTicks == 0) settle();
      wait_for_tick();
    });
  }

  const config::Config& config_;
  asio::io_context context_{1};
  Reconciler reconciler_;
  source::Watch watch_;
  StatusSocket status_;
  asio::signal_set signals_;
  asio::steady_timer debounce_, tick_;
  Readable files_, node_, dataplane_;
  bool dirty_ = false;
  unsigned quiet_ticks_ = 0;
  Clock::time_point first_change_{};
};

}  // namespace

void run(const config::Config& config) {
  Loop(config).run();
}

}  // namespace bulkhead::reconcile
