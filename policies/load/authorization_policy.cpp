#include "policies/load/authorization_policy.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <utility>

#include "policies/load/objects.h"
#include "policies/load/port_ranges.h"

namespace bulkhead::policies {
namespace {

enum class IstioAction : std::uint8_t { kAllow, kDeny, kAudit };

/// Bounds of Istio's CustomResourceDefinition.
constexpr std::size_t kRulesMax = 512, kSourcesMax = 512;
/// Of one policy: how often its sources, conditions and lists are put together.
constexpr std::size_t kCombinationsMax = 4'000'000;

/// DENY before ALLOW.
constexpr std::uint32_t kDenyPriority = 0, kAllowPriority = 1;

/// One list and its not-form, of whatever kind.
struct Addresses {
  bool limited = false;  // `some` counts
  std::vector<AddressBlock> some, none;
};

/// What a rule asks of a packet, as far as it was read.
struct Match {
  std::vector<SourceTerm> terms;
  Addresses addresses;
};

Pattern pattern_of(const std::string& text) {
  if (text == "*") return {Pattern::Form::kAny, ""};
  if (text.starts_with('*')) return {Pattern::Form::kSuffix, text.substr(1)};
  if (text.ends_with('*')) return {Pattern::Form::kPrefix, text.substr(0, text.size() - 1)};
  return {Pattern::Form::kExact, text};
}

/// An empty list counts as absent for Istio: what it limits would then be unlimited.
std::vector<Value> items_of(const Value& list, std::size_t max = std::numeric_limits<std::size_t>::max()) {
  auto items = list.list();
  if (items.size() > max) {
    list.fail("found " + std::to_string(items.size()) + " items, expected at most " + std::to_string(max));
    items.resize(max);
  }
  if (list.is_list() && list.node()->items.empty())
    list.fail("found an empty list, expected at least one item, or no such field");
  return items;
}

void warn_unborne(const Value& item, const std::string& text, const std::string& trust_domain) {
  const std::string home = trust_domain + "/ns/";
  if (text.find('*') == text.npos && (!text.starts_with(home) || text.find("/sa/") == text.npos))
    item.warn("found the principal " + quoted(text) + ", which nobody bears: expected " + home +
              "NAMESPACE/sa/ACCOUNT");
}

void read_patterns(const Value& list, SourceTerm::Field field, bool negated, const Mesh& mesh, Match& match) {
  SourceTerm term{field, negated, {}};
  for (const auto& item : items_of(list)) {
    const auto text = item.nonempty_text();
    if (!text) continue;
    if (field == SourceTerm::Field::kPrincipal) warn_unborne(item, *text, mesh.trust_domain);
    term.patterns.push_back(pattern_of(*text));
  }
  if (list) match.terms.push_back(std::move(term));
}

/// NAMESPACE/ACCOUNT, or ACCOUNT of the policy's namespace; nothing else than these very texts.
void read_accounts(const Value& list, bool negated, const std::string& own_namespace, const Mesh& mesh,
                   Match& match) {
  constexpr std::size_t kAccountsMax = 16;
  SourceTerm term{SourceTerm::Field::kPrincipal, negated, {}};
  const auto items = items_of(list);
  if (items.size() > kAccountsMax)
    list.fail("found " + std::to_string(items.size()) + " service accounts, expected at most " +
              std::to_string(kAccountsMax));
  for (const auto& item : items) {
    const auto text = item.nonempty_text();
    if (!text) continue;
    const std::size_t slash = text->find('/');
    const std::string home = slash == text->npos ? own_namespace : text->substr(0, slash);
    const std::string account = slash == text->npos ? *text : text->substr(slash + 1);
    if (wrong_dns_label(home) || wrong_dns_subdomain(account))
      item.fail_expected("ACCOUNT or NAMESPACE/ACCOUNT");
    term.patterns.push_back({Pattern::Form::kExact, principal(mesh.trust_domain, home, account)});
  }
  if (list) match.terms.push_back(std::move(term));
}

/// Every endpoint is of the mesh's trust domain, so what is said of it holds of whoever has a principal, or of none.
void read_trust_domains(const Value& list, bool negated, const Mesh& mesh, Match& match) {
  bool ours = false;
  for (const auto& item : items_of(list)) {
    const auto text = item.nonempty_text();
    if (!text) continue;
    const std::size_t star = text->find('*');
    const bool inner = star != text->npos && star != 0 && star + 1 != text->size();
    if (text->find('/') != text->npos || inner || text->find('*', star + 1) != text->npos)
      item.fail_expected("a trust domain such as cluster.local, with at most one * at its start or end");
    ours = ours || pattern_of(*text).matches(mesh.trust_domain);
  }
  if (!list || (negated && !ours)) return;
  SourceTerm term{SourceTerm::Field::kPrincipal, negated, {}};
  if (ours) term.patterns.push_back({Pattern::Form::kAny, ""});
  match.terms.push_back(std::move(term));
}

std::vector<AddressBlock> read_blocks(const Value& list) {
  std::vector<AddressBlock> blocks;
  for (const auto& item : items_of(list)) {
    const auto text = item.nonempty_text();
    if (!text) continue;
    if (const auto block = parse_block(*text))
      blocks.push_back(*block);
    else if (const auto address = parse_address(*text))
      blocks.push_back(block_of(*address));
    else
      item.fail_expected("an address such as 10.0.0.1, or an address block such as 10.0.0.0/8");
  }
  return blocks;
}

/// Adds that the address lies in one of `some`, where they are said, and in none of `none`.
void read_addresses(const Value& some, const Value& none, Match& match) {
  Addresses& addresses = match.addresses;
  const auto more = read_blocks(some);
  if (some && !addresses.limited) {
    addresses.some = more;
  } else if (some) {
    std::vector<AddressBlock> common;
    for (const auto& a : addresses.some)
      for (const auto& b : more)
        if (contains(a, b) || contains(b, a)) common.push_back(contains(a, b) ? b : a);
    addresses.some = std::move(common);
  }
  addresses.limited = addresses.limited || some;
  const auto holes = read_blocks(none);
  addresses.none.insert(addresses.none.end(), holes.begin(), holes.end());
}

Source source_of(const Match& match, const Mesh& mesh) {
  Source source{match.terms, true, {}, mesh.trust_domain};
  Addresses addresses = match.addresses;
  if (!addresses.limited && addresses.none.empty()) return source;
  source.any_address = false;
  if (!addresses.limited) addresses.some = {*parse_block("0.0.0.0/0"), *parse_block("::/0")};
  for (const auto& block : addresses.some) {
    IpBlock left{block, {}};
    bool covered = false;
    for (const auto& hole : addresses.none) {
      covered = covered || contains(hole, block);
      if (contains(block, hole)) left.except.push_back(hole);
    }
    std::sort(left.except.begin(), left.except.end());
    left.except.erase(std::unique(left.except.begin(), left.except.end()), left.except.end());
    if (!covered) source.blocks.push_back(std::move(left));
  }
  return source;
}

PortRanges read_ports(const Value& list) {
  std::vector<std::uint16_t> ports;
  for (const auto& item : items_of(list)) {
    const auto text = item.text();
    if (!text) continue;
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), port);
    if (error != std::errc{} || end != text->data() + text->size() || port == 0)
      item.fail_expected("a port from 1 to 65535, in quotes");
    ports.push_back(port);
  }
  return PortRanges::of(ports);
}

