#include "tools/ctl/policy_test.h"

#include <malloc.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>
#include <unordered_map>

#include "controlplane/analysis/invariants.h"
#include "controlplane/compile/compile.h"
#include "controlplane/source/manifest.h"
#include "dataplane/image/validate.h"
#include "policies/load/nearest.h"
#include "policies/model/address.h"

namespace bulkhead::ctl {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kColumns[] = {"src", "dst", "proto", "port"};
enum Column { kSource, kDestination, kProtocol, kPort, kColumnCount };

/// Ends the whole test; the sentence goes to a person.
struct Unanswerable {
  std::string reason;
  Column column = kColumnCount;  // of a question: where it cannot be understood; kColumnCount: as a whole
};

// ---------------------------------------------------------------------------------------------------------
// Files

std::vector<std::string> expand(const std::vector<std::string>& operands) {
  std::vector<std::string> paths;
  for (const std::string& operand : operands) {
    std::error_code failed;
    if (!fs::is_directory(operand, failed)) {
      paths.push_back(operand);
      continue;
    }
    std::vector<std::string> found;
    for (fs::directory_iterator entry(operand, failed), end; !failed && entry != end;
         entry.increment(failed)) {
      std::error_code ignored;
      if (policies::is_read_in_directories(entry->path().filename().string()) &&
          !entry->is_directory(ignored))
        found.push_back(entry->path().string());
    }
    if (failed) throw Unanswerable{operand + ": " + failed.message()};
    if (found.empty()) throw Unanswerable{operand + ": no *.yaml, *.yml or *.json in this directory"};
    std::sort(found.begin(), found.end());
    paths.insert(paths.end(), found.begin(), found.end());
  }
  return paths;
}

/// From a pipe, too. Bounded, whatever the file is.
std::string read_queries(const std::string& path) {
  constexpr std::size_t kBytesMax = std::size_t{256} << 20;
  std::error_code ignored;
  if (fs::is_directory(path, ignored))
    throw Unanswerable{path + ": is a directory, expected a file of questions"};
  std::ifstream file;
  if (path != "-") file.open(path, std::ios::binary);
  std::istream& stream = path == "-" ? std::cin : file;
  std::string text;
  for (char part[1 << 16]; stream.read(part, sizeof part) || stream.gcount() > 0;) {
    text.append(part, static_cast<std::size_t>(stream.gcount()));
    if (text.size() > kBytesMax)
      throw Unanswerable{path + ": found more than " + std::to_string(kBytesMax) +
                         " bytes, which is the limit"};
  }
  if (!stream.eof()) throw Unanswerable{path + ": cannot be read"};
  return text;
}

source::Manifests read_manifests(const std::vector<std::string>& operands,
                                 const policies::LoadOptions& options) {
  source::Manifests manifests = source::read_manifest_paths(expand(operands), options);
  malloc_trim(0);  // a compile needs the room that reading took
  if (manifests.ok()) return manifests;
  std::string reasons;
  for (const policies::Error& error : manifests.errors)
    reasons += (reasons.empty() ? "" : "\n") + policies::format(error);
  throw Unanswerable{reasons};
}

// ---------------------------------------------------------------------------------------------------------
// CSV (RFC 4180, fields on one line)

struct Split {
  std::vector<std::string> fields;
  std::vector<std::size_t> places;  // where each begins, from 1
};

Split split(std::string_view line) {
  Split made{{""}, {1}};
  auto& fields = made.fields;
  bool quoted = false;
  std::size_t quote = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quoted && c == '"' && i + 1 < line.size() && line[i + 1] == '"')
      fields.back() += line[++i];
    else if (c == '"') {
      quoted = !quoted;
      quote = i + 1;
    } else if (c == ',' && !quoted) {
      fields.emplace_back();
      made.places.push_back(i + 2);
    } else {
      fields.back() += c;
    }
  }
  if (quoted) {
    made.places.assign(1, quote);
    fields.clear();
    return made;
  }
  for (auto& field : fields) {
    const auto first = field.find_first_not_of(" \t\r");
    if (first == std::string::npos)
      field.clear();
    else
      field = field.substr(first, field.find_last_not_of(" \t\r") + 1 - first);
  }
  return made;
}

