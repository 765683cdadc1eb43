#include "policies/load/ends.h"

#include <array>

#include "policies/load/objects.h"

namespace bulkhead::policies {
namespace {

constexpr std::size_t kEndsMax = 64;
constexpr std::string_view kExpectedEnd =
    "matchLabels, matchExpressions, namespace, namespaceSelector, cidr, host, world or any";

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

EdgeEnd read_cidr(Fields& fields) {
  IpBlock peer;
  const auto block = fields.optional("cidr").block();
  peer.block = block.value_or(AddressBlock{});
  for (const auto& item : fields.optional("except").list()) {
    const auto hole = item.block();
    if (!hole || !block) continue;
    if (!contains(*block, *hole) || *block == *hole)
      item.fail("found " + quoted(format(*hole)) + ", expected a smaller block within " + format(*block));
    peer.except.push_back(*hole);
  }
  return {peer, std::nullopt, false};
}

/// host, world and any take an empty mapping.
EdgeEnd read_word(Fields& fields, std::string_view word) {
  const Value value = fields.optional(word);
  if (!value.is_mapping() || !value.node()->members.empty())
    value.fail_expected("an empty mapping: " + std::string(word) + ": {}");
  if (word == "host") return {LocalNode{}, std::nullopt, false};
  if (word == "world") return {World{}, std::nullopt, false};
  return {Everyone{}, EndpointSelector{}, false};
}

std::optional<EdgeEnd> read_end(const Value& item, const std::optional<std::string>& own_namespace) {
  Fields fields = item.fields();
  if (!fields.valid()) return std::nullopt;
  constexpr std::array<std::string_view, 4> kForms = {"cidr", "host", "world", "any"};
  std::vector<std::string_view> forms;
  for (const auto form : kForms)
    if (fields.has(form)) forms.push_back(form);
  const bool selects = fields.has("matchLabels") || fields.has("matchExpressions") ||
                       fields.has("namespace") || fields.has("namespaceSelector");
  if (selects) forms.insert(forms.begin(), "a selector");
  refuse_null(fields, {"matchLabels", "matchExpressions", "namespace", "namespaceSelector", "cidr"});
  fields.accept({"host", "world", "any"});

  if (forms.empty()) {
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
  if (forms[0] == "cidr") return read_cidr(fields);
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
    (list ? list : fields.value())
        .fail("found no ports, expected a list of them; write ports: [any] for every port");
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
  for (const auto& end : ends) peers.push_back(end.peer);
  return peers;
}

}  // namespace bulkhead::policies