/// Nothing: every port of every protocol.
std::optional<PortRanges> read_port_lists(const Value& some, const Value& none) {
  if (!some && !none) return std::nullopt;
  PortRanges ports = some ? read_ports(some) : PortRanges::all();
  return none ? ports.intersected(read_ports(none).complement()) : ports;
}

/// What of kCombinationsMax is left.
class Budget {
 public:
  /// False, and reported once, where it is used up: what costs more must not be done.
  bool spend(const Value& at, std::size_t combinations) {
    const bool enough = combinations <= left_;
    if (!enough && !std::exchange(told_, true))
      at.fail("found more than " + std::to_string(kCombinationsMax) +
              " combinations of this policy's sources, conditions and ports, which is the limit");
    left_ = enough ? left_ - combinations : 0;
    return enough;
  }

 private:
  std::size_t left_ = kCombinationsMax;
  bool told_ = false;
};

std::size_t size_of(const Value& list) {
  return list.is_list() ? list.node()->items.size() : 0;
}

class RuleReader {
 public:
  RuleReader(IstioAction action, const std::string& own_namespace, const Mesh& mesh, Budget& budget)
      : action_(action), own_namespace_(own_namespace), mesh_(mesh), budget_(budget) {}

  /// Nothing where an ALLOW rule asks for what no packet shows.
  std::optional<Rule> read(const Value& item, std::string name) {
    Fields fields = item.fields();
    Rule rule;
    rule.name = std::move(name);
    rule.action = action_ == IstioAction::kAllow ? Action::kPass : Action::kDeny;
    rule.origin = item.origin();
    std::vector<Match> sources;
    const Value from = fields.optional("from"), to = fields.optional("to"), when = fields.optional("when");
    for (const auto& entry : items_of(from, kSourcesMax)) sources.push_back(read_from(entry));
    if (!from) sources.emplace_back();
    std::optional<PortRanges> ports = read_to(to);
    for (const auto& condition : when.list()) read_when(condition, sources, ports);

    for (const auto& source : sources) {
      const Addresses& addresses = source.addresses;
      if (budget_.spend(item, source.terms.size() + addresses.some.size() * (addresses.none.size() + 1)))
        rule.peers.emplace_back(source_of(source, mesh_));
    }
    rule.all_ports = !ports;
    if (ports)
      for (const auto& [first, last] : ports->ranges())
        rule.ports.push_back({Protocol::kTcp, first, last, {}});
    if (of_requests_ && action_ == IstioAction::kAllow) return std::nullopt;
    return rule;
  }

