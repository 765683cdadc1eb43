#include "policies/import/edges.h"

#include <algorithm>
#include <bitset>

#include "policies/load/fields.h"
#include "policies/load/syntax.h"
#include "policies/model/address.h"

namespace bulkhead::policies::imports {
namespace {

constexpr std::size_t kEndsMax = 64;

std::string words_of(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

/// matchLabels and matchExpressions, without braces.
std::string write(const Selector& selector) {
  std::vector<std::string> labels, expressions;
  std::vector<std::string> seen;
  for (const auto& [key, op, values] : selector.requirements) {
    const bool twice = std::find(seen.begin(), seen.end(), key) != seen.end();
    if (op == Operator::kIn && values.size() == 1 && !twice) {
      labels.push_back(scalar(key) + ": " + scalar(values[0]));
      seen.push_back(key);
      continue;
    }
    constexpr std::string_view kNames[] = {"In", "NotIn", "Exists", "DoesNotExist"};
    std::string text = "{key: " + scalar(key) + ", operator: " + std::string(kNames[static_cast<int>(op)]);
    std::vector<std::string> quoted_values;
    for (const auto& value : values) quoted_values.push_back(scalar(value));
    if (!values.empty()) text += ", values: [" + words_of(quoted_values) + "]";
    expressions.push_back(text + "}");
  }
  std::vector<std::string> parts;
  if (!labels.empty()) parts.push_back("matchLabels: {" + words_of(labels) + "}");
  if (!expressions.empty()) parts.push_back("matchExpressions: [" + words_of(expressions) + "]");
  return words_of(parts);
}

struct EndWriter {
  std::string operator()(const Everyone&) const { return "{any: {}}"; }
  std::string operator()(const LocalNode&) const { return "{host: {}}"; }
  std::string operator()(const World&) const { return "{world: {}}"; }
  std::string operator()(const NodeSelector& end) const { return "{nodes: {" + write(end.nodes) + "}}"; }
  std::string operator()(const Source&) const { return "{nobody: {}}"; }  // no dialect's edges have one
  std::string operator()(const IpBlock& end) const {
    std::vector<std::string> holes;
    for (const auto& hole : end.except) holes.push_back("\"" + format(hole) + "\"");
    const std::string text = "{cidr: \"" + format(end.block) + "\"" +
                             (holes.empty() ? "" : ", except: [" + words_of(holes) + "]") + "}";
    return end.world_only ? "{world: " + text + "}" : text;
  }
  std::string operator()(const EndpointSelector& end) const {
    const auto& spaces = end.namespaces.requirements;
    // What no namespace can be called is a label that none bears.
    const bool one = spaces.size() == 1 && spaces[0].key == kNamespaceName && spaces[0].op == Operator::kIn &&
                     spaces[0].values.size() == 1 && !wrong_dns_label(spaces[0].values[0]);
    const std::string labels = write(end.endpoints);
    return "{" +
           (one ? "namespace: " + scalar(spaces[0].values[0])
                : "namespaceSelector: {" + write(end.namespaces) + "}") +
           (labels.empty() ? "" : ", " + labels) + "}";
  }
};

std::string write_ends(const std::vector<Peer>& ends) {
  if (ends.empty()) return "{nobody: {}}";
  std::vector<std::string> words;
  for (const auto& end : ends) words.push_back(std::visit(EndWriter{}, end));
  return words.size() == 1 ? words[0] : "[" + words_of(words) + "]";
}

std::string write(const PortMatch& match) {
  const std::string first = std::to_string(std::max<unsigned>(match.first, 1)),
                    range = first + (match.first == match.last ? "" : "-" + std::to_string(match.last));
  const std::string word{name(match.protocol)};
  switch (match.protocol) {
    case Protocol::kTcp:
    case Protocol::kUdp:
    case Protocol::kSctp:
      if (!match.name.empty()) return word + "/" + match.name;
      return match.first == 0 && match.last == 0xffff ? word + "/any" : word + "/" + range;
    case Protocol::kIcmp:
    case Protocol::kIcmpV6: {
      const std::string family = match.protocol == Protocol::kIcmp ? "icmpv4" : "icmpv6";
      if (match.first == 0 && match.last >= 0xff) return family;
      return family + "/" + std::to_string(match.first) +
             (match.first == match.last ? "" : "-" + std::to_string(match.last));
    }
    case Protocol::kOther:
      return "protocol/" + std::to_string(match.first) +
             (match.first == match.last ? "" : "-" + std::to_string(match.last));
  }
  return "any";
}

std::vector<std::vector<Peer>> chunks(const std::vector<Peer>& ends) {
  std::vector<std::vector<Peer>> parts(1);
  for (const auto& end : ends) {
    if (parts.back().size() == kEndsMax) parts.emplace_back();
    parts.back().push_back(end);
  }
  return parts;
}

void write_edge(const Edge& edge, Tier tier, std::string& text) {
  std::vector<std::string> terms;
  for (const auto& match : edge.ports) terms.push_back(write(match));
  std::sort(terms.begin(), terms.end());
  terms.erase(std::unique(terms.begin(), terms.end()), terms.end());
  std::size_t number = 0;
  for (const auto& subjects : chunks(edge.subjects)) {
    for (const auto& peers : chunks(edge.peers)) {
      const bool ingress = edge.direction == Direction::kIngress;
      text += "  - name: " + edge.name + (number == 0 ? "" : "-" + std::to_string(number + 1)) + "  # line " +
              std::to_string(edge.line) + "\n";
      text += "    from: " + write_ends(ingress ? peers : subjects) + "\n";
      text += "    to: " + write_ends(ingress ? subjects : peers) + "\n";
      text += "    ports: [" + (edge.all_ports ? "any" : words_of(terms)) + "]\n";
      text += std::string("    at: ") + (ingress ? "receiver" : "sender") + "\n";
      if (edge.action != Action::kAllow) text += "    action: " + std::string(name(edge.action)) + "\n";
      if (tier == Tier::kApplication && edge.action == Action::kAllow && !edge.isolates)
        text += "    isolates: false\n";
      ++number;
    }
  }
}

using Numbers = std::bitset<65536>;

void add_gaps(const Numbers& matched, Protocol protocol, std::uint32_t last, std::vector<PortMatch>& gaps) {
  const bool other = protocol == Protocol::kOther;
  const auto named = [&](std::uint32_t number) {
    return other && (number == 1 || number == 6 || number == 17 || number == 58 || number == 132);
  };
  const bool has_ports = last == 0xffff;  // and none is 0
  for (std::uint32_t number = has_ports ? 1 : 0; number <= last; ++number) {
    if (matched[number] || named(number)) continue;
    std::uint32_t end = number;
    while (end < last && !matched[end + 1] && !named(end + 1)) ++end;
    const std::uint32_t first = has_ports && number == 1 && end == last ? 0 : number;
    gaps.push_back({protocol, static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(end), {}});
    number = end;
  }
}

}  // namespace

std::string quoted_scalar(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  }
  return quoted + "\"";
}

std::string scalar(std::string_view text) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '/';
  };
  const bool letter =
      !text.empty() && ((text[0] >= 'a' && text[0] <= 'z') || (text[0] >= 'A' && text[0] <= 'Z'));
  if (letter && std::all_of(text.begin(), text.end(), plain) && !looks_like_boolean(text) &&
      !looks_like_number(text) && text != "null" && text != "Null" && text != "NULL")
    return std::string(text);
  return quoted_scalar(text);
}

