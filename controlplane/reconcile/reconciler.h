// From what is wished to what is enforced, in whole passes.
//
//   reload()  files ──► snapshots that are good, or the last good ones
//   settle()  connect ─► attach new ports ─► compile ─► prove ─► publish ─► acknowledged ─► detach old ports
//
// Every pass starts from the whole state and may be repeated at any time: what is in place already costs nothing.
// Nothing is published before every configured source has synced once. An error ends its pass, is kept for
// status() and is logged once; what was enforced stays. No method throws but the constructor.
//
// One thread. Calls to the data plane block, each for a bounded time.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/analysis/invariants.h"
#include "controlplane/attach/ports.h"
#include "controlplane/compile/compiler.h"
#include "controlplane/config/config.h"
#include "controlplane/netlink/monitor.h"
#include "controlplane/publish/channel.h"
#include "controlplane/publish/publisher.h"
#include "controlplane/quarantine/list.h"
#include "controlplane/reconcile/status.h"
#include "controlplane/source/policy_directory.h"
#include "controlplane/source/static_file.h"

namespace bulkhead::reconcile {

class Reconciler {
 public:
  /// Reads nothing yet. Throws netlink::Error where the node cannot be watched. `clock` is the wall's, which may
  /// be set.
  explicit Reconciler(const config::Config& config, std::function<policies::Time()> clock = policies::now);

  /// Reads every file again.
  void reload();

  /// One pass. Also the way to try again what had to wait.
  void settle();

  /// Takes an endpoint out of every conversation, or lets it in again, with a pass at once: when it returns,
  /// that is enforced, or the outcome says why not yet.
  QuarantineOutcome quarantine(const policies::Quarantine& what);
  QuarantineOutcome lift(const std::string& namespace_name, const std::string& name);

  /// The node's links or addresses changed.
  void node_changed();

  /// The data plane's socket is readable: events, or its end.
  void dataplane_readable();

  /// -1 while not connected. Changes in settle() and dataplane_readable() only.
  int dataplane_fd() const { return channel_ ? channel_->fd() : -1; }
  int node_fd() const { return monitor_.fd(); }

  /// True where a policy has expired since the latest compile, or is in force again, by a clock that was set
  /// back. Asked at every tick: whatever becomes of the clock, what it says counts.
  bool expiry_due() const { return expired_at(clock_()) != expired_; }

  /// True while something waits to be tried again.
  bool waiting() const { return !channel_ || !ports_.waiting().empty(); }

  Status status() const;

 private:
  bool synced() const { return static_.health().synced && policies_.health().synced && quarantine_; }
  void connect();
  void disconnect(const std::string& why);
  void compile();
  void publish();
  void read_cluster();
  std::vector<policies::AddressBytes> node_addresses() const;
  void log_refusals(const char* what, const source::Health& health, std::vector<policies::Error>& logged);
  void log_warnings();
  void read_quarantine();
  QuarantineOutcome settle_quarantine(const std::string& what);
  const policies::Endpoint* endpoint_named(std::string_view namespace_name, std::string_view name) const;
  QuarantineStatus quarantine_status() const;
  void log_expired(policies::Time now);
  std::size_t expired_at(policies::Time now) const;
  void log_notes();
  void log_conflicts(const compile::Output& output);
  /// Whether the candidate keeps the invariants of its set; if not, it is refused.
  bool keeps_invariants(const compile::Input& input, const compile::Output& output);
  void refuse(std::string why);

  config::Config config_;
  std::function<policies::Time()> clock_;
  netlink::Monitor monitor_;
  source::StaticFile static_;
  policies::Cluster cluster_;  // that the static source describes
  source::PolicyDirectory policies_;
  std::optional<quarantine::List> quarantine_;  // none: it is there and cannot be read
  attach::Ports ports_;
  compile::Compiler compiler_;
  analysis::Invariants invariants_;
  publish::Publisher publisher_;
  std::optional<publish::Channel> channel_;

  std::string quarantine_error_, logged_unsaved_;
  std::vector<policies::Time> expiries_;  // of the policies, ascending
  std::size_t expired_ = 0;               // of these, at the latest compile
  std::vector<policies::Error> expired_texts_;
  bool inputs_changed_ = true;
  bool policies_changed_ = true;    // since the last compile
  bool cluster_changed_ = true;     // likewise
  bool delivery_refused_ = false;   // until the inputs or the connection change
  bool candidate_refused_ = false;  // the newest; the one before it may still have to be delivered
  std::string connection_error_ = "not tried yet";
  std::chrono::steady_clock::time_point connect_at_{};
  std::chrono::milliseconds connect_backoff_{0};
  std::uint64_t dataplane_pid_ = 0;
  std::int64_t started_ms_ = 0;
  PublishStatus publish_;
  InvariantStatus invariant_status_;
  std::vector<policies::Error> logged_static_, logged_policies_, logged_warnings_;
  std::vector<std::string> logged_conflicts_;
};

}  // namespace bulkhead::reconcile