 private:
  Match read_from(const Value& entry) {
    Fields fields = entry.fields();
    const Value value = fields.required("source");
    Fields source = value.fields();
    Match match;
    if (value.is_mapping() && value.node()->members.empty())
      value.fail(
          "found an empty source, expected principals, serviceAccounts, namespaces, trustDomains or "
          "ipBlocks");
    using Field = SourceTerm::Field;
    const Value accounts = source.optional("serviceAccounts");
    const Value no_accounts = source.optional("notServiceAccounts");
    const std::pair<std::string_view, std::pair<Field, bool>> lists[] = {
        {"principals", {Field::kPrincipal, false}},
        {"notPrincipals", {Field::kPrincipal, true}},
        {"namespaces", {Field::kNamespace, false}},
        {"notNamespaces", {Field::kNamespace, true}}};
    for (const auto& [name, kind] : lists) {
      const Value list = source.optional(name);
      if (list && (accounts || no_accounts))
        list.fail("found " + std::string(name) + " beside service accounts, expected one of them");
      read_patterns(list, kind.first, kind.second, mesh_, match);
    }
    read_accounts(accounts, false, own_namespace_, mesh_, match);
    read_accounts(no_accounts, true, own_namespace_, mesh_, match);
    read_trust_domains(source.optional("trustDomains"), false, mesh_, match);
    read_trust_domains(source.optional("notTrustDomains"), true, mesh_, match);
    read_addresses(source.optional("ipBlocks"), source.optional("notIpBlocks"), match);
    pass_over(source, {"requestPrincipals", "notRequestPrincipals", "remoteIpBlocks", "notRemoteIpBlocks"});
    return match;
  }

  std::optional<PortRanges> read_to(const Value& list) {
    std::optional<PortRanges> united;
    bool every_port = !list;
    for (const auto& entry : items_of(list)) {
      Fields fields = entry.fields();
      const Value value = fields.required("operation");
      Fields operation = value.fields();
      if (value.is_mapping() && value.node()->members.empty())
        value.fail("found an empty operation, expected ports or notPorts");
      const auto ports = read_port_lists(operation.optional("ports"), operation.optional("notPorts"));
      pass_over(operation, {"hosts", "notHosts", "methods", "notMethods", "paths", "notPaths"});
      every_port = every_port || !ports;
      if (!ports || !budget_.spend(value, united ? united->ranges().size() : 0)) continue;
      united = united ? united->united(*ports) : *ports;
    }
    return every_port ? std::nullopt : united;
  }

