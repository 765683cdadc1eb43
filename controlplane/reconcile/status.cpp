#include "controlplane/reconcile/status.h"

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "controlplane/reconcile/version.h"

namespace bulkhead::reconcile {
namespace {

using nlohmann::ordered_json;

ordered_json texts(const std::vector<FileText>& list) {
  ordered_json result = ordered_json::array();
  for (const FileText& text : list) {
    result.push_back(
        {{"file", text.file}, {"line", text.line}, {"column", text.column}, {"message", text.message}});
  }
  return result;
}

ordered_json quarantine_of(const QuarantineStatus& status) {
  ordered_json entries = ordered_json::array();
  for (const auto& [entry, exists] : status.entries)
    entries.push_back({{"namespace", entry.what.namespace_name},
                       {"name", entry.what.name},
                       {"reason", entry.what.reason},
                       {"author", entry.what.author},
                       {"since_ms", entry.since_ms},
                       {"exists", exists}});
  return {{"error", status.error},
          {"unsaved", status.unsaved},
          {"damage", status.damage},
          {"entries", std::move(entries)}};
}

ordered_json generation(const GenerationStatus& status) {
  return {{"generation", status.generation}, {"digest", status.digest}};
}

}  // namespace

std::string to_json(const Status& status) {
  ordered_json sources = ordered_json::array();
  for (const SourceStatus& source : status.sources) {
    sources.push_back({{"name", source.name},
                       {"path", source.path},
                       {"synced", source.synced},
                       {"age_seconds", source.age_seconds},
                       {"endpoints", source.endpoints},
                       {"refused", texts(source.refused)}});
  }
  ordered_json waiting = ordered_json::array();
  for (const WaitingPort& port : status.ports_waiting) {
    waiting.push_back({{"endpoint", port.endpoint},
                       {"port", port.port},
                       {"reason", port.reason},
                       {"age_seconds", port.age_seconds}});
  }
  const PublishStatus& publish = status.publish;
  const ordered_json root = {
      {"version", kVersionText},
      {"pid", ::getpid()},
      {"started_ms", status.started_ms},
      {"node", {{"name", status.node_name}, {"posture", status.posture}, {"strict", status.strict}}},
      {"dataplane",
       {{"connected", status.connected}, {"error", status.connection_error}, {"pid", status.dataplane_pid}}},
      {"wanted", generation(status.wanted)},
      {"enforced", generation(status.enforced)},
      {"publish",
       {{"last_ms", publish.last_ms},
        {"compile_us", publish.compile_us},
        {"publish_us", publish.publish_us},
        {"swap_ns", publish.swap_ns},
        {"published", publish.published},
        {"shared_policy", publish.shared_policy},
        {"refused", publish.refused},
        {"warnings", publish.warnings}}},
      {"invariants",
       {{"demands", status.invariants.demands},
        {"proof_us", status.invariants.proof_us},
        {"broken", texts(status.invariants.broken)}}},
      {"sources", std::move(sources)},
      {"policies",
       {{"path", status.policies.path},
        {"synced", status.policies.synced},
        {"age_seconds", status.policies.age_seconds},
        {"files", status.policies.files},
        {"objects", status.policies.objects},
        {"refused", texts(status.policies.refused)},
        {"warnings", texts(status.policies.warnings)}}},
      {"quarantine", quarantine_of(status.quarantine)},
      {"ports", {{"attached", status.ports_attached}, {"waiting", std::move(waiting)}}},
  };
  return root.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

std::string to_json(const QuarantineOutcome& outcome) {
  const ordered_json root = outcome.error.empty() ? ordered_json{{"enforced", outcome.enforced},
                                                                 {"generation", outcome.generation},
                                                                 {"reason", outcome.reason},
                                                                 {"unsaved", outcome.unsaved},
                                                                 {"note", outcome.note}}
                                                  : ordered_json{{"error", outcome.error}};
  return root.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

}  // namespace bulkhead::reconcile
