// What Cilium's rules are made of: selectors, ports, ICMP types.
#include <algorithm>
#include <array>

#include "policies/import/cilium.h"
#include "policies/load/fields.h"
#include "policies/model/address.h"

namespace bulkhead::policies::imports {
namespace {

constexpr std::string_view kPodNamespace = "io.kubernetes.pod.namespace";
constexpr std::string_view kNamespaceLabels = "io.cilium.k8s.namespace.labels.";

void add_requirement(const Item& at, std::string key, Operator op, std::vector<std::string> values,
                     CiliumSelector& made) {
  const std::size_t colon = key.find(':');
  const std::string source = colon == key.npos ? "any" : key.substr(0, colon);
  if (colon != key.npos) key.erase(0, colon + 1);
  if (source == "reserved") {
    if (op == Operator::kIn || op == Operator::kExists) made.reserved = key;
    throw Unsaid{at,
                 "found the reserved label " + quoted(key) + " in a condition, which no endpoint bears here"};
  }
  if (source != "any" && source != "k8s")
    throw Unsaid{at, "found the label source " + quoted(source) + ", expected labels of pods and namespaces"};
  Selector* into = &made.selector.endpoints;
  if (key == kPodNamespace) {
    made.names_namespace = true;
    if (op == Operator::kExists) return;  // as every endpoint has one
    if (op == Operator::kDoesNotExist)
      throw Unsaid{at, "found endpoints without a namespace, which there are none of"};
    into = &made.selector.namespaces;
    key = kNamespaceName;
  } else if (key.starts_with(kNamespaceLabels)) {
    made.names_namespace = true;
    into = &made.selector.namespaces;
    key.erase(0, kNamespaceLabels.size());
  } else if (key.starts_with("io.cilium.")) {
    throw Unsaid{at,
                 "found the label " + quoted(key) + ", which Cilium derives and endpoints do not bear here"};
  }
  if (wrong_label_key(key)) throw Unsaid{at, "found " + quoted(key) + ", which is no label key"};
  for (const auto& value : values)
    if (wrong_label_value(value)) throw Unsaid{at, "found " + quoted(value) + ", which is no label value"};
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  into->requirements.push_back({std::move(key), op, std::move(values)});
}

struct IcmpName {
  std::string_view name;
  std::uint16_t type;
};
// The names that the API document of icmps lists; IANA's ICMP and ICMPv6 type numbers.
constexpr std::array kIcmpNames = std::to_array<IcmpName>({{"EchoReply", 0},
                                                           {"DestinationUnreachable", 3},
                                                           {"Redirect", 5},
                                                           {"Echo", 8},
                                                           {"EchoRequest", 8},
                                                           {"RouterAdvertisement", 9},
                                                           {"RouterSelection", 10},
                                                           {"TimeExceeded", 11},
                                                           {"ParameterProblem", 12},
                                                           {"Timestamp", 13},
                                                           {"TimestampReply", 14},
                                                           {"Photuris", 40},
                                                           {"ExtendedEchoRequest", 42},
                                                           {"ExtendedEchoReply", 43}});
constexpr std::array kIcmpV6Names = std::to_array<IcmpName>({{"DestinationUnreachable", 1},
                                                             {"PacketTooBig", 2},
                                                             {"TimeExceeded", 3},
                                                             {"ParameterProblem", 4},
                                                             {"EchoRequest", 128},
                                                             {"EchoReply", 129},
                                                             {"MulticastListenerQuery", 130},
                                                             {"MulticastListenerReport", 131},
                                                             {"MulticastListenerDone", 132},
                                                             {"RouterSolicitation", 133},
                                                             {"RouterAdvertisement", 134},
                                                             {"NeighborSolicitation", 135},
                                                             {"NeighborAdvertisement", 136},
                                                             {"RedirectMessage", 137},
                                                             {"RouterRenumbering", 138},
                                                             {"ExtendedEchoRequest", 160},
                                                             {"ExtendedEchoReply", 161}});

bool is_number(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789") == text.npos;
}

std::vector<Protocol> protocols_of(const Item& item) {
  std::string word = item.text();
  std::transform(word.begin(), word.end(), word.begin(), [](unsigned char c) { return std::toupper(c); });
  if (word.empty() || word == "ANY") return {Protocol::kTcp, Protocol::kUdp, Protocol::kSctp};
  if (word == "TCP") return {Protocol::kTcp};
  if (word == "UDP") return {Protocol::kUdp};
  if (word == "SCTP") return {Protocol::kSctp};
  throw Unsaid{item, "found the protocol " + quoted(word) + ", expected TCP, UDP, SCTP or ANY"};
}

}  // namespace

std::optional<AddressBlock> block_of_text(const std::string& text) {
  if (const auto block = parse_block(text)) return block;
  if (const auto address = parse_address(text)) return block_of(*address);
  return std::nullopt;
}

CiliumSelector read_cilium_selector(const Item& item) {
  CiliumSelector made;
  const auto labels = item["matchLabels"].members();
  const auto expressions = item["matchExpressions"].items();
  for (const auto& other : item.besides({"matchLabels", "matchExpressions"}))
    throw Unsaid{other, "found a field that is not known in a selector"};
  if (labels.size() == 1 && expressions.empty() && labels[0].first.starts_with("reserved:")) {
    made.reserved = labels[0].first.substr(9);
    return made;
  }
  for (const auto& [key, value] : labels) add_requirement(value, key, Operator::kIn, {value.text()}, made);
  for (const auto& expression : expressions) {
    const std::string word = expression["operator"].text();
    constexpr std::array<std::string_view, 4> kWords = {"In", "NotIn", "Exists", "DoesNotExist"};
    const auto found = std::find(kWords.begin(), kWords.end(), word);
    if (found == kWords.end())
      throw Refused{expression["operator"], "found " + quoted(word) + ", expected " + one_of(kWords)};
    const auto op = static_cast<Operator>(found - kWords.begin());
    auto values = expression["values"].texts();
    const bool needs = op == Operator::kIn || op == Operator::kNotIn;
    if (needs == values.empty())
      throw Refused{expression, "found " + std::string(needs ? "no values" : "values") + " beside " + word};
    for (const auto& other : expression.besides({"key", "operator", "values"}))
      throw Unsaid{other, "found a field that is not known in an expression"};
    add_requirement(expression, expression["key"].text(), op, std::move(values), made);
  }
  for (Selector* selector : {&made.selector.namespaces, &made.selector.endpoints})
    *selector = both(*selector, {});
  return made;
}

bool read_cilium_ports(const Item& list, std::vector<PortMatch>& ports) {
  if (list.items().empty()) throw Unsaid{list, "found no ports, which Cilium's versions read differently"};
  bool all = false;
  for (const auto& item : list.items()) {
    for (const auto& other : item.besides({"port", "endPort", "protocol"}))
      throw Unsaid{other, "found a field that is not known at a port"};
    const std::string text = item["port"].text();
    const std::string word = item["protocol"].text();
    const auto protocols = protocols_of(item["protocol"]);
    if (text.empty()) throw Refused{item, "found no port, expected a number or a name"};
    if (!is_number(text)) {
      std::string name = text;
      std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
      if (wrong_port_name(name))
        throw Unsaid{item["port"], "found " + quoted(text) + ", which is no port name"};
      for (const auto protocol : protocols) ports.push_back({protocol, 0, 0xffff, name});
      continue;
    }
    const std::uint32_t first = item["port"].number(0xffff).value_or(0);
    const std::uint32_t last = std::max(item["endPort"].number(0xffff).value_or(0), first);
    if (first == 0 && last != 0)
      throw Refused{item["endPort"], "found a range from port 0, expected one from 1 on"};
    if (first == 0 && (word.empty() || word == "ANY" || word == "any")) all = true;
    for (const auto protocol : protocols)
      ports.push_back({protocol,
                       static_cast<std::uint16_t>(first),
                       static_cast<std::uint16_t>(first == 0 ? 0xffff : last),
                       {}});
  }
  return all;
}

void read_cilium_icmp(const Item& list, std::vector<PortMatch>& ports) {
  for (const auto& item : list.items()) {
    for (const auto& other : item.besides({"family", "type"}))
      throw Unsaid{other, "found a field that is not known at an ICMP type"};
    const std::string family = item["family"].text(), type = item["type"].text();
    if (family != "" && family != "IPv4" && family != "IPv6")
      throw Refused{item["family"], "found " + quoted(family) + ", expected IPv4 or IPv6"};
    const bool v6 = family == "IPv6";
    std::uint16_t number = 0;
    if (is_number(type)) {
      number = static_cast<std::uint16_t>(item["type"].number(255).value_or(0));
    } else {
      const auto find = [&](const auto& names) {
        for (const auto& known : names)
          if (known.name == type) return static_cast<int>(known.type);
        return -1;
      };
      const int known = v6 ? find(kIcmpV6Names) : find(kIcmpNames);
      if (known < 0)
        throw Unsaid{item["type"], "found the ICMP type " + quoted(type) + ", which is not known here"};
      number = static_cast<std::uint16_t>(known);
    }
    ports.push_back({v6 ? Protocol::kIcmpV6 : Protocol::kIcmp, number, number, {}});
  }
}

}  // namespace bulkhead::policies::imports