  void read_when(const Value& condition, std::vector<Match>& sources, std::optional<PortRanges>& ports) {
    Fields fields = condition.fields();
    const Value key = fields.required("key");
    const Value values = fields.optional("values"), not_values = fields.optional("notValues");
    const std::string name = key.nonempty_text().value_or("");
    if (fields.valid() && !values && !not_values)
      condition.fail("found neither values nor notValues, expected one of them");
    using Field = SourceTerm::Field;
    if (name == "destination.port") {
      const auto more = read_port_lists(values, not_values);
      if (more && budget_.spend(condition, ports ? ports->ranges().size() : 0))
        ports = ports ? ports->intersected(*more) : *more;
      return;
    }
    for (auto& match : sources) {
      const std::size_t more = size_of(values) + size_of(not_values);
      if (!budget_.spend(condition,
                         name == "source.ip" ? (match.addresses.some.size() + 1) * (more + 1) : more + 1))
        return;
      if (name == "source.principal" || name == "source.namespace") {
        const Field field = name == "source.principal" ? Field::kPrincipal : Field::kNamespace;
        read_patterns(values, field, false, mesh_, match);
        read_patterns(not_values, field, true, mesh_, match);
      } else if (name == "source.serviceAccount") {
        read_accounts(values, false, own_namespace_, mesh_, match);
        read_accounts(not_values, true, own_namespace_, mesh_, match);
      } else if (name == "source.trustDomain") {
        read_trust_domains(values, false, mesh_, match);
        read_trust_domains(not_values, true, mesh_, match);
      } else if (name == "source.ip") {
        read_addresses(values, not_values, match);
      } else {
        check_key(key, name, values, not_values);
        return;
      }
    }
  }

  /// Conditions of requests; none that Istio would not know.
  void check_key(const Value& key, const std::string& name, const Value& values, const Value& not_values) {
    constexpr std::array<std::string_view, 14> kKeys = {"connection.sni",         "destination.ip",
                                                        "destination.port",       "remote.ip",
                                                        "request.auth.audiences", "request.auth.claims[X]",
                                                        "request.auth.presenter", "request.auth.principal",
                                                        "request.headers[X]",     "source.ip",
                                                        "source.namespace",       "source.principal",
                                                        "source.serviceAccount",  "source.trustDomain"};
    if (name.empty()) return;
    const auto is_entry_of = [&](std::string_view map) {
      return name.starts_with(map) && name.ends_with(']') && name.size() > map.size() + 1;
    };
    const bool of_addresses = name == "destination.ip" || name == "remote.ip";
    const bool known = of_addresses || name == "connection.sni" || name == "request.auth.audiences" ||
                       name == "request.auth.presenter" || name == "request.auth.principal" ||
                       is_entry_of("request.headers[") || is_entry_of("request.auth.claims[") ||
                       (name.starts_with("experimental.envoy.filters.") && name.ends_with(']'));
    if (!known) return key.fail_spelling(name, kKeys);
    for (const Value& list : {values, not_values}) of_addresses ? check_blocks(list) : check_texts(list);
    report(key, name);
  }

  void pass_over(Fields& fields, std::initializer_list<std::string_view> names) {
    for (const auto name : names)
      if (const Value value = fields.optional(name)) {
        name == "remoteIpBlocks" || name == "notRemoteIpBlocks" ? check_blocks(value) : check_texts(value);
        report(value, name);
      }
  }

  static void check_texts(const Value& list) {
    for (const auto& item : items_of(list)) item.nonempty_text();
  }
  static void check_blocks(const Value& list) { read_blocks(list); }

  void report(const Value& value, std::string_view name) {
    of_requests_ = true;
    constexpr std::string_view kConsequences[] = {"the whole rule allows nothing here",
                                                  "the rule denies here whatever this is",
                                                  "this is not looked at"};
    value.warn("found " + std::string(name) + ", which packets do not show: " +
               std::string(kConsequences[static_cast<std::size_t>(action_)]));
  }

