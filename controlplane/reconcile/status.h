// What the control plane knows of itself, and how tools ask for it.
//
// Socket `controlplane.sock` in the run directory (SOCK_STREAM). A client writes one JSON object on one line
// and reads one JSON object on one line; it may ask again on the same connection.
//
//   {"request": "status"}  -> the object below
//   {"request": "reload"}  -> {"reloading": true}: every file is read again, as on SIGHUP
//   {"request": "quarantine", "namespace": "shop", "name": "web", "reason": "...", "author": "..."}
//   {"request": "lift", "namespace": "shop", "name": "web"}
//                          -> {"enforced": true, "generation": 8, "reason": "", "unsaved": "", "note": ""}
//                             once it is tried: `reason` says why it is not enforced yet, `unsaved` why it would
//                             not outlive this process, `note` what else there is to know
//   anything else          -> {"error": "what was found and what is known"}
//
//   {
//     "version": "0.1.0",
//     "pid": 812,
//     "started_ms": 1764000000000,                      Unix time
//     "node": {"name": "node1", "posture": "deny", "strict": false},
//     "dataplane": {"connected": true, "error": "", "pid": 811},
//     "wanted": {"generation": 7, "digest": "..."},     64 hexadecimal digits; generation 0 and "": none yet
//     "enforced": {"generation": 7, "digest": "..."},   as last heard of the data plane
//     "publish": {
//       "last_ms": 1764000000000,                       Unix time; 0: never
//       "compile_us": 900,                              of the last one, as the next two
//       "publish_us": 310,
//       "swap_ns": 1200,
//       "published": 7,                                 how often, since this process started
//       "shared_policy": 5,                             of these, with the policy section of the one before
//       "refused": "",                                  why the last candidate is not enforced
//       "warnings": ["..."]                             of the last compile
//     },
//     "invariants": {                                   of the last candidate
//       "demands": 4,
//       "proof_us": 800,
//       "broken": [{"file": "...", "line": 9, "column": 5, "message": "..."}]    each with a packet that shows it
//     },
//     "sources": [{
//       "name": "static",
//       "path": "/etc/bulkhead/endpoints.yaml",
//       "synced": true,
//       "age_seconds": 3.2,                             since it was last read well
//       "endpoints": 4,
//       "refused": [{"file": "...", "line": 3, "column": 7, "message": "..."}]
//     }],
//     "policies": {
//       "path": "/etc/bulkhead/policies",
//       "synced": true,
//       "age_seconds": 3.2,
//       "files": 3,
//       "objects": 5,
//       "refused": [{"file": "...", "line": 3, "column": 7, "message": "..."}],
//       "warnings": [{"file": "...", "line": 3, "column": 7, "message": "..."}]
//     },
//     "quarantine": {
//       "error": "",                                    why it cannot be read: nothing is published then
//       "unsaved": "",                                  why it would not outlive this process
//       "damage": ["..."],                              what can no longer be read of it
//       "entries": [{"namespace": "shop", "name": "web", "reason": "...", "author": "...",
//                    "since_ms": 1764000000000, "exists": true}]
//     },
//     "ports": {
//       "attached": 5,
//       "waiting": [{"endpoint": "shop/web", "port": 3, "reason": "...", "age_seconds": 12.0}]
//     }
//   }
//
// `refused` lists what the newest files have wrong while the last good set stays in force; `warnings` what the
// set in force says and cannot mean here. Line and column 0 mean that the whole file or directory is meant.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "controlplane/quarantine/list.h"

namespace bulkhead::reconcile {

struct FileText {
  std::string file;
  std::uint32_t line = 0;
  std::uint32_t column = 0;
  std::string message;
};

struct SourceStatus {
  std::string name;
  std::string path;
  bool synced = false;
  double age_seconds = 0;
  std::size_t endpoints = 0;
  std::vector<FileText> refused;
};

struct PolicyStatus {
  std::string path;
  bool synced = false;
  double age_seconds = 0;
  std::size_t files = 0;
  std::size_t objects = 0;
  std::vector<FileText> refused, warnings;
};

struct GenerationStatus {
  std::uint64_t generation = 0;
  std::string digest;  // 64 hexadecimal digits, or empty
};

struct PublishStatus {
  std::int64_t last_ms = 0;
  std::uint64_t compile_us = 0;
  std::uint64_t publish_us = 0;
  std::uint64_t swap_ns = 0;
  std::uint64_t published = 0;
  std::uint64_t shared_policy = 0;
  std::string refused;
  std::vector<std::string> warnings;
};

struct InvariantStatus {
  std::size_t demands = 0;
  std::uint64_t proof_us = 0;
  std::vector<FileText> broken;  // where the demand stands
};

struct WaitingPort {
  std::string endpoint;
  std::uint32_t port = 0;
  std::string reason;
  double age_seconds = 0;
};

struct QuarantinedStatus {
  quarantine::Entry entry;
  bool exists = false;  // some endpoint has that name
};

struct QuarantineStatus {
  std::string error, unsaved;
  std::vector<std::string> damage;
  std::vector<QuarantinedStatus> entries;
};

/// What came of a quarantine, or of its end.
struct QuarantineOutcome {
  std::string error;  // what was asked for is wrong, and nothing was changed
  bool enforced = false;
  std::uint64_t generation = 0;
  std::string reason, unsaved, note;
};

struct Status {
  std::string node_name;
  std::string posture;
  bool strict = false;
  std::int64_t started_ms = 0;
  bool connected = false;
  std::string connection_error;
  std::uint64_t dataplane_pid = 0;
  GenerationStatus wanted;
  GenerationStatus enforced;
  PublishStatus publish;
  InvariantStatus invariants;
  std::vector<SourceStatus> sources;
  PolicyStatus policies;
  QuarantineStatus quarantine;
  std::size_t ports_attached = 0;
  std::vector<WaitingPort> ports_waiting;
};

/// One line of JSON without its newline. Text that is no UTF-8 is shown with replacement characters.
std::string to_json(const Status& status);
std::string to_json(const QuarantineOutcome& outcome);

}  // namespace bulkhead::reconcile
