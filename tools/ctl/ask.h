// Whom the answers come from: the data plane's socket and memory, the control plane's socket, or a file.
//
// Verdicts, endpoints and identities are read from the *enforced image*, the very bytes that the data plane
// judges with, mapped read-only and validated here again; never from a second model.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "controlplane/publish/channel.h"
#include "dataplane/abi/flow.h"
#include "dataplane/abi/telemetry.h"
#include "dataplane/image/validate.h"
#include "tools/ctl/command.h"

namespace bulkhead::ctl {

/// Read-only memory of a descriptor; unmapped with its owner.
class Mapping {
 public:
  Mapping() = default;
  /// Failure(kExitNoAnswer) where the kernel refuses; `what` names the memory for people.
  Mapping(int fd, std::uint64_t bytes, const std::string& what);
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(start_), size_}; }

 private:
  void* start_ = nullptr;
  std::size_t size_ = 0;
};

/// An image and the memory its view points into.
struct Image {
  image::View view;
  std::vector<Mapping> mappings;  // the data plane's sections, or one file
  std::uint64_t generation = 0;   // 0: from a file, which does not carry one
  std::string from;               // "the data plane (generation 7)", "node.image"

  image::Sections sections() const;
};

/// Failure(kExitNoAnswer), in plain words, if the data plane cannot be reached.
publish::Channel dataplane(const Invocation& invocation);

/// The enforced image. Failure(kExitNoAnswer) if none is enforced, (kExitRefused) if it does not validate.
Image enforced_image(publish::Channel& channel);

/// A file as format.h lays it out. Failure(kExitRefused) names the file and the reason.
Image image_file(const std::string& path);

/// `--image FILE` if given, else the enforced image.
Image image_of(const Invocation& invocation);

/// The telemetry region, its header checked: offsets lie inside.
struct Telemetry {
  Mapping memory;
  const abi::TelemetryHeader* header = nullptr;
  std::span<const abi::WorkerBlock> workers;
};

/// The flow table, its header checked: all three arrays lie inside.
struct FlowTable {
  Mapping memory;
  const abi::FlowTableHeader* header = nullptr;
  const std::uint16_t* tags = nullptr;
  const abi::FlowEntry* hot = nullptr;
  const abi::FlowDetail* cold = nullptr;
};

Telemetry telemetry_of(const publish::Regions& regions);
FlowTable flow_table_of(const publish::Regions& regions);

/// One request to the control plane: a JSON line each way. The reason, for people, where nobody answers.
struct ControlplaneReply {
  std::optional<Value> value;
  std::string reason;
};
ControlplaneReply ask_controlplane(const Invocation& invocation, const Value& request, int timeout_ms = 5000);

}  // namespace bulkhead::ctl