std::string origin_comment(const std::string& source, const Origin& origin) {
  const auto clean = [](std::string text) {
    std::replace_if(
        text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; },
        '?');
    return text;
  };
  return "# " + clean(source) + ", " + clean(origin.file) + ":" + std::to_string(origin.line) + "\n";
}

Object write(const Segmentation& policy) {
  std::string text = origin_comment(policy.source, policy.origin);
  text += "apiVersion: bulkhead.io/v1alpha1\nkind: SegmentationPolicy\n";
  text += "metadata: {name: " + scalar(policy.name) + ", namespace: " + scalar(policy.namespace_name) +
          "}\nspec:\n";
  if (policy.tier != Tier::kApplication)
    text += "  tier: " + std::string(name(policy.tier)) + "\n  priority: " + std::to_string(policy.priority) +
            "\n";
  text += "  edges:\n";
  for (const auto& edge : policy.edges) write_edge(edge, policy.tier, text);
  return {"SegmentationPolicy", policy.namespace_name, policy.name,
          policy.source,        policy.origin,         std::move(text)};
}

EndpointSelector in_namespace(const std::string& name) {
  return {std::nullopt, {{{std::string(kNamespaceName), Operator::kIn, {name}}}}, {}};
}

Selector both(const Selector& a, const Selector& b) {
  Selector made = a;
  auto& all = made.requirements;
  all.insert(all.end(), b.requirements.begin(), b.requirements.end());
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return made;
}