void append_field(std::string_view field, std::string& out) {
  if (field.find_first_of(",\"") == std::string_view::npos) {
    out += field;
    return;
  }
  out += '"';
  for (const char c : field) out.append(c == '"' ? 2 : 1, c);
  out += '"';
}

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

/// Which field of a line is which column; nothing if the line is no header.
std::optional<std::array<std::size_t, kColumnCount>> header_of(const std::vector<std::string>& fields) {
  std::array<std::size_t, kColumnCount> places{};
  for (std::size_t column = 0; column < kColumnCount; ++column) {
    const auto found = std::find_if(fields.begin(), fields.end(),
                                    [&](const auto& field) { return lower(field) == kColumns[column]; });
    if (found == fields.end()) return std::nullopt;
    places[column] = static_cast<std::size_t>(found - fields.begin());
  }
  return places;
}

std::optional<std::uint32_t> number(std::string_view text, std::uint32_t max) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size() || value > max)
    return std::nullopt;
  return value;
}

// ---------------------------------------------------------------------------------------------------------
// Answers

/// Somebody who can be asked about: the addresses, in order, and what the image says they are.
struct End {
  std::vector<std::pair<bool, image::Bound>> addresses;  // IPv4?
};

struct Traffic {
  image::ProtocolSlot slot = image::kTcp;
  std::uint16_t port = 0;
};

class Test {
 public:
  Test(const source::Manifests& manifests, const image::View& view)
      : cluster_(manifests.cluster), view_(view) {
    for (const auto& endpoint : cluster_.endpoints)
      pods_.emplace(endpoint.namespace_name + "/" + endpoint.name, &endpoint);
    for (const auto& pod : manifests.finished) ends_.try_emplace(pod);
  }

  /// The line's answer: verdict, reason and rule, with a comma before each. Throws Unanswerable.
  void answer(const std::string& source, const std::string& destination, const std::string& protocol,
              const std::string& port, std::string& out) {
    const Traffic traffic = parse_traffic(protocol, port);
    const End& from = end(source, kSource);
    const End& to = end(destination, kDestination);
    const auto pair = common_family(from, to, traffic.slot);
    if (!pair) {
      out += ",deny,";
      out += abi::name(abi::Fate::kNoRoute);
      out += ',';
      return;
    }
    const auto judgement = image::judge(view_, pair->first, pair->second, traffic.slot, traffic.port);
    const std::uint32_t rule =
        judgement.allowed() && judgement.rule == 0 ? judgement.egress_rule : judgement.rule;
    out += judgement.allowed() ? ",allow," : ",deny,";
    out +=
        judgement.allowed() ? reason_allowed(pair->first, pair->second, traffic) : abi::name(judgement.fate);
    out += ',';
    if (rule != 0) append_field(rule_text(rule), out);
  }

 private:
  using Pair = std::pair<image::Bound, image::Bound>;

  const End& end(const std::string& text, Column column) {
    if (const auto known = ends_.find(text); known != ends_.end()) return known->second;
    End found;
    const auto add = [&](const policies::AddressBytes& address) {
      found.addresses.emplace_back(policies::is_v4(address), image::bind(view_, {address}));
    };
    if (const auto pod = pods_.find(text); pod != pods_.end())
      for (const auto& address : pod->second->addresses) add(address);
    else if (const auto address = policies::parse_address(text))
      add(*address);
    else
      throw Unanswerable{
          "found " + policies::quoted(text) + ", expected namespace/pod or an address" + nearest_pod(text),
          column};
    return ends_.emplace(text, std::move(found)).first->second;
  }

  std::string nearest_pod(const std::string& text) const {
    std::vector<std::string_view> names;
    for (const auto& endpoint : cluster_.endpoints) {
      const auto pod = pods_.find(endpoint.namespace_name + "/" + endpoint.name);
      names.push_back(text.find('/') == std::string::npos ? std::string_view(endpoint.name)
                                                          : std::string_view(pod->first));
      if (names.back() == text) return "; did you mean \"" + pod->first + "\"?";
    }
    return policies::did_you_mean(text, names);
  }

