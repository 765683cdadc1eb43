#include "tools/ctl/claim.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <sstream>
#include <unordered_map>

#include "policies/model/address.h"
#include "tools/ctl/command.h"
#include "tools/ctl/ends.h"
#include "tools/ctl/spelling.h"

namespace bulkhead::ctl {
namespace {

constexpr char kGrammar[] = "expected 'from END to END [ports PORTS]: allow' or '...: deny'";

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == separator)
      parts.emplace_back();
    else if (c != ' ')
      parts.back() += c;
  }
  return parts;
}

struct Term {
  std::string key, value;
  enum { kIs, kIsNot, kHas, kHasNot } op;
};

Term parse_term(const std::string& text) {
  if (const auto at = text.find("!="); at != std::string::npos)
    return {text.substr(0, at), text.substr(at + 2), Term::kIsNot};
  if (const auto at = text.find('='); at != std::string::npos)
    return {text.substr(0, at), text.substr(text.find_first_not_of('=', at) == at + 2 ? at + 2 : at + 1),
            Term::kIs};
  if (text.starts_with('!')) return {text.substr(1), "", Term::kHasNot};
  return {text, "", Term::kHas};
}

bool holds(const Term& term, const std::map<std::string, std::string>& labels) {
  const auto found = labels.find(term.key);
  switch (term.op) {
    case Term::kIs:
      return found != labels.end() && found->second == term.value;
    case Term::kIsNot:
      return found == labels.end() || found->second != term.value;
    case Term::kHas:
      return found != labels.end();
    case Term::kHasNot:
      return found == labels.end();
  }
  return false;
}

std::optional<analysis::Block> parse_block(const std::string& text) {
  if (const auto address = policies::parse_address(text)) return analysis::Block{{*address}, 128, {*address}};
  bool host_bits = false;
  const auto block = policies::parse_block(text, &host_bits);
  if (!block) return std::nullopt;
  if (host_bits)
    throw Failure(kExitUsage, "'" + escape(text) + "' has bits beyond its prefix; did you mean '" +
                                  policies::format(*block) + "'?");
  return analysis::Block{{block->base}, block->prefix_bits, {block->base}};
}

/// Endpoints by name or by label, "shop/app=web".
struct Chosen {
  std::optional<std::string> home;
  std::string rest;
  bool selects = false;     // by terms; else `rest` is a name
  std::vector<Term> terms;  // all must hold
};

Chosen parse_chosen(const std::string& text) {
  Chosen chosen;
  const auto slash = text.find('/');
  chosen.rest = slash == std::string::npos ? text : text.substr(slash + 1);
  if (slash != std::string::npos) chosen.home = text.substr(0, slash);
  if (chosen.rest.empty())
    throw Failure(kExitUsage, "'" + escape(text) + "' names nobody: nothing follows the /");
  if (chosen.rest.find('/') != std::string::npos && chosen.rest.find_first_of("=!,") == std::string::npos)
    throw Failure(kExitUsage, "'" + escape(text) + "' has two slashes; expected NAMESPACE/NAME");
  chosen.selects = chosen.rest.find_first_of("=!,") != std::string::npos;
  if (!chosen.selects) return chosen;
  for (const std::string& part : split(chosen.rest, ',')) {
    chosen.terms.push_back(parse_term(part));
    if (chosen.terms.back().key.empty())
      throw Failure(
          kExitUsage,
          "'" + escape(text) + "': a label's key is missing; expected KEY=VALUE, KEY!=VALUE, KEY or !KEY");
  }
  return chosen;
}

/// Identities are looked at once each.
analysis::End choose(const analysis::Space& space, const std::string& text) {
  const image::View& view = space.view(analysis::kAfter);
  const auto [home, rest, selects, terms] = parse_chosen(text);
  std::unordered_map<std::uint32_t, bool> known;
  const auto chosen = [&, &home = home, &rest = rest, selects = selects,
                       &terms = terms](std::uint32_t number) {
    if ((view.endpoint(number).flags & image::kEndpointNode) != 0) return false;
    if (home && view.namespace_of(number) != *home) return false;
    if (rest == "*") return true;
    if (!selects) return view.name_of(number) == rest;
    const std::uint32_t identity = image::identity_of(view, number);
    const auto [answer, is_new] = known.try_emplace(identity);
    if (is_new) {
      const auto labels = labels_of(view.labels_of_identity(identity));
      answer->second =
          std::all_of(terms.begin(), terms.end(), [&](const Term& term) { return holds(term, labels); });
    }
    return answer->second;
  };
  analysis::End end = analysis::endpoints(space, chosen);
  if (!end.empty()) return end;
  std::vector<std::string> spellings;
  view.for_each_endpoint([&, &home = home, &rest = rest, selects = selects](std::uint32_t number) {
    const std::string in(view.namespace_of(number));
    if (selects) {
      for (const auto& [key, value] : labels_of(view.labels_of_identity(image::identity_of(view, number))))
        spellings.push_back((home ? in + "/" : "") + key + "=" + value);
    } else {
      spellings.push_back(endpoint_name(view, number));
      if (rest == "*") spellings.push_back(in + "/*");
    }
  });
  std::sort(spellings.begin(), spellings.end());
  spellings.erase(std::unique(spellings.begin(), spellings.end()), spellings.end());
  throw Failure(kExitRefused, "no endpoint of the image is '" + escape(text) + "'" +
                                  did_you_mean(text, spellings) + ": nothing can be proven about nobody");
}

