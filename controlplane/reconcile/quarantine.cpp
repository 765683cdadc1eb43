// Quarantine, from the request to the generation that enforces it.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>

#include "controlplane/reconcile/reconciler.h"
#include "policies/load/nearest.h"

namespace bulkhead::reconcile {
namespace {

std::int64_t unix_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

}  // namespace

/// Also tries again what could not be read or written.
void Reconciler::read_quarantine() {
  if (quarantine_) {
    quarantine_->save();
    const std::string& unsaved = quarantine_->unsaved();
    if (unsaved == logged_unsaved_) return;
    if (unsaved.empty())
      spdlog::info("the list of quarantines is on disk again");
    else
      spdlog::error("the list of quarantines cannot be written and would not outlive this process: {}",
                    unsaved);
    logged_unsaved_ = unsaved;
    return;
  }
  try {
    quarantine_.emplace(config_.state_directory + "/quarantine.json");
    quarantine_error_.clear();
    inputs_changed_ = true;
    for (const auto& entry : quarantine_->entries())
      spdlog::warn("{}/{} is {}", entry.what.namespace_name, entry.what.name, policies::describe(entry.what));
    for (const std::string& line : quarantine_->damage())
      spdlog::error("the list of quarantines is damaged, what can be read of it holds: {}", line);
  } catch (const std::exception& error) {
    if (quarantine_error_ != error.what())
      spdlog::error("nothing is published until the list of quarantines can be read: {}", error.what());
    quarantine_error_ = error.what();
  }
}

const policies::Endpoint* Reconciler::endpoint_named(std::string_view namespace_name,
                                                     std::string_view name) const {
  for (const auto& described : static_.snapshot().endpoints)
    if (described.endpoint.name == name && described.endpoint.namespace_name == namespace_name)
      return &described.endpoint;
  return nullptr;
}

QuarantineOutcome Reconciler::settle_quarantine(const std::string& what) {
  inputs_changed_ = true;
  settle();
  QuarantineOutcome outcome;
  outcome.generation = publisher_.enforced().number;
  outcome.unsaved = quarantine_->unsaved();
  if (!static_.health().synced)
    outcome.reason = "the endpoints were not read yet: see bulkheadctl status";
  else if (!policies_.health().synced)
    outcome.reason = "the policies were not read yet: see bulkheadctl status";
  else if (!publish_.refused.empty())
    outcome.reason = publish_.refused;
  else if (!channel_)
    outcome.reason = "no data plane: " + connection_error_;
  else if (inputs_changed_ || publisher_.pending())
    outcome.reason = "the data plane has not taken the new image yet";
  outcome.enforced = outcome.reason.empty();
  spdlog::warn("{}{}", what,
               outcome.enforced ? ", enforced as generation " + std::to_string(outcome.generation)
                                : ", not enforced yet: " + outcome.reason);
  return outcome;
}

QuarantineOutcome Reconciler::quarantine(const policies::Quarantine& what) {
  QuarantineOutcome refused;
  if (const auto why = quarantine::wrong(what)) refused.error = *why;
  if (!quarantine_) refused.error = "the list of quarantines cannot be read: " + quarantine_error_;
  if (refused.error.empty() && !quarantine_->add(what, unix_ms()))
    refused.error =
        "found " + std::to_string(quarantine::kEntriesMax) + " quarantines, which is the most there can be";
  if (!refused.error.empty()) return refused;

  const std::string name = what.namespace_name + "/" + what.name;
  QuarantineOutcome outcome = settle_quarantine(name + " is " + policies::describe(what));
  const policies::Endpoint* endpoint = endpoint_named(what.namespace_name, what.name);
  if (endpoint == nullptr) {
    std::vector<std::string> names;
    for (const auto& described : static_.snapshot().endpoints)
      names.push_back(described.endpoint.namespace_name + "/" + described.endpoint.name);
    const std::vector<std::string_view> views(names.begin(), names.end());
    outcome.note = "there is no endpoint " + name + " now; the quarantine holds as soon as there is" +
                   policies::did_you_mean(name, views);
  } else if (endpoint->host_network) {
    outcome.note =
        name + " is on its node's network, and cannot be told apart from its node: it is not isolated";
  }
  return outcome;
}

QuarantineOutcome Reconciler::lift(const std::string& namespace_name, const std::string& name) {
  QuarantineOutcome refused;
  if (!quarantine_) {
    refused.error = "the list of quarantines cannot be read: " + quarantine_error_;
    return refused;
  }
  const std::string full_name = namespace_name + "/" + name;
  if (!quarantine_->lift(namespace_name, name)) {
    std::vector<std::string> names;
    for (const auto& entry : quarantine_->entries())
      names.push_back(entry.what.namespace_name + "/" + entry.what.name);
    const std::vector<std::string_view> views(names.begin(), names.end());
    refused.error = full_name + " is not quarantined" + policies::did_you_mean(full_name, views);
    return refused;
  }
  return settle_quarantine("the quarantine of " + full_name + " is lifted");
}

QuarantineStatus Reconciler::quarantine_status() const {
  QuarantineStatus status;
  status.error = quarantine_error_;
  if (!quarantine_) return status;
  status.unsaved = quarantine_->unsaved();
  status.damage = quarantine_->damage();
  for (const auto& entry : quarantine_->entries())
    status.entries.push_back({entry, endpoint_named(entry.what.namespace_name, entry.what.name) != nullptr});
  return status;
}

}  // namespace bulkhead::reconcile