  /// An ICMP message belongs to one family; else the source's first address that has a partner counts.
  static std::optional<Pair> common_family(const End& from, const End& to, image::ProtocolSlot slot) {
    std::optional<Pair> any;
    for (const auto& [source_v4, source] : from.addresses)
      for (const auto& [destination_v4, destination] : to.addresses) {
        if (source_v4 != destination_v4) continue;
        const bool fits = slot == image::kIcmp ? source_v4 : slot != image::kIcmpV6 || !source_v4;
        if (fits) return Pair{source, destination};
        if (!any) any = Pair{source, destination};
      }
    return any;
  }

  static Traffic parse_traffic(const std::string& protocol, const std::string& port) {
    static constexpr std::pair<std::string_view, std::uint8_t> kNames[] = {
        {"tcp", 6}, {"udp", 17}, {"sctp", 132}, {"icmp", 1}, {"icmpv6", 58}};
    const std::string name = lower(protocol);
    if (name == "other") {
      if (const auto value = number(port, 255))
        return {image::kOtherProtocol, static_cast<std::uint16_t>(*value)};
      throw Unanswerable{"found port " + policies::quoted(port) + ", expected a protocol number up to 255",
                         kPort};
    }
    std::optional<std::uint32_t> iana = number(name, 255);
    std::vector<std::string_view> names;
    for (const auto& [known, value] : kNames) {
      names.push_back(known);
      if (known == name) iana = value;
    }
    if (!iana)
      throw Unanswerable{"found protocol " + policies::quoted(protocol) + ", expected " +
                             policies::one_of(names) + ", or a number up to 255" +
                             policies::did_you_mean(name, names),
                         kProtocol};
    const auto slot = image::protocol_slot(static_cast<std::uint8_t>(*iana));
    if (slot == image::kOtherProtocol) return {slot, static_cast<std::uint16_t>(*iana)};
    const bool icmp = slot == image::kIcmp || slot == image::kIcmpV6;
    if (icmp && port.empty()) return {slot, static_cast<std::uint16_t>(slot == image::kIcmp ? 8 : 128)};
    const auto value = number(port, icmp ? 255 : 65535);
    if (!value)
      throw Unanswerable{"found port " + policies::quoted(port) + ", expected a number from 0 to " +
                             (icmp ? "255 (the ICMP type)" : "65535"),
                         kPort};
    return {slot, static_cast<std::uint16_t>(*value)};
  }

  std::string_view reason_allowed(const image::Bound& source, const image::Bound& destination,
                                  const Traffic& traffic) const {
    if (source.endpoint != 0 && source.endpoint == destination.endpoint) return "self";
    const auto own_node = [&](std::uint32_t direction, const image::Record& subject,
                              const image::Record& peer) {
      if (subject.subject[direction] == image::kNoSubject || (peer.flags & image::kRecordNode) == 0)
        return false;
      const auto& traits = view_.subjects[direction][subject.subject[direction]];
      if (traits.isolating_count == 0 && traits.posture == image::Verdict::kAllow) return false;
      return image::decide(view_, direction, subject.subject[direction], peer.peer[direction],
                           image::port_class(view_, traffic.slot, traffic.port)) == image::kAllowBit;
    };
    const image::Record from = view_.record(source.record), to = view_.record(destination.record);
    return own_node(image::kEgress, from, to) || own_node(image::kIngress, to, from) ? "own_node" : "allowed";
  }

  const std::string& rule_text(std::uint32_t number) {
    std::string& text = rule_texts_[number];
    if (!text.empty()) return text;
    const image::Rule& rule = view_.rules[number];
    const image::Policy& policy = view_.policies[rule.policy];
    const auto part = [&](image::StringRef ref) { return std::string(view_.policy_text(ref)); };
    const std::string home = part(policy.namespace_name);
    text = part(policy.kind) + " " + (home.empty() ? home : home + "/") + part(policy.name) + " " +
           part(rule.name) + " " + part(policy.file) + ":" +
           std::to_string(rule.line != 0 ? rule.line : policy.line);
    return text;
  }

  const policies::Cluster& cluster_;
  const image::View& view_;
  std::unordered_map<std::string, const policies::Endpoint*> pods_;
  std::unordered_map<std::string, End> ends_;
  std::unordered_map<std::uint32_t, std::string> rule_texts_;
};