EndpointSelector both(const EndpointSelector& a, const EndpointSelector& b) {
  return {std::nullopt, both(a.namespaces, b.namespaces), both(a.endpoints, b.endpoints)};
}

bool covers(const EndpointSelector& outer, const EndpointSelector& inner) {
  const auto within = [](const Selector& few, const Selector& many) {
    return std::includes(many.requirements.begin(), many.requirements.end(), few.requirements.begin(),
                         few.requirements.end());
  };
  return within(outer.namespaces, inner.namespaces) && within(outer.endpoints, inner.endpoints);
}

bool disjoint(const EndpointSelector& a, const EndpointSelector& b) {
  const auto apart = [](const Selector& x, const Selector& y) {
    for (const auto& p : x.requirements)
      for (const auto& q : y.requirements)
        if (p.key == q.key && p.op == Operator::kIn && q.op == Operator::kIn &&
            std::none_of(p.values.begin(), p.values.end(), [&](const auto& value) {
              return std::find(q.values.begin(), q.values.end(), value) != q.values.end();
            }))
          return true;
    return false;
  };
  return apart(a.namespaces, b.namespaces) || apart(a.endpoints, b.endpoints);
}

std::vector<PortMatch> all_but(const std::vector<PortMatch>& ports) {
  std::vector<PortMatch> gaps;
  for (int number = 0; number < kProtocolCount; ++number) {
    const auto protocol = static_cast<Protocol>(number);
    const bool has_ports =
        protocol == Protocol::kTcp || protocol == Protocol::kUdp || protocol == Protocol::kSctp;
    Numbers matched;
    for (const auto& match : ports)
      if (match.protocol == protocol && match.name.empty())
        for (std::uint32_t port = match.first; port <= match.last; ++port) matched.set(port);
    add_gaps(matched, protocol, has_ports ? 0xffff : 0xff, gaps);
  }
  return gaps;
}

void deny_own_node(const std::vector<TowardsNode>& entries, std::vector<Segmentation>& policies,
                   std::vector<Ledger>& ledgers) {
  std::vector<const TowardsNode*> allowing;
  for (const auto& entry : entries)
    if (entry.all_ports || !entry.ports.empty()) allowing.push_back(&entry);
  std::vector<bool> reported(allowing.size());
  for (const auto& isolating : entries) {
    if (!isolating.isolates) continue;
    bool all = false;
    std::vector<PortMatch> allowed;
    for (const TowardsNode* entry : allowing) {
      if (!covers(entry->subject, isolating.subject)) continue;
      all = all || entry->all_ports;
      allowed.insert(allowed.end(), entry->ports.begin(), entry->ports.end());
    }
    if (all) continue;
    for (std::size_t i = 0; i < allowing.size(); ++i) {
      const TowardsNode& entry = *allowing[i];
      if (reported[i] || covers(entry.subject, isolating.subject) ||
          disjoint(entry.subject, isolating.subject))
        continue;
      reported[i] = true;
      ledgers[entry.policy].add(entry.at, Effect::kStricter,
                                "what this allows to the own node is denied to endpoints that " +
                                    policies[isolating.policy].source + " isolates too");
    }
    Edge edge;
    edge.name = "own-node";
    edge.direction = Direction::kEgress;
    edge.subjects = {isolating.subject};
    edge.peers = {LocalNode{}};
    edge.all_ports = allowed.empty();
    if (!allowed.empty()) edge.ports = all_but(allowed);
    edge.action = Action::kDeny;
    edge.line = policies[isolating.policy].origin.line;
    if (edge.all_ports || !edge.ports.empty()) policies[isolating.policy].edges.push_back(std::move(edge));
  }
}

}  // namespace bulkhead::policies::imports
