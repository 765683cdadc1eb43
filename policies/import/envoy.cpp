#include "policies/import/envoy.h"

#include <algorithm>
#include <bitset>

#include "policies/import/edges.h"
#include "policies/load/authorization_policy.h"
#include "policies/load/fields.h"
#include "policies/model/address.h"

namespace bulkhead::policies::imports {
namespace {

constexpr std::string_view kNetworkFilter = "envoy.extensions.filters.network.rbac.v3.RBAC";
constexpr std::string_view kHttpFilter = "envoy.extensions.filters.http.rbac.v3.RBAC";
constexpr std::size_t kPortsMax = 4096, kTermsMax = 256, kDepthMax = 40, kConditionsMax = 10'000;
constexpr std::string_view kScheme = "spiffe://";

using Ports = std::bitset<65536>;

/// A condition on the sender. An empty pattern and no block: none at all.
struct Literal {
  enum class Field : std::uint8_t { kPrincipal, kNamespace, kAddress };
  Field field = Field::kPrincipal;
  bool negated = false;
  std::string text;  // as an AuthorizationPolicy writes it
};
using Term = std::vector<Literal>;  // all must hold

/// protobuf's JSON takes both spellings of a field.
Item field(const Item& item, std::string_view snake) {
  if (Item found = item[snake]) return found;
  std::string camel;
  for (std::size_t i = 0; i < snake.size(); ++i)
    camel += snake[i] == '_' && i + 1 < snake.size() ? static_cast<char>(std::toupper(snake[++i])) : snake[i];
  return item[camel];
}

std::string snake_of(std::string_view name) {
  std::string made;
  for (const char c : name) {
    if (c >= 'A' && c <= 'Z') made += '_';
    made += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return made;
}

/// The one member of a oneof.
std::pair<std::string, Item> one_of_members(const Item& item) {
  auto members = item.members();
  std::erase_if(members, [](const auto& member) { return !member.second; });
  if (members.size() != 1)
    throw Refused{item, "found " + std::to_string(members.size()) + " conditions, expected exactly one"};
  return {snake_of(members[0].first), members[0].second};
}

class RuleReader {
 public:
  /// `conditions` counts those of the whole filter.
  RuleReader(bool denies, std::size_t& conditions, Ledger& ledger)
      : denies_(denies), conditions_(conditions), ledger_(ledger) {}

  /// What cannot be said counts as failing in an ALLOW and as holding in a DENY.
  bool unsaid(const Item& at, const std::string& what) {
    ledger_.add(at, Effect::kStricter,
                what + (denies_ ? ": it counts as met, so the filter denies more here"
                                : ": it counts as not met, so the filter allows less here"));
    return denies_;
  }

  Ports permission(const Item& item, bool negated, std::size_t depth = 0) {
    count(item);
    if (depth > kDepthMax) throw Refused{item, "found conditions nested too deeply"};
    const auto [name, value] = one_of_members(item);
    if (name == "any") {
      if (!value.boolean()) throw Refused{value, "found any: false, expected true"};
      return negated ? Ports{} : ~Ports{};
    }
    if (name == "not_rule") return permission(value, !negated, depth + 1);
    if (name == "and_rules" || name == "or_rules") {
      value.refuse_besides({"rules"});
      if (value["rules"].items().empty()) throw Refused{value, "found no rules, expected at least one"};
      const bool all = (name == "and_rules") != negated;
      Ports made = all ? ~Ports{} : Ports{};
      for (const auto& operand : value["rules"].items()) {
        const Ports more = permission(operand, negated, depth + 1);
        made = all ? made & more : made | more;
      }
      return made;
    }
    Ports matched;
    if (name == "destination_port") {
      matched.set(value.number(0xffff).value_or(0));
    } else if (name == "destination_port_range") {
      value.refuse_besides({"start", "end"});
      const std::uint32_t start = value["start"].number(0xffff).value_or(0),
                          end = value["end"].number(0x10000).value_or(0);  // exclusive
      if (start >= end)
        throw Refused{value, "found no ports, expected a start below the end, which is not among them"};
      for (std::uint32_t port = start; port < end; ++port) matched.set(port);
    } else {
      return unsaid(value, "found " + name + ", which packets do not show") ? ~Ports{} : Ports{};
    }
    return negated ? ~matched : matched;
  }

  std::vector<Term> principal(const Item& item, bool negated, std::size_t depth = 0) {
    count(item);
    if (depth > kDepthMax) throw Refused{item, "found conditions nested too deeply"};
    const auto [name, value] = one_of_members(item);
    if (name == "any") {
      if (!value.boolean()) throw Refused{value, "found any: false, expected true"};
      return negated ? std::vector<Term>{} : std::vector<Term>{{}};
    }
    if (name == "not_id") return principal(value, !negated, depth + 1);
    if (name == "and_ids" || name == "or_ids") {
      value.refuse_besides({"ids"});
      const std::vector<Item> operands = value["ids"].items();
      if (operands.empty()) throw Refused{value, "found no ids, expected at least one"};
      const bool all = (name == "and_ids") != negated;
      std::vector<Term> made;
      if (all) made.emplace_back();
      for (const auto& operand : operands) {
        const auto more = principal(operand, negated, depth + 1);
        made = all ? joined(made, more, item) : united(std::move(made), more, item);
      }
      return made;
    }
    if (name == "direct_remote_ip" || name == "remote_ip" || name == "source_ip")
      return {{{Literal::Field::kAddress, negated, block_text(value)}}};
    if (name == "authenticated") return authenticated(value, negated);
    return unsaid(value, "found " + name + ", which packets do not show") ? std::vector<Term>{{}}
                                                                          : std::vector<Term>{};
  }

  static std::vector<Term> united(std::vector<Term> a, const std::vector<Term>& b, const Item& at) {
    a.insert(a.end(), b.begin(), b.end());
    if (a.size() > kTermsMax)
      throw Refused{at, "found more than " + std::to_string(kTermsMax) + " alternatives"};
    return a;
  }

 private:
  static std::vector<Term> joined(const std::vector<Term>& a, const std::vector<Term>& b, const Item& at) {
    if (a.size() * b.size() > kTermsMax)
      throw Refused{at, "found more than " + std::to_string(kTermsMax) + " alternatives"};
    std::vector<Term> made;
    for (const auto& x : a)
      for (const auto& y : b) {
        made.push_back(x);
        made.back().insert(made.back().end(), y.begin(), y.end());
      }
    return made;
  }

  /// protobuf's JSON writes a wrapped number as it is; without the wrapping it is a mapping.
  static std::string block_text(const Item& item) {
    item.refuse_besides({"address_prefix", "addressPrefix", "prefix_len", "prefixLen"});
    const Item prefix = field(item, "address_prefix"), bits = field(item, "prefix_len");
    if (bits.is_mapping()) {
      bits.refuse_besides({"value"});
      if (!bits["value"]) throw Refused{bits, "found no value, expected a number of bits"};
    }
    const std::string length = bits.is_mapping() ? bits["value"].text() : bits.text();
    const auto block = parse_block(prefix.text() + "/" + (length.empty() ? "0" : length));
    if (!block) throw Refused{item, "found no address block, expected address_prefix and prefix_len"};
    return format(*block);
  }

  std::vector<Term> authenticated(const Item& item, bool negated) {
    const auto literal = [&](Literal::Field kind, std::string text) {
      return std::vector<Term>{{{kind, negated, std::move(text)}}};
    };
    item.refuse_besides({"principal_name", "principalName"});
    const Item name = field(item, "principal_name");
    if (!name) return literal(Literal::Field::kPrincipal, "*");
    const auto cannot = [&](const Item& at, const std::string& what) {
      return unsaid(at, what) ? std::vector<Term>{{}} : std::vector<Term>{};
    };
    for (const auto& [key, value] : name.members()) {
      const std::string word = snake_of(key);
      if (word == "ignore_case" && value.boolean())
        return cannot(value, "found ignore_case, which principals do not know");
    }
    name.refuse_besides({"exact", "prefix", "suffix", "contains", "custom", "safe_regex", "safeRegex",
                         "ignore_case", "ignoreCase"});
    const auto text_of = [&](std::string_view word) { return field(name, word).text(); };
    if (const std::string text = text_of("exact"); !text.empty()) {
      if (!text.starts_with(home()) || text.find('*') != text.npos)
        return cannot(name, "found " + quoted(text) + ", a principal that no endpoint bears here");
      return literal(Literal::Field::kPrincipal, text.substr(kScheme.size()));
    }
    if (const std::string text = text_of("prefix"); !text.empty()) {
      if (kScheme.starts_with(text)) return literal(Literal::Field::kPrincipal, "*");
      if (!(text.starts_with(home()) || home().starts_with(text)) || text.find('*') != text.npos)
        return cannot(name, "found " + quoted(text) + ", with which no principal begins here");
      return literal(Literal::Field::kPrincipal, text.substr(kScheme.size()) + "*");
    }
    if (const std::string text = text_of("suffix"); !text.empty()) {
      if (text.find("//") != text.npos || text.find('*') != text.npos)
        return cannot(name, "found " + quoted(text) + ", with which no principal ends here");
      return literal(Literal::Field::kPrincipal, "*" + text);
    }
    if (const Item regex = field(name, "safe_regex")) {
      // What Istio writes for a namespace.
      std::string text = regex["regex"].text();
      constexpr std::string_view kBefore = ".*/ns/", kAfter = "/.*";
      if (text.starts_with(kBefore) && text.ends_with(kAfter) &&
          text.size() > kBefore.size() + kAfter.size()) {
        text = text.substr(kBefore.size(), text.size() - kBefore.size() - kAfter.size());
        if (!wrong_dns_label(text)) {
          const Literal in{Literal::Field::kNamespace, negated, text},
              has{Literal::Field::kPrincipal, negated, "*"};
          return negated ? std::vector<Term>{{in}, {has}} : std::vector<Term>{{in, has}};
        }
      }
    }
    return cannot(name, "found a match that principals do not know");
  }

  static std::string home() { return std::string(kScheme) + Mesh().trust_domain + "/"; }

  /// Each may mean all ports there are.
  void count(const Item& item) {
    if (++conditions_ > kConditionsMax)
      throw Refused{item, "found more than " + std::to_string(kConditionsMax) + " conditions in one filter"};
  }

  const bool denies_;
  std::size_t& conditions_;
  Ledger& ledger_;
};

std::string list_of(const std::vector<std::string>& texts) {
  std::string made = "[";
  for (const auto& text : texts) made += (made.size() == 1 ? "" : ", ") + quoted_scalar(text);
  return made + "]";
}

/// from and when of a term: a source has each list once, what is more must hold besides.
std::string write_term(const Term& term) {
  constexpr std::string_view kLists[] = {"principals", "namespaces", "ipBlocks"};
  constexpr std::string_view kNotLists[] = {"notPrincipals", "notNamespaces", "notIpBlocks"};
  constexpr std::string_view kKeys[] = {"source.principal", "source.namespace", "source.ip"};
  std::string source, when;
  for (std::size_t kind = 0; kind < 3; ++kind) {
    std::vector<std::string> some, none;
    for (const auto& literal : term)
      if (static_cast<std::size_t>(literal.field) == kind)
        (literal.negated ? none : some).push_back(literal.text);
    for (auto* texts : {&some, &none}) {
      std::sort(texts->begin(), texts->end());
      texts->erase(std::unique(texts->begin(), texts->end()), texts->end());
    }
    const auto add = [&](std::string_view name, const std::vector<std::string>& texts) {
      source += (source.empty() ? "" : ", ") + std::string(name) + ": " + list_of(texts);
    };
    if (!some.empty()) add(kLists[kind], {some[0]});
    if (!none.empty()) add(kNotLists[kind], none);
    for (std::size_t i = 1; i < some.size(); ++i)
      when += "    - {key: " + std::string(kKeys[kind]) + ", values: " + list_of({some[i]}) + "}\n";
  }
  std::string text;
  if (!source.empty()) text += "    from: [{source: {" + source + "}}]\n";
  if (!when.empty()) text += "    when:\n" + when;
  return text;
}

std::vector<std::string> numbers(const Ports& ports) {
  std::vector<std::string> texts;
  for (std::size_t port = 1; port < ports.size(); ++port)
    if (ports[port]) texts.push_back(std::to_string(port));
  return texts;
}

/// Nothing where the policy matches nothing.
std::string write_policy(const Item& policy, const std::string& name, bool denies, std::size_t& conditions,
                         Ledger& ledger) {
  RuleReader reader(denies, conditions, ledger);
  for (const auto& other : policy.besides({"permissions", "principals"}))
    if (!reader.unsaid(other, "found " + other.path().substr(other.path().rfind('.') + 1) +
                                  ", which packets do not show"))
      return {};
  Ports ports;
  std::vector<Term> terms;
  const auto permissions = policy["permissions"].items(), principals = policy["principals"].items();
  if (permissions.empty() || principals.empty())
    throw Refused{policy, "found no permissions or no principals, expected one of each"};
  for (const auto& item : permissions) ports |= reader.permission(item, false);
  for (const auto& item : principals)
    terms = RuleReader::united(std::move(terms), reader.principal(item, false), item);
  ports.reset(0);
  Ports every = ~Ports{};
  every.reset(0);
  if (ports.none() || terms.empty()) return {};
  std::string to;
  if (ports != every) {
    const Ports others = every & ~ports;
    if (ports.count() <= kPortsMax)
      to = "    to: [{operation: {ports: " + list_of(numbers(ports)) + "}}]\n";
    else if (others.count() <= kPortsMax)
      to = "    to: [{operation: {notPorts: " + list_of(numbers(others)) + "}}]\n";
    else if (!reader.unsaid(policy["permissions"], "found more ports than can be listed"))
      return {};
  }
  std::string text;
  for (const auto& term : terms) {
    std::string body = write_term(term) + to;
    if (body.empty()) body = "    from: []\n";
    const bool everything = body == "    from: []\n";
    text += everything ? "  - {}  # " : "  -";
    if (everything) {
      text += scalar(name) + ", line " + std::to_string(policy.line()) + "\n";
      continue;
    }
    body.replace(0, 4, "  - ");
    text.resize(text.size() - 3);
    const std::size_t line_end = body.find('\n');
    text += body.substr(0, line_end) + "  # " + scalar(name) + ", line " + std::to_string(policy.line()) +
            body.substr(line_end);
  }
  return text;
}

Object write_rules(const Item& rules, const std::string& name, bool dry_run, const std::string& file,
                   const Options& options, Ledger& ledger) {
  std::string action = rules["action"].text();
  if (action.empty() || action == "0") action = "ALLOW";
  if (action == "1") action = "DENY";
  if (action == "2") action = "LOG";
  if (action != "ALLOW" && action != "DENY" && action != "LOG")
    throw Refused{rules["action"], "found " + quoted(action) + ", expected ALLOW, DENY or LOG"};
  for (const auto& other :
       rules.besides({"action", "policies", "audit_logging_options", "auditLoggingOptions"}))
    throw Refused{other, "found a field that is not known here"};
  const Origin origin = ledger.origin(rules);
  std::string body;
  std::size_t conditions = 0;
  for (const auto& [key, policy] : rules["policies"].members())
    body += write_policy(policy, key, action == "DENY", conditions, ledger);
  std::string text = origin_comment(ledger.object(), origin);
  text += "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: " + scalar(name) +
          "\n  namespace: " + scalar(options.namespace_name) + "\n";
  // Envoy stands between the workload and its node, too.
  text += "  annotations:\n    bulkhead.io/own-node: judged\n";
  if (dry_run) text += "    istio.io/dry-run: \"true\"\n";
  text += "spec:\n";
  if (!options.selector.empty()) {
    std::string labels;
    for (const auto& [key, value] : options.selector)
      labels += (labels.empty() ? "" : ", ") + scalar(key) + ": " + scalar(value);
    text += "  selector: {matchLabels: {" + labels + "}}\n";
  }
  text += "  action: " + (action == "LOG" ? "AUDIT" : action) + "\n";
  if (!body.empty()) text += "  rules:\n" + body;
  return {"AuthorizationPolicy",
          options.namespace_name,
          name,
          ledger.object(),
          {file, origin.line, origin.column},
          std::move(text)};
}

void find(const Item& item, std::size_t depth, std::vector<Item>& found) {
  if (depth > kDepthMax) return;
  if (item.is_list())
    for (const auto& entry : item.items()) find(entry, depth + 1, found);
  if (!item.is_mapping()) return;
  const Item type = item["@type"];
  if (type && !type.is_mapping() && !type.is_list()) {
    const std::string text = type.text();
    if (text.ends_with(kNetworkFilter) || text.ends_with(kHttpFilter)) {
      found.push_back(item);
      return;
    }
  }
  for (const auto& [key, value] : item.members()) find(value, depth + 1, found);
}

}  // namespace

std::vector<Item> find_rbac_filters(const Item& document) {
  std::vector<Item> found;
  if (!document.is_mapping() || document["kind"]) return found;
  if (!document["@type"] && (document["rules"].is_mapping() || field(document, "shadow_rules").is_mapping()))
    return {document};
  find(document, 0, found);
  return found;
}

std::vector<Object> import_rbac(const Item& filter, std::size_t number, const std::string& file,
                                const Options& options, std::vector<Loss>& losses) {
  const std::string suffix = number == 0 ? "" : "-" + std::to_string(number + 1);
  std::string words = "RBAC filter";
  if (const std::string prefix = field(filter, "stat_prefix").text(); !prefix.empty()) words += " " + prefix;
  std::vector<Loss> found;
  Ledger ledger(file, words, found);
  if (filter["@type"].text().ends_with(kHttpFilter))
    throw Refused{filter, "found Envoy's HTTP filter, expected the network filter: it judges requests"};
  if (options.namespace_name == Mesh().root_namespace)
    throw Refused{
        filter, "found the namespace " + options.namespace_name + ", whose policies govern every namespace"};
  for (const auto& [key, value] : filter.members()) {
    const std::string name = snake_of(key);
    if (value && name != "@type" && name != "stat_prefix" && name != "rules" && name != "shadow_rules" &&
        name != "shadow_rules_stat_prefix" && name != "enforcement_type" && name != "delay_deny")
      throw Refused{value, "found a field that is not known here"};
  }
  std::vector<Object> objects;
  if (const Item rules = filter["rules"])
    objects.push_back(write_rules(rules, "rbac" + suffix, false, file, options, ledger));
  if (const Item rules = field(filter, "shadow_rules"))
    objects.push_back(write_rules(rules, "rbac" + suffix + "-shadow", true, file, options, ledger));
  losses.insert(losses.end(), found.begin(), found.end());
  return objects;
}

}  // namespace bulkhead::policies::imports