/// Errors are collected, so that a person can mend a file at once; a flood of them is cut.
constexpr std::size_t kErrorsMax = 20;

std::string answer_all(const std::string& path, std::string_view text, Test& test) {
  std::string out, errors;
  std::size_t line_number = 0, errors_count = 0;
  std::array<std::size_t, kColumnCount> places = {0, 1, 2, 3};
  bool first = true;
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++line_number;
    const auto visible = line.find_first_not_of(" \t\r");
    if (visible == std::string_view::npos || line[visible] == '#') continue;
    const auto [fields, begins] = split(line);
    const auto header = first ? header_of(fields) : std::nullopt;
    first = false;
    if (header) places = *header;
    const std::size_t start = out.size();
    for (const auto& field : fields) {
      if (out.size() != start) out += ',';
      append_field(field, out);
    }
    try {
      if (fields.empty())
        throw Unanswerable{"found a quote that nothing closes in its line, expected its partner"};
      if (header) {
        out += ",verdict,reason,rule";
      } else {
        const auto field = [&](Column column) {
          if (places[column] < fields.size()) return fields[places[column]];
          if (column == kPort) return std::string();  // ICMP needs none
          throw Unanswerable{"found " + std::to_string(fields.size()) +
                             " fields, expected src,dst,proto,port"};
        };
        test.answer(field(kSource), field(kDestination), field(kProtocol), field(kPort), out);
      }
    } catch (const Unanswerable& unanswerable) {
      if (++errors_count > kErrorsMax) continue;
      const bool whole = unanswerable.column == kColumnCount;
      const std::size_t at = whole ? 0 : std::min(places[unanswerable.column], begins.size() - 1);
      errors += path + ":" + std::to_string(line_number) + ":" + std::to_string(begins[at]) + ": " +
                (whole ? "" : std::string(kColumns[unanswerable.column]) + ": ") + unanswerable.reason + "\n";
    }
    out += '\n';
  }
  if (errors_count > kErrorsMax) errors += "and " + std::to_string(errors_count - kErrorsMax) + " more\n";
  if (!errors.empty()) throw Unanswerable{errors.substr(0, errors.size() - 1)};
  return out;
}

}  // namespace

int policy_test(const PolicyTestOptions& options, std::ostream& out, std::ostream& err) try {
  const source::Manifests cluster =
      read_manifests(options.cluster, {.skip_other_kinds = true, .mesh = options.mesh});
  const source::Manifests separate = options.policies.empty()
                                         ? source::Manifests{}
                                         : read_manifests(options.policies, {.mesh = options.mesh});
  if (!options.policies.empty() && !cluster.policies.policies.empty())
    err << "note: policies among the cluster's manifests do not count where --policies is given\n";

  // Every end is judged at home, and nothing has to fit beside traffic.
  const compile::Input input{.cluster = cluster.cluster,
                             .policies = options.policies.empty() ? cluster.policies : separate.policies,
                             .posture = options.posture,
                             .subjects = compile::Subjects::kEvery,
                             .limits = {.section_bytes_max = image::kSectionBytesMax},
                             .now = options.now};
  auto compiled = compile::compile(input);
  if (const auto* refusal = std::get_if<compile::Refusal>(&compiled)) throw Unanswerable{refusal->reason};
  const auto& sections = std::get<compile::Output>(compiled);
  const auto validated = image::validate(sections.image.sections());
  if (const auto* refusal = std::get_if<image::Refusal>(&validated)) throw Unanswerable{refusal->reason};

  // A set that breaks an invariant would never be enforced: its answers would mislead.
  const analysis::Proof proof = analysis::prove(input, sections);
  std::string broken = proof.refusal;
  for (const analysis::Breach& breach : proof.breaches)
    broken += (broken.empty() ? "" : "\n") + message(breach);
  if (!broken.empty()) throw Unanswerable{broken};

  Test test(cluster, std::get<image::View>(validated));
  out << answer_all(options.queries, read_queries(options.queries), test) << std::flush;
  if (!out) throw Unanswerable{"the answers cannot be written"};
  return 0;
} catch (const Unanswerable& unanswerable) {
  err << unanswerable.reason << '\n';
  return 1;
}

}  // namespace bulkhead::ctl
