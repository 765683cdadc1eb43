// What our own kinds say packets by: the ends *from* and *to*, and ports.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policies/load/fields.h"
#include "policies/load/port_term.h"
#include "policies/model/policy.h"

namespace bulkhead::policies {

/// One end, as a peer and as a subject.
struct EdgeEnd {
  std::optional<Peer> peer;                 // `nobody` is none
  std::optional<EndpointSelector> subject;  // whom the edge governs at this end
  bool isolates = false;
};

/// Where Kubernetes takes null for absent, our kinds refuse it: an end whose labels were forgotten would select
/// everyone.
void refuse_null(Fields& fields, std::initializer_list<std::string_view> names);

/// One end or a list of them. Selectors that name no namespace mean `own_namespace`; every namespace where there
/// is none.
std::vector<EdgeEnd> read_ends(const Value& value, const std::optional<std::string>& own_namespace);

std::vector<Peer> peers_of(const std::vector<EdgeEnd>& ends);

/// All terms of the field `ports`, which must be there. `matches` is empty where `any`.
PortTerm read_ports(Fields& fields);

}  // namespace bulkhead::policies
