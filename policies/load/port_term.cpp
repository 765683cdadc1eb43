#include "policies/load/port_term.h"

#include <array>
#include <charconv>

namespace bulkhead::policies {
namespace {

constexpr std::array<std::string_view, 8> kWords = {"any",  "tcp",    "udp",    "sctp",
                                                    "icmp", "icmpv4", "icmpv6", "protocol"};

std::optional<std::uint16_t> number(std::string_view text, unsigned max) {
  unsigned result = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), result);
  if (error != std::errc{} || end != text.data() + text.size() || text[0] == '-') return std::nullopt;
  if ((text.size() > 1 && text[0] == '0') || result > max) return std::nullopt;
  return static_cast<std::uint16_t>(result);
}

struct Range {
  std::uint16_t first, last;
};

/// "80" or "9000-9100". A single number may be written as a range of one.
std::optional<Range> range(std::string_view text, unsigned min, unsigned max) {
  const std::size_t dash = text.find('-');
  const auto first = number(text.substr(0, dash), max);
  const auto last = dash == std::string_view::npos ? first : number(text.substr(dash + 1), max);
  if (!first || !last || *first < min || *last < *first) return std::nullopt;
  return Range{*first, *last};
}

bool begins_with_digit(std::string_view text) {
  return !text.empty() && text[0] >= '0' && text[0] <= '9';
}

/// A name holds a letter; digits and dashes alone are meant as numbers.
bool is_numeric(std::string_view text) {
  return begins_with_digit(text) && text.find_first_not_of("0123456789-") == std::string_view::npos;
}

PortTerm fail(const Value& item, std::string_view expected) {
  item.fail_expected(expected);
  return {};
}

PortTerm transport(const Value& item, Protocol protocol, std::string_view spec) {
  const std::string word{name(protocol)};
  if (spec.empty())
    return fail(item, "a port: " + word + "/80, " + word + "/9000-9100, " + word + "/http, or " + word +
                          "/any for every port");
  if (spec == "any") return {false, {{protocol, 0, 0xffff, {}}}};
  if (is_numeric(spec)) {
    const auto ports = range(spec, 1, 65535);
    if (!ports) return fail(item, "a port from 1 to 65535, or a range such as " + word + "/9000-9100");
    return {false, {{protocol, ports->first, ports->last, {}}}};
  }
  if (const auto wrong = wrong_port_name(spec)) return fail(item, "a port number, a range, or " + *wrong);
  return {false, {{protocol, 0, 0xffff, std::string(spec)}}};
}

PortTerm icmp(const Value& item, std::string_view word, bool typed, std::string_view spec) {
  const bool v6 = word == "icmpv6";
  if (!typed) {
    PortTerm term;
    if (!v6) term.matches.push_back({Protocol::kIcmp, 0, 0xffff, {}});
    if (word != "icmpv4") term.matches.push_back({Protocol::kIcmpV6, 0, 0xffff, {}});
    return term;
  }
  const auto types = range(spec, 0, 255);
  if (!types)
    return fail(item, "an ICMP type from 0 to 255, such as icmpv4/8 or icmpv6/128 for an echo request");
  return {false, {{v6 ? Protocol::kIcmpV6 : Protocol::kIcmp, types->first, types->last, {}}}};
}

PortTerm other(const Value& item, std::string_view spec) {
  const auto numbers = range(spec, 0, 255);
  if (!numbers) return fail(item, "an IP protocol number, such as protocol/47");
  for (const unsigned known : {1u, 6u, 17u, 58u, 132u})
    if (numbers->first <= known && known <= numbers->last)
      return fail(item,
                  "a protocol that has no name here: tcp, udp, sctp, icmpv4 and icmpv6 are written by name");
  return {false, {{Protocol::kOther, numbers->first, numbers->last, {}}}};
}

}  // namespace

PortTerm read_port_term(const Value& item) {
  constexpr std::string_view kExpected =
      "a port such as tcp/80, tcp/9000-9100, tcp/http, udp/53, icmp or any";
  if (!item || item.node()->kind != NodeKind::kScalar) return fail(item, kExpected);
  const std::string& text = item.node()->scalar;
  if (is_numeric(text))
    return fail(item, std::string(kExpected) + "; did you mean " + quoted("tcp/" + text) + "?");

  const std::size_t slash = text.find('/');
  const std::string_view word = std::string_view(text).substr(0, slash);
  const bool has_spec = slash != std::string::npos;
  const std::string_view spec = has_spec ? std::string_view(text).substr(slash + 1) : std::string_view();
  if (word == "any" && !has_spec) return {true, {}};
  if (word == "tcp") return transport(item, Protocol::kTcp, spec);
  if (word == "udp") return transport(item, Protocol::kUdp, spec);
  if (word == "sctp") return transport(item, Protocol::kSctp, spec);
  if (word == "icmp" || word == "icmpv4" || word == "icmpv6") return icmp(item, word, has_spec, spec);
  if (word == "protocol") return other(item, spec);

  std::string hint;
  if (const auto near = nearest(word, kWords); near && word != *near)
    hint = "; did you mean " + quoted(std::string(*near) + (has_spec ? "/" + std::string(spec) : "")) + "?";
  return fail(item, std::string(kExpected) + hint);
}

}  // namespace bulkhead::policies
