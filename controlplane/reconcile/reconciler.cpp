#include "controlplane/reconcile/reconciler.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>
#include <system_error>

#include "dataplane/image/validate.h"

namespace bulkhead::reconcile {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kConnectBackoffFirst{100};
constexpr std::chrono::milliseconds kConnectBackoffMax{2'000};
constexpr int kCallTimeout_ms = 10'000;

std::int64_t unix_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

std::uint64_t since_us(Clock::time_point start) {
  using namespace std::chrono;
  return static_cast<std::uint64_t>(duration_cast<microseconds>(Clock::now() - start).count());
}

double age_seconds(Clock::time_point since) {
  return std::chrono::duration<double>(Clock::now() - since).count();
}

attach::Options port_options(const config::Config& config) {
  return {config.state_directory + "/ports.json", config.node, config.host, config.uplink};
}

source::StaticOptions static_options(const config::Config& config) {
  return {config.host.addresses, config.endpoints_max, config.file_bytes_max};
}

std::vector<FileText> texts_of(const std::vector<policies::Error>& errors) {
  std::vector<FileText> result;
  for (const policies::Error& error : errors) {
    const std::string path = error.path.empty() ? "" : error.path + ": ";
    result.push_back({error.origin.file, error.origin.line, error.origin.column, path + error.message});
  }
  return result;
}

GenerationStatus generation_status(const publish::Generation& generation) {
  if (generation.number == 0) return {};
  return {generation.number, image::hex(generation.digest)};
}

abi::Address address_of(const std::optional<policies::AddressBytes>& address) {
  return address ? abi::Address{*address} : abi::Address{};
}

}  // namespace

Reconciler::Reconciler(const config::Config& config, std::function<policies::Time()> clock)
    : config_(config),
      clock_(std::move(clock)),
      static_(config.endpoints_path, static_options(config)),
      policies_(config.policies_directory, config.file_bytes_max, config.mesh),
      ports_(port_options(config)),
      started_ms_(unix_ms()) {
  read_quarantine();
}

void Reconciler::log_refusals(const char* what, const source::Health& health,
                              std::vector<policies::Error>& logged) {
  if (health.errors == logged) return;
  if (health.errors.empty()) spdlog::info("{} are good again", what);
  for (const policies::Error& error : health.errors) spdlog::error("{}", policies::format(error));
  if (!health.errors.empty()) {
    spdlog::error("{} are refused as a whole; {}", what,
                  health.synced ? "the last good ones stay in force" : "there are no good ones yet");
  }
  logged = health.errors;
}

/// Each once for as long as it stays, whatever comes and goes beside it.
void Reconciler::log_warnings() {
  const auto& warnings = policies_.health().warnings;
  for (const policies::Error& warning : warnings)
    if (std::find(logged_warnings_.begin(), logged_warnings_.end(), warning) == logged_warnings_.end())
      spdlog::warn("{}", policies::format(warning));
  logged_warnings_ = warnings;
}

void Reconciler::reload() {
  if (static_.reload()) {
    inputs_changed_ = cluster_changed_ = true;
    spdlog::info("{}: {} endpoints", static_.path(), static_.snapshot().endpoints.size());
  }
  log_refusals("endpoints", static_.health(), logged_static_);
  if (policies_.reload()) {
    inputs_changed_ = policies_changed_ = true;
    expiries_ = policies::expiries(policies_.policies());
    spdlog::info("{}: {} policies in {} files", policies_.path(), policies_.policies().policies.size(),
                 policies_.files());
  }
  log_refusals("policies", policies_.health(), logged_policies_);
  log_warnings();
}

void Reconciler::connect() {
  if (channel_ || Clock::now() < connect_at_) return;
  try {
    auto channel = publish::Channel::connect(config_.run_directory + "/" + abi::kDataplaneSocket,
                                             "controlplane", kCallTimeout_ms);
    channel.subscribe();
    const abi::HelloReply hello = channel.hello();
    ports_.connected(channel);
    publisher_.connected(hello);
    channel_ = std::move(channel);
    dataplane_pid_ = hello.pid;
    delivery_refused_ = false;
    connect_backoff_ = {};
    connection_error_.clear();
    spdlog::info("connected to the data plane (process {}), which enforces generation {}", hello.pid,
                 hello.generation);
  } catch (const std::exception& error) {
    disconnect(error.what());
  }
}

void Reconciler::disconnect(const std::string& why) {
  if (connection_error_ != why) spdlog::warn("no data plane: {}", why);
  connection_error_ = why;
  channel_.reset();
  dataplane_pid_ = 0;
  ports_.disconnected();
  connect_backoff_ = connect_backoff_.count() == 0 ? kConnectBackoffFirst
                                                   : std::min(connect_backoff_ * 2, kConnectBackoffMax);
  connect_at_ = Clock::now() + connect_backoff_;
}

void Reconciler::refuse(std::string why) {
  if (publish_.refused != why) spdlog::error("the new image is not enforced: {}", why);
  publish_.refused = std::move(why);
}

/// Whenever they are others than before.
void Reconciler::log_conflicts(const compile::Output& output) {
  std::vector<std::string> messages;
  for (const compile::Conflict& conflict : output.conflicts) messages.push_back(conflict.message);
  publish_.warnings = messages;
  if (messages == logged_conflicts_) return;
  for (const std::string& message : messages) spdlog::warn("{}", message);
  logged_conflicts_ = std::move(messages);
}

std::size_t Reconciler::expired_at(policies::Time now) const {
  return static_cast<std::size_t>(std::upper_bound(expiries_.begin(), expiries_.end(), now) -
                                  expiries_.begin());
}

/// Each once for as long as it has expired.
void Reconciler::log_expired(policies::Time now) {
  std::vector<policies::Error> texts;
  expired_ = expired_at(now);
  if (expired_ != 0)
    for (const policies::Expiry& expiry : policies::expiring(policies_.policies(), now))
      texts.push_back({expiry.rule->origin, "", policies::describe(expiry, now)});
  for (const policies::Error& text : texts)
    if (std::find(expired_texts_.begin(), expired_texts_.end(), text) == expired_texts_.end())
      spdlog::warn("{}", policies::format(text));
  expired_texts_ = std::move(texts);
}

void Reconciler::log_notes() {
  for (const attach::Note& note : ports_.take_notes()) {
    spdlog::log(note.warning ? spdlog::level::warn : spdlog::level::info, "{}", note.text);
  }
}

void Reconciler::settle() {
  dataplane_readable();  // events that came in between an answer and its request
  connect();
  try {
    if (ports_.update(static_.snapshot(), monitor_, channel_ ? &*channel_ : nullptr)) inputs_changed_ = true;
    log_notes();
    read_quarantine();
    if (!synced()) return;
    if (expiry_due()) inputs_changed_ = true;
    if (inputs_changed_) compile();
    publish();
    if (channel_ && !publisher_.pending() && publish_.refused.empty()) ports_.remove_unwanted(*channel_);
  } catch (const publish::ChannelError& error) {
    disconnect(error.what());
  } catch (const std::exception& error) {
    refuse(error.what());
  }
  log_notes();
}

std::vector<policies::AddressBytes> Reconciler::node_addresses() const {
  std::set<policies::AddressBytes> result(monitor_.addresses().begin(), monitor_.addresses().end());
  // The host port's own are the node's before the port is there: the first image is then the last one too.
  for (const auto& address : config_.host.addresses) result.insert(address.address);
  for (const auto& endpoint : cluster_.endpoints)
    for (const auto& address : endpoint.addresses) result.erase(address);
  return {result.begin(), result.end()};
}

void Reconciler::read_cluster() {
  const source::Snapshot& snapshot = static_.snapshot();
  cluster_ = {};
  cluster_.namespaces = snapshot.namespaces;
  cluster_.endpoints.reserve(snapshot.endpoints.size());
  for (const auto& described : snapshot.endpoints) cluster_.endpoints.push_back(described.endpoint);
}

void Reconciler::compile() {
  inputs_changed_ = false;
  delivery_refused_ = false;
  candidate_refused_ = true;
  const auto start = Clock::now();
  const policies::Time now = clock_();
  const std::size_t expired_before = expired_;
  log_expired(now);
  policies_changed_ |= expired_ != expired_before;
  if (cluster_changed_) read_cluster();
  const auto quarantines = quarantine_->quarantines();
  compile::Input input{.cluster = cluster_, .policies = policies_.policies(), .quarantines = quarantines};
  input.posture = config_.node.posture;
  input.now = now;
  input.node.name = config_.node.name;
  input.node.addresses = node_addresses();
  input.node.gateway_v4 = address_of(config_.node.gateway_v4);
  input.node.gateway_v6 = address_of(config_.node.gateway_v6);
  for (const attach::LocalPort& port : ports_.local()) {
    input.ports.push_back({port.endpoint_id, port.port, port.key});
  }
  input.limits.section_bytes_max = config_.image_bytes_max;
  auto compiled = compiler_.update(input, {.policies = !policies_changed_, .cluster = !cluster_changed_});
  policies_changed_ = cluster_changed_ = std::holds_alternative<compile::Refusal>(compiled);
  if (const auto* refusal = std::get_if<compile::Refusal>(&compiled)) return refuse(refusal->reason);
  const auto& output = std::get<compile::Output>(compiled);
  publish_.compile_us = since_us(start);
  log_conflicts(output);
  // Invariants are claims about policies: what must always pass must not keep anybody from a quarantine.
  if (!quarantines.empty() && !policies_.policies().invariants.empty()) {
    input.quarantines = {};
    const auto by_policies = compile::compile(input);
    if (const auto* refusal = std::get_if<compile::Refusal>(&by_policies)) return refuse(refusal->reason);
    if (!keeps_invariants(input, std::get<compile::Output>(by_policies))) return;
  } else if (!keeps_invariants(input, output)) {
    return;
  }
  publisher_.offer(output.image);
  candidate_refused_ = false;
  publish_.refused.clear();
}

bool Reconciler::keeps_invariants(const compile::Input& input, const compile::Output& output) {
  const auto start = Clock::now();
  const analysis::Proof& proof = invariants_.prove(input, output);
  invariant_status_ = {proof.demands, proof.demands == 0 ? 0 : since_us(start), {}};
  for (const analysis::Breach& breach : proof.breaches)
    invariant_status_.broken.push_back(
        {breach.origin.file, breach.origin.line, breach.origin.column,
         breach.demand + " is broken: " + breach.packet + " is " + breach.answer});
  if (proof.holds()) return true;
  if (!proof.refusal.empty()) {
    refuse(proof.refusal);
    return false;
  }
  std::string why;
  for (const analysis::Breach& breach : proof.breaches) why += (why.empty() ? "" : "; ") + message(breach);
  refuse(std::move(why));
  return false;
}

void Reconciler::publish() {
  if (!channel_ || !publisher_.pending() || delivery_refused_) return;
  const auto start = Clock::now();
  try {
    const publish::Delivery delivery = publisher_.deliver(*channel_);
    publish_.last_ms = unix_ms();
    publish_.publish_us = since_us(start);
    publish_.swap_ns = delivery.swap_ns;
    publish_.published += 1;
    publish_.shared_policy += delivery.shared_policy ? 1 : 0;
    if (!candidate_refused_) publish_.refused.clear();
    spdlog::info("generation {} is enforced ({}; compiled in {} us, published in {} us)",
                 publisher_.enforced().number, image::hex(publisher_.enforced().digest).substr(0, 12),
                 publish_.compile_us, publish_.publish_us);
    publisher_.make_ready();
  } catch (const publish::RequestRefused& refused) {
    delivery_refused_ = true;
    refuse(std::string("the data plane refuses it: ") + refused.what());
  }
}

void Reconciler::node_changed() {
  try {
    if (monitor_.handle()) inputs_changed_ = true;
  } catch (const std::exception& error) {
    spdlog::error("watching the node's interfaces: {}", error.what());
  }
}

void Reconciler::dataplane_readable() {
  if (!channel_) return;
  try {
    while (const auto event = channel_->next_event()) ports_.lost(event->port, event->reason);
  } catch (const std::exception& error) {
    disconnect(error.what());
  }
}

Status Reconciler::status() const {
  Status status;
  status.node_name = config_.node.name;
  status.posture = config_.node.posture.action == policies::Action::kAllow ? "allow" : "deny";
  status.strict = config_.node.posture.strict;
  status.started_ms = started_ms_;
  status.connected = channel_.has_value();
  status.connection_error = connection_error_;
  status.dataplane_pid = dataplane_pid_;
  status.wanted = generation_status(publisher_.wanted());
  status.enforced = generation_status(publisher_.enforced());
  status.publish = publish_;
  status.invariants = invariant_status_;
  const auto age = [](const source::Health& health) {
    return health.synced ? age_seconds(health.read_at) : 0.0;
  };
  status.sources.push_back({"static", static_.path(), static_.health().synced, age(static_.health()),
                            static_.snapshot().endpoints.size(), texts_of(static_.health().errors)});
  status.policies = {policies_.path(),
                     policies_.health().synced,
                     age(policies_.health()),
                     policies_.files(),
                     policies_.policies().policies.size(),
                     texts_of(policies_.health().errors),
                     texts_of(policies_.health().warnings)};
  for (FileText& text : texts_of(expired_texts_)) status.policies.warnings.push_back(std::move(text));
  status.quarantine = quarantine_status();
  status.ports_attached = ports_.attached();
  for (const attach::Waiting& port : ports_.waiting()) {
    status.ports_waiting.push_back({port.name, port.port, port.reason, age_seconds(port.since)});
  }
  return status;
}

}  // namespace bulkhead::reconcile
