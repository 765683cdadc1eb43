#include <algorithm>
#include <span>

#include "policies/model/address.h"
#include "policies/model/policy.h"

namespace bulkhead::policies {
namespace {

std::string join(const std::vector<std::string>& parts, const char* separator) {
  std::string text;
  for (const auto& part : parts) {
    if (!text.empty()) text += separator;
    text += part;
  }
  return text;
}

std::string describe(const Requirement& requirement) {
  std::string values;
  for (const auto& value : requirement.values) {
    if (!values.empty()) values += ',';
    values += value;
  }
  switch (requirement.op) {
    case Operator::kIn:
      return requirement.values.size() == 1 ? requirement.key + "=" + values
                                            : requirement.key + " in (" + values + ")";
    case Operator::kNotIn:
      return requirement.values.size() == 1 ? requirement.key + "!=" + values
                                            : requirement.key + " notin (" + values + ")";
    case Operator::kExists:
      return requirement.key;
    case Operator::kDoesNotExist:
      return "!" + requirement.key;
  }
  return {};
}

std::string describe(const Pattern& pattern) {
  switch (pattern.form) {
    case Pattern::Form::kExact:
      return pattern.text;
    case Pattern::Form::kPrefix:
      return pattern.text + "*";
    case Pattern::Form::kSuffix:
      return "*" + pattern.text;
    case Pattern::Form::kAny:
      return "*";
  }
  return {};
}

struct PeerWords {
  std::string operator()(const Everyone&) const { return "everyone"; }
  std::string operator()(const LocalNode&) const { return "host"; }
  std::string operator()(const World&) const { return "world"; }
  std::string operator()(const NodeSelector& peer) const {
    return peer.nodes.requirements.empty() ? "every node" : "nodes " + describe(peer.nodes);
  }
  std::string operator()(const IpBlock& peer) const {
    std::string text = (peer.world_only ? "world in " : "") + format(peer.block);
    const char* separator = " except ";
    for (const auto& hole : peer.except) {
      text += separator + format(hole);
      separator = ", ";
    }
    return peer.group.empty() ? text : text + " of group " + peer.group;
  }
  std::string operator()(const Source& peer) const {
    std::vector<std::string> parts;
    for (const SourceTerm& term : peer.terms) {
      std::vector<std::string> patterns;
      for (const Pattern& pattern : term.patterns) patterns.push_back(describe(pattern));
      const char* field = term.field == SourceTerm::Field::kPrincipal ? "principal " : "namespace ";
      const std::string whom = patterns.empty() ? "of nobody" : join(patterns, " or ");
      parts.push_back(field + std::string(term.negated ? "not " : "") + whom);
    }
    std::vector<std::string> blocks;
    for (const IpBlock& block : peer.blocks) blocks.push_back((*this)(block));
    if (!peer.any_address) parts.push_back(blocks.empty() ? "no address" : "from " + join(blocks, " or "));
    return parts.empty() ? "everyone" : join(parts, " and ");
  }
  std::string operator()(const EndpointSelector& peer) const {
    std::string text = peer.endpoints.requirements.empty() ? "every pod" : "pods " + describe(peer.endpoints);
    if (peer.namespace_name) return text + " in namespace " + *peer.namespace_name;
    if (peer.namespaces.requirements.empty()) return text + " in every namespace";
    return text + " in namespaces " + describe(peer.namespaces);
  }
};

}  // namespace

std::string describe(const Policy& policy) {
  const std::string home = policy.namespace_name.empty() ? "" : policy.namespace_name + "/";
  return policy.kind + " " + home + policy.name;
}

std::string_view name(Action action) {
  constexpr std::string_view kNames[] = {"allow", "deny", "pass"};
  return kNames[static_cast<std::size_t>(action)];
}

std::string describe(const Invariant& invariant, const Demand& demand) {
  return "Invariant " + invariant.name +
         (demand.claim == Demand::Claim::kNever ? ", never '" : ", always '") + demand.name + "'";
}

std::string_view name(Tier tier) {
  constexpr std::string_view kNames[] = {"quarantine", "mesh", "platform", "application", "baseline"};
  return kNames[static_cast<std::size_t>(tier)];
}

std::string_view name(Established established) {
  constexpr std::string_view kNames[] = {"keep", "reevaluate", "reset"};
  return kNames[static_cast<std::size_t>(established)];
}

std::string describe(const Selector& selector) {
  std::string text;
  for (const auto& requirement : selector.requirements) {
    if (!text.empty()) text += ',';
    text += describe(requirement);
  }
  return text.empty() ? "everything" : text;
}

std::string describe(const Peer& peer) {
  return std::visit(PeerWords{}, peer);
}

std::string describe(const PortMatch& port) {
  const std::string protocol{name(port.protocol)};
  if (!port.name.empty()) return protocol + "/" + port.name;
  if (port.protocol == Protocol::kOther) {
    if (port.first == 0 && port.last >= 0xff) return "every other protocol";
    return "protocol " + std::to_string(port.first) +
           (port.first == port.last ? "" : "-" + std::to_string(port.last));
  }
  const bool icmp = port.protocol == Protocol::kIcmp || port.protocol == Protocol::kIcmpV6;
  if (port.first <= (icmp ? 0 : 1) && port.last == 0xffff)
    return icmp ? protocol : "every " + protocol + " port";
  return protocol + "/" + std::to_string(port.first) +
         (port.first == port.last ? "" : "-" + std::to_string(port.last));
}

namespace {

const std::string* group_of(const Peer& peer) {
  const auto* block = std::get_if<IpBlock>(&peer);
  return block != nullptr && !block->group.empty() ? &block->group : nullptr;
}

/// "group corp (10.0.0.0/8, 192.0.2.0/24 and 7 more)", of neighbours that were taken of one group.
std::string describe_group(std::span<const Peer> peers) {
  constexpr std::size_t kBlocksShown = 3;
  std::vector<std::string> blocks;
  for (const Peer& peer : peers.first(std::min(peers.size(), kBlocksShown))) {
    IpBlock block = std::get<IpBlock>(peer);
    block.group.clear();
    blocks.push_back(describe(block));
  }
  const std::size_t more = peers.size() - blocks.size();
  return "group " + *group_of(peers[0]) + " (" + join(blocks, ", ") +
         (more != 0 ? " and " + std::to_string(more) + " more" : "") + ")";
}

}  // namespace

std::string describe_peers(const Rule& rule) {
  std::vector<std::string> parts;
  const std::span<const Peer> peers(rule.peers);
  for (std::size_t i = 0, end; i < peers.size(); i = end) {
    const std::string* group = group_of(peers[i]);
    for (end = i + 1; group != nullptr && end < peers.size(); ++end)
      if (const std::string* next = group_of(peers[end]); next == nullptr || *next != *group) break;
    parts.push_back(group != nullptr ? describe_group(peers.subspan(i, end - i)) : describe(peers[i]));
  }
  return parts.empty() ? "nobody" : join(parts, "; ");
}

std::string describe_ports(const Rule& rule) {
  if (rule.all_ports) return "every port";
  std::vector<std::string> parts;
  for (const auto& port : rule.ports) parts.push_back(describe(port));
  return parts.empty() ? "no port" : join(parts, ", ");
}

}  // namespace bulkhead::policies
