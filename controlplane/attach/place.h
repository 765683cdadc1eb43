// Where a port is to be, resolved against the node as it is now.
#pragma once

#include <string>
#include <variant>

#include "controlplane/netlink/monitor.h"
#include "controlplane/publish/fd.h"
#include "controlplane/source/source.h"

namespace bulkhead::attach {

struct Place {
  std::string text;          // equal exactly where it is the same interface in the same namespace
  policies::MacBytes mac{};  // of the endpoint
};

/// Why it is not there yet; for people.
struct Absent {
  std::string reason;
};

/// Cheap enough to ask for every port each second. Throws nothing.
std::variant<Place, Absent> resolve(const source::Port& port, const netlink::Monitor& monitor);

/// The open namespace of a tap's place, or why not. Empty for a port in the node's own namespace.
std::variant<publish::Fd, Absent> open_namespace(const std::string& path);

}  // namespace bulkhead::attach