  const IstioAction action_;
  const std::string& own_namespace_;
  const Mesh& mesh_;
  Budget& budget_;
  bool of_requests_ = false;
};

EndpointSelector read_subject(Fields& spec, const std::string& own_namespace,
                              const std::string& root_namespace) {
  EndpointSelector subject;
  if (own_namespace != root_namespace) subject.namespace_name = own_namespace;
  Fields selector = spec.optional("selector").fields();
  if (const auto labels = selector.optional("matchLabels").labels())
    for (const auto& [key, value] : *labels)
      subject.endpoints.requirements.push_back({key, Operator::kIn, {value}});
  for (const auto name : {std::string_view("targetRef"), std::string_view("targetRefs")})
    if (const Value target = spec.optional(name))
      target.fail("found " + std::string(name) +
                  ", expected a selector: a gateway or a waypoint enforces it, on requests");
  return subject;
}

/// What no ALLOW rule of this policy, and of its equals, admits. Its own node is admitted (the kubelet's probes
/// pass by Istio, too), unless an annotation says that it is judged.
void add_otherwise(const Policy& policy, bool own_node_judged, std::vector<Rule>& rules) {
  Rule rule;
  rule.name = kOtherwiseRule;
  rule.all_ports = true;
  rule.origin = policy.origin;
  rule.action = Action::kPass;
  rule.peers = {LocalNode{}};
  if (!own_node_judged) rules.push_back(rule);
  rule.action = Action::kDeny;
  rule.peers = {Everyone{}};
  rules.push_back(std::move(rule));
}

}  // namespace

void read_authorization_policy(const Value& object, const Value& spec, const Mesh& mesh, Policy& policy) {
  Fields fields = spec.fields();
  const EndpointSelector subject = read_subject(fields, policy.namespace_name, mesh.root_namespace);
  const Value action_value = fields.optional("action");
  const Value provider = fields.optional("provider");
  if (provider && !(action_value && action_value.node()->scalar == "CUSTOM"))
    provider.fail("found provider without the action CUSTOM, expected none");
  IstioAction action = IstioAction::kAllow;
  if (action_value && action_value.node()->scalar == "CUSTOM")
    action_value.fail("found CUSTOM, expected ALLOW, DENY or AUDIT: a provider judges requests, not packets");
  else
    action = action_value
                 .choice<IstioAction>({{"ALLOW", IstioAction::kAllow},
                                       {"DENY", IstioAction::kDeny},
                                       {"AUDIT", IstioAction::kAudit}})
                 .value_or(IstioAction::kAllow);
  policy.tier = Tier::kMesh;
  policy.priority = action == IstioAction::kAllow ? kAllowPriority : kDenyPriority;

  std::vector<Rule> rules;
  std::size_t number = 0;
  Budget budget;
  const Value list = fields.optional("rules");
  auto items = list.list();
  if (items.size() > kRulesMax) {
    list.fail("found " + std::to_string(items.size()) + " rules, expected at most " +
              std::to_string(kRulesMax));
    items.resize(kRulesMax);
  }
  for (const auto& item : items) {
    RuleReader reader(action, policy.namespace_name, mesh, budget);
    auto rule = reader.read(item, "rules[" + std::to_string(number++) + "]");
    if (rule) rules.push_back(std::move(*rule));
  }
  // What an AUDIT policy matches is recorded as what a DENY policy would have denied.
  if (is_dry_run(object) || action == IstioAction::kAudit) policy.mode = Mode::kAudit;
  const bool own_node_judged = is_own_node_judged(object);
  if (action == IstioAction::kAllow) add_otherwise(policy, own_node_judged, rules);
  if (action == IstioAction::kDeny && rules.empty())
    object.warn("found DENY without rules, which denies nothing");
  if (!rules.empty()) policy.clauses.push_back({Direction::kIngress, subject, false, std::move(rules)});
}

}  // namespace bulkhead::policies