analysis::End end_of(const analysis::Space& space, const std::string& text) {
  if (text == "any") return analysis::everybody(space);
  if (text == "world") return analysis::world(space);
  if (text == "host") {
    const image::View& view = space.view(analysis::kAfter);
    analysis::End end = analysis::endpoints(space, [&](std::uint32_t number) {
      return (view.endpoint(number).flags & image::kEndpointNode) != 0;
    });
    if (end.empty()) throw Failure(kExitRefused, "the image knows no address of its node: 'host' is nobody");
    return end;
  }
  if (const auto block = parse_block(text)) {
    analysis::End end = analysis::within(space, *block);
    if (end.empty()) throw Failure(kExitRefused, "no packet bears an address of " + escape(text));
    return end;
  }
  return choose(space, text);
}

/// Whether an end could be somebody's.
void check_end(const std::string& text) {
  if (text != "any" && text != "world" && text != "host" && !parse_block(text)) parse_chosen(text);
}

std::vector<analysis::PortRange> parse_ports(const std::string& text) {
  std::vector<analysis::PortRange> ranges;
  const auto whole = [&](image::ProtocolSlot slot) {
    ranges.push_back({slot, 0, static_cast<std::uint16_t>(analysis::ports_of(slot) - 1)});
  };
  for (const std::string& part : split(text, ',')) {
    if (part == "any") {
      for (std::uint32_t slot = 0; slot < image::kProtocolSlots; ++slot)
        whole(static_cast<image::ProtocolSlot>(slot));
      continue;
    }
    const auto slash = part.find('/');
    const std::string protocol = part.substr(0, slash);
    std::vector<std::string> names;
    std::optional<image::ProtocolSlot> slot;
    for (std::uint32_t i = 0; i < image::kProtocolSlots; ++i) {
      names.emplace_back(analysis::slot_name(static_cast<image::ProtocolSlot>(i)));
      if (names.back() == protocol) slot = static_cast<image::ProtocolSlot>(i);
    }
    names.emplace_back("any");
    if (!slot)
      throw Failure(kExitUsage, "'" + escape(part) + "' is no port" + did_you_mean(protocol, names) +
                                    "; expected any, tcp, tcp/443, udp/8000-8100, icmp/8 or proto/47");
    if (slash == std::string::npos) {
      whole(*slot);
      continue;
    }
    std::uint32_t first = 0, last = 0;
    const char* at = part.data() + slash + 1;
    const char* end = part.data() + part.size();
    auto read = std::from_chars(at, end, first);
    bool good = read.ec == std::errc{};
    last = first;
    if (good && read.ptr != end && *read.ptr == '-') read = std::from_chars(read.ptr + 1, end, last);
    good = good && read.ec == std::errc{} && read.ptr == end && first <= last &&
           last < analysis::ports_of(*slot);
    if (!good)
      throw Failure(kExitUsage, "'" + escape(part) + "' has no valid number; expected " + protocol +
                                    "/PORT or /PORT-PORT, 0 to " +
                                    std::to_string(analysis::ports_of(*slot) - 1));
    ranges.push_back({*slot, static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(last)});
  }
  return analysis::joined(std::move(ranges));
}

}  // namespace

/// An image keeps labels as text, "app=web,tier=front". A part without = belongs to the value before it.
std::map<std::string, std::string> labels_of(std::string_view text) {
  std::map<std::string, std::string> labels;
  std::string* value = nullptr;
  while (!text.empty()) {
    const std::string_view part = text.substr(0, text.find(','));
    text.remove_prefix(std::min(part.size() + 1, text.size()));
    const auto equals = part.find('=');
    if (equals == std::string_view::npos && value != nullptr) {
      *value += "," + std::string(part);
    } else {
      value = &labels[std::string(part.substr(0, equals))];
      if (equals != std::string_view::npos) *value = part.substr(equals + 1);
    }
  }
  return labels;
}

Spoken parse_claim(const std::string& text) {
  // The last colon ends the ports: an IPv6 address has others before it.
  const auto colon = text.rfind(':');
  const auto refuse = [&](const std::string& found) -> Failure {
    return {kExitUsage, found + " in '" + escape(text) + "'; " + kGrammar};
  };
  if (colon == std::string::npos) throw refuse("no colon");
  std::string verdict;
  std::istringstream(text.substr(colon + 1)) >> verdict;
  if (verdict != "allow" && verdict != "deny")
    throw refuse("found '" + escape(verdict) + "' after the colon" +
                 did_you_mean(verdict, {"allow", "deny"}));
  std::istringstream words(text.substr(0, colon));
  std::string from, to, word, ports;
  if (!(words >> word) || word != "from" || !(words >> from)) throw refuse("no 'from END'");
  if (!(words >> word) || word != "to" || !(words >> to)) throw refuse("no 'to END'");
  if (words >> word) {
    if (word != "ports" && word != "port")
      throw refuse("found '" + escape(word) + "' where 'ports' or a colon belongs");
    while (words >> word) ports += word;
    if (ports.empty()) throw refuse("nothing after 'ports'");
  }
  check_end(from);
  check_end(to);
  return {text, from, to, parse_ports(ports.empty() ? "any" : ports), verdict == "allow"};
}

analysis::Claim resolve(const analysis::Space& space, const Spoken& spoken) {
  return {end_of(space, spoken.from), end_of(space, spoken.to), spoken.ports, spoken.allow};
}

}  // namespace bulkhead::ctl
