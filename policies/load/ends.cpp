#include "policies/load/ends.h"

#include <array>

#include "policies/load/cidr_group.h"
#include "policies/load/objects.h"

namespace bulkhead::policies {
namespace {

constexpr std::size_t kEndsMax = 64;
constexpr std::string_view kExpectedEnd =
    "matchLabels, matchExpressions, namespace, namespaceSelector, cidr, cidrGroup, nodes, host, world, any "
    "or nobody";

EdgeEnd read_selected(Fields& fields, const std::optional<std::string>& own_namespace) {
  EndpointSelector selector;
  const Value named = fields.optional("namespace");
  const Value by_label = fields.optional("namespaceSelector");
  if (named && by_label) by_label.fail("found namespaceSelector beside namespace, expected one of them");
  if (named) {
    selector.namespace_name = named.text().value_or("");
    if (const auto wrong = wrong_dns_label(*selector.namespace_name); wrong && named.text())
      named.fail_expected(*wrong);
  } else if (by_label) {
    selector.namespaces = read_selector(by_label);
  } else {
    selector.namespace_name = own_namespace;
  }
  selector.endpoints = read_selector(fields);
  return {selector, selector, true};
}

EdgeEnd read_cidr(Fields& fields, bool world_only) {
  IpBlock peer = read_ip_block(fields);
  peer.world_only = world_only;
  return {peer, std::nullopt, false};
}

/// All of the world, or what of it lies in a block.
EdgeEnd read_world(const Value& value) {
  if (!value.is_mapping()) value.fail_expected("a mapping: world: {} or world: {cidr: 203.0.113.0/24}");
  Fields fields = value.fields();
  if (fields.has("cidr")) return read_cidr(fields, true);
  if (fields.has("except")) value.fail("found except without cidr, expected both or neither");
  fields.accept({"cidr", "except"});
  return {World{}, std::nullopt, false};
}

/// host, any and nobody take an empty mapping.
EdgeEnd read_word(Fields& fields, std::string_view word) {
  const Value value = fields.optional(word);
  if (!value.is_mapping() || !value.node()->members.empty())
    value.fail_expected("an empty mapping: " + std::string(word) + ": {}");
  if (word == "host") return {LocalNode{}, std::nullopt, false};
  if (word == "nobody") return {std::nullopt, std::nullopt, false};
  return {Everyone{}, EndpointSelector{}, false};
}

std::optional<EdgeEnd> read_end(const Value& item, const std::optional<std::string>& own_namespace) {
  Fields fields = item.fields();
  if (!fields.valid()) return std::nullopt;
  constexpr std::array<std::string_view, 7> kForms = {"cidr",  "cidrGroup", "nodes", "host",
                                                      "world", "any",       "nobody"};
  std::vector<std::string_view> forms;
  for (const auto form : kForms)
    if (fields.has(form)) forms.push_back(form);
  const bool selects = fields.has("matchLabels") || fields.has("matchExpressions") ||
                       fields.has("namespace") || fields.has("namespaceSelector");
  if (selects) forms.insert(forms.begin(), "a selector");
  refuse_null(fields, {"matchLabels", "matchExpressions", "namespace", "namespaceSelector", "cidrGroup",
                       "nodes", "world"});
  fields.accept({"cidr", "host", "any", "nobody"});

  if (forms.empty()) {
    if (fields.has("except"))
      fields.optional("except").fail("found except without cidr, expected both or neither");
    if (item.node()->members.empty())
      item.fail("found an empty end, expected " + std::string(kExpectedEnd) +
                "; write any: {} for everyone, or namespace: NAME for every endpoint of a namespace");
    return std::nullopt;
  }
  if (forms.size() > 1) {
    item.fail("found " + std::string(forms[0]) + " beside " + std::string(forms[1]) +
              ", expected one of them: write a list of two ends");
    fields.accept({"except"});
    return std::nullopt;
  }
  if (selects) return read_selected(fields, own_namespace);
  if (forms[0] == "cidr") return read_cidr(fields, false);
  if (forms[0] == "cidrGroup") return EdgeEnd{named_group(fields.optional("cidrGroup")), std::nullopt, false};
  if (forms[0] == "world") return read_world(fields.optional("world"));
  if (forms[0] == "nodes")
    return EdgeEnd{NodeSelector{read_selector(fields.optional("nodes"))}, std::nullopt, false};
  return read_word(fields, forms[0]);
}

}  // namespace

void refuse_null(Fields& fields, std::initializer_list<std::string_view> names) {
  for (const auto field : names)
    if (const Value value = fields.optional(field); value.is_written_null())
      value.fail_expected("a value, or no such field");
}

std::vector<EdgeEnd> read_ends(const Value& value, const std::optional<std::string>& own_namespace) {
  std::vector<EdgeEnd> ends;
  if (value && !value.is_list()) {
    if (auto end = read_end(value, own_namespace)) ends.push_back(std::move(*end));
    return ends;
  }
  const auto items = value.list();
  if (value && items.empty())
    value.fail("found an empty list, expected at least one end; write {any: {}} for everyone");
  if (items.size() > kEndsMax) {
    value.fail("found " + std::to_string(items.size()) + " ends, expected at most " +
               std::to_string(kEndsMax));
    return ends;
  }
  for (const auto& item : items)
    if (auto end = read_end(item, own_namespace)) ends.push_back(std::move(*end));
  return ends;
}

PortTerm read_ports(Fields& fields) {
  PortTerm all;
  const Value list = fields.optional("ports");
  const auto items = list.list();
  if (items.empty() && fields.valid() && (!list || list.is_list()))
    list.fail("found no ports, expected a list of them; write ports: [any] for every port");
  for (const auto& item : items) {
    PortTerm term = read_port_term(item);
    all.any = all.any || term.any;
    all.matches.insert(all.matches.end(), term.matches.begin(), term.matches.end());
  }
  if (all.any && items.size() > 1) list.fail("found any beside other ports, expected any alone");
  if (all.any) all.matches.clear();
  return all;
}

std::vector<Peer> peers_of(const std::vector<EdgeEnd>& ends) {
  std::vector<Peer> peers;
  for (const auto& end : ends)
    if (end.peer) peers.push_back(*end.peer);
  return peers;
}

}  // namespace bulkhead::policies
