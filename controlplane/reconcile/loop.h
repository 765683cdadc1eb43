// The one loop: everything that happens outside becomes one more pass of the Reconciler.
//
//   files (inotify) ─┐                     at most kDebounceMax_ms after the first
//   node (netlink)  ─┼─► dirty ── quiet for debounce_ms, no file half-written ──► reload(), settle()
//   SIGHUP, "reload" ┘
//   data plane's events, a tick (quicker while something waits) ──► settle()
//   SIGTERM, SIGINT ──► run() returns; ports stay attached and the data plane goes on
#pragma once

#include "controlplane/config/config.h"

namespace bulkhead::reconcile {

/// Returns when told to stop. Throws std::exception for what makes a start impossible (socket in use, no
/// netlink).
void run(const config::Config& config);

}  // namespace bulkhead::reconcile
