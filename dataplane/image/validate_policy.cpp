#include "dataplane/image/layout.h"

namespace bulkhead::image {
namespace {

constexpr const char* kDirectionNames[kDirections] = {"[ingress]", "[egress]"};

template <class... Parts>
Refusal refuse_at(const char* name, const char* suffix, std::size_t index, const Parts&... parts) {
  return refuse("policy section, table ", name, suffix, ", index ", index, ": ", parts...);
}

Refusal refuse_count(const char* name, std::uint64_t count, std::uint64_t expected) {
  return refuse("policy section, table ", name, ": ", count, " elements, expected ", expected);
}

bool known(std::uint8_t options) {
  constexpr std::uint8_t kBoth = kKeepEstablished | kResetEstablished;
  return (options & ~(kBoth | kAuditedPolicy)) == 0 && (options & kBoth) != kBoth;
}

std::optional<Refusal> check_ports(std::span<const std::byte> section, const PolicyHeader& header) {
  constexpr std::uint64_t kPagesOf = std::uint64_t{kProtocolSlots} * 256;
  if (header.page_of.count != kPagesOf) return refuse_count("page_of", header.page_of.count, kPagesOf);
  if (header.pages.count % kPageEntries != 0)
    return refuse("policy section, table pages: ", header.pages.count, " elements, expected a multiple of ",
                  kPageEntries);
  const auto page_of = table<std::uint16_t>(section, header.page_of);
  const std::uint64_t pages_count = header.pages.count / kPageEntries;
  if (const auto bad = find_not_below(page_of, pages_count); bad != page_of.size())
    return refuse_at("page_of", "", bad, "page ", page_of[bad], ", but there are ", pages_count);
  const auto pages = table<std::uint16_t>(section, header.pages);
  if (const auto bad = find_not_below(pages, header.port_classes); bad != pages.size())
    return refuse_at("pages", "", bad, "port class ", pages[bad], ", but there are ", header.port_classes);
  return std::nullopt;
}

std::optional<Refusal> check_matrix(std::span<const std::byte> section, const PolicyHeader& header,
                                    std::uint32_t direction) {
  const char* suffix = kDirectionNames[direction];
  const TableRef& ref = header.matrix[direction];
  // Two 32-bit factors: the product fits.
  const std::uint64_t expected =
      std::uint64_t{header.subject_classes[direction]} * pages_of(header.peer_classes[direction], kCellPage);
  if (ref.count != expected)
    return refuse("policy section, table matrix", suffix, ": ", ref.count, " elements, expected ", expected);
  const auto matrix = table<std::uint32_t>(section, ref);
  const std::uint64_t pages = header.cells.count / kCellPage;
  if (const auto bad = find_not_below(matrix, pages); bad != matrix.size())
    return refuse_at("matrix", suffix, bad, "page ", matrix[bad], ", but there are ", pages);
  return std::nullopt;
}

std::optional<Refusal> check_cells(std::span<const std::byte> section, const PolicyHeader& header) {
  if (header.cells.count % kCellPage != 0)
    return refuse("policy section, table cells: ", header.cells.count, " elements, expected a multiple of ",
                  kCellPage);
  const auto cells = table<std::uint32_t>(section, header.cells);
  if (const auto bad = find_not_below(cells, header.rule_sets); bad != cells.size())
    return refuse_at("cells", "", bad, "rule set ", cells[bad], ", but there are ", header.rule_sets);
  return std::nullopt;
}

std::optional<Refusal> check_decisions(std::span<const std::byte> section, const PolicyHeader& header) {
  const auto decisions = table<Decision>(section, header.verdicts);
  const auto rules = table<Rule>(section, header.rules);
  for (std::size_t i = 0; i < decisions.size(); ++i) {
    const std::uint32_t rule = decisions[i] & ~kAllowBit;
    if (rule >= rules.size())
      return refuse_at("verdicts", "", i, "rule ", rule, ", but there are ", rules.size());
    const Verdict verdict = (decisions[i] & kAllowBit) != 0 ? Verdict::kAllow : Verdict::kDeny;
    if (rule != 0 && rules[rule].verdict != verdict)
      return refuse_at("verdicts", "", i, "decides otherwise than its rule ", rule);
  }
  return std::nullopt;
}

std::optional<Refusal> check_verdicts(std::span<const std::byte> section, const PolicyHeader& header) {
  const std::uint64_t width = pages_of(header.port_classes, kVerdictPage), own = header.rule_sets * width;
  const std::uint64_t count = header.verdict_pages.count;
  const bool audits = header.audited_of.count != 0;
  if (count < own || (width == 0 ? count != 0 : count % width != 0) || (!audits && count != own))
    return refuse_count("verdict_pages", count, own);
  if (header.verdicts.count % kVerdictPage != 0)
    return refuse("policy section, table verdicts: ", header.verdicts.count,
                  " elements, expected a multiple of ", kVerdictPage);
  const auto pages = table<std::uint32_t>(section, header.verdict_pages);
  const std::uint64_t pages_count = header.verdicts.count / kVerdictPage;
  if (const auto bad = find_not_below(pages, pages_count); bad != pages.size())
    return refuse_at("verdict_pages", "", bad, "page ", pages[bad], ", but there are ", pages_count);
  if (audits && header.audited_of.count != header.rule_sets)
    return refuse_count("audited_of", header.audited_of.count, header.rule_sets);
  const std::uint64_t rows = width == 0 ? header.rule_sets : count / width;
  const auto audited_of = table<std::uint32_t>(section, header.audited_of);
  if (const auto bad = find_not_below(audited_of, rows); bad != audited_of.size())
    return refuse_at("audited_of", "", bad, "row ", audited_of[bad], ", but there are ", rows);
  return check_decisions(section, header);
}

std::optional<Refusal> check_passed(std::span<const std::byte> section, const PolicyHeader& header) {
  const std::uint64_t expected = header.passed_of.count == 0 ? 0 : header.rule_sets;
  if (header.passed_of.count != expected) return refuse_count("passed_of", header.passed_of.count, expected);
  const std::uint64_t rows = header.port_classes == 0 ? 0 : header.passed.count / header.port_classes;
  if (header.passed.count != rows * header.port_classes || (expected == 0 && rows != 0))
    return refuse_count("passed", header.passed.count, expected == 0 ? 0 : rows * header.port_classes);
  const auto passed_of = table<std::uint32_t>(section, header.passed_of);
  if (const auto bad = find_not_below(passed_of, rows); bad != passed_of.size())
    return refuse_at("passed_of", "", bad, "row ", passed_of[bad], ", but there are ", rows);
  const auto passed = table<Passed>(section, header.passed);
  const auto rules = table<Rule>(section, header.rules);
  for (std::size_t i = 0; i < passed.size(); ++i)
    for (const std::uint32_t rule : {passed[i].mesh, passed[i].platform, passed[i].baseline}) {
      if (rule >= rules.size())
        return refuse_at("passed", "", i, "rule ", rule, ", but there are ", rules.size());
      if (rule != 0 && rules[rule].verdict != Verdict::kPass)
        return refuse_at("passed", "", i, "its rule ", rule, " does not pass");
    }
  return std::nullopt;
}

std::optional<Refusal> check_subjects(std::span<const std::byte> section, const PolicyHeader& header,
                                      std::uint32_t direction) {
  const char* suffix = kDirectionNames[direction];
  const TableRef& ref = header.subjects[direction];
  if (ref.count != header.subject_classes[direction])
    return refuse("policy section, table subjects", suffix, ": ", ref.count, " elements, expected ",
                  header.subject_classes[direction]);
  const auto subjects = table<SubjectClass>(section, ref);
  for (std::size_t i = 0; i < subjects.size(); ++i) {
    const SubjectClass& subject = subjects[i];
    if (!within(subject.isolating_first, subject.isolating_count, header.isolating.count) ||
        std::uint64_t{subject.isolating_first} + subject.isolating_count + subject.audited_count >
            header.isolating.count)
      return refuse_at("subjects", suffix, i, "its isolating policies end beyond the table");
    if (!within(subject.rules_first, subject.rules_count, header.governing.count))
      return refuse_at("subjects", suffix, i, "its governing rules end beyond the table");
    if (subject.posture != Verdict::kDeny && subject.posture != Verdict::kAllow)
      return refuse_at("subjects", suffix, i, "unknown posture");
    if (!known(subject.options) || (subject.options & kAuditedPolicy) != 0)
      return refuse_at("subjects", suffix, i, "unknown options");
    if (subject.reserved != 0) return refuse_at("subjects", suffix, i, "reserved field is not zero");
  }
  return std::nullopt;
}

std::optional<Refusal> check_names(std::span<const std::byte> section, const PolicyHeader& header) {
  const std::uint64_t strings = header.strings.count;
  if (header.policies.count == 0 || header.rules.count == 0)
    return refuse("policy section: policies or rules lacks its none entry");
  const auto policies = table<Policy>(section, header.policies);
  for (std::size_t i = 0; i < policies.size(); ++i) {
    const Policy& policy = policies[i];
    if (!within(policy.kind, strings) || !within(policy.namespace_name, strings) ||
        !within(policy.name, strings) || !within(policy.file, strings))
      return refuse_at("policies", "", i, "a string ends beyond the table");
    if (policy.tier >= kPolicyTiers) return refuse_at("policies", "", i, "unknown tier");
    if (!known(policy.options)) return refuse_at("policies", "", i, "unknown options");
  }
  const auto rules = table<Rule>(section, header.rules);
  for (std::size_t i = 0; i < rules.size(); ++i) {
    const Rule& rule = rules[i];
    if (rule.policy >= policies.size())
      return refuse_at("rules", "", i, "policy ", rule.policy, ", but there are ", policies.size());
    if (rule.direction >= kDirections) return refuse_at("rules", "", i, "unknown direction");
    if (rule.verdict != Verdict::kDeny && rule.verdict != Verdict::kAllow && rule.verdict != Verdict::kPass)
      return refuse_at("rules", "", i, "unknown verdict");
    if (!within(rule.name, strings) || !within(rule.peers, strings) || !within(rule.ports, strings))
      return refuse_at("rules", "", i, "a string ends beyond the table");
    if (rule.reserved != 0) return refuse_at("rules", "", i, "reserved field is not zero");
  }
  return std::nullopt;
}

std::optional<Refusal> check_provenance(std::span<const std::byte> section, const PolicyHeader& header) {
  const auto isolating = table<std::uint32_t>(section, header.isolating);
  if (const auto bad = find_not_below(isolating, header.policies.count); bad != isolating.size())
    return refuse_at("isolating", "", bad, "policy ", isolating[bad], ", but there are ",
                     header.policies.count);
  const auto governing = table<std::uint32_t>(section, header.governing);
  if (const auto bad = find_not_below(governing, header.rules.count); bad != governing.size())
    return refuse_at("governing", "", bad, "rule ", governing[bad], ", but there are ", header.rules.count);
  return std::nullopt;
}

}  // namespace

std::optional<Refusal> check_policy(std::span<const std::byte> section, bool check_digest, View& view) {
  if (auto refusal = check_frame(section, SectionKind::kPolicy, check_digest)) return refusal;
  const auto& header = *reinterpret_cast<const PolicyHeader*>(section.data());
  if (auto refusal = check_ports(section, header)) return refusal;
  if (auto refusal = check_names(section, header)) return refusal;
  if (auto refusal = check_provenance(section, header)) return refusal;
  if (auto refusal = check_verdicts(section, header)) return refusal;
  if (auto refusal = check_passed(section, header)) return refusal;
  if (auto refusal = check_lookups(section, header)) return refusal;
  if (auto refusal = check_cells(section, header)) return refusal;
  for (std::uint32_t direction = 0; direction < kDirections; ++direction) {
    if (auto refusal = check_matrix(section, header, direction)) return refusal;
    if (auto refusal = check_subjects(section, header, direction)) return refusal;
    view.matrix[direction] = table<std::uint32_t>(section, header.matrix[direction]).data();
    view.matrix_width[direction] = pages_of(header.peer_classes[direction], kCellPage);
    view.subjects[direction] = table<SubjectClass>(section, header.subjects[direction]).data();
  }
  view.policy = &header;
  view.page_of = table<std::uint16_t>(section, header.page_of).data();
  view.pages = table<std::uint16_t>(section, header.pages).data();
  view.cells = table<std::uint32_t>(section, header.cells).data();
  view.verdict_pages = table<std::uint32_t>(section, header.verdict_pages).data();
  view.verdict_width = pages_of(header.port_classes, kVerdictPage);
  view.verdicts = table<Decision>(section, header.verdicts).data();
  if (header.passed_of.count != 0) view.passed_of = table<std::uint32_t>(section, header.passed_of).data();
  if (header.audited_of.count != 0) view.audited_of = table<std::uint32_t>(section, header.audited_of).data();
  view.passed = table<Passed>(section, header.passed).data();
  view.policies = table<Policy>(section, header.policies).data();
  view.rules = table<Rule>(section, header.rules).data();
  view.isolating = table<std::uint32_t>(section, header.isolating).data();
  view.governing = table<std::uint32_t>(section, header.governing).data();
  view.records = table<PackedRecord>(section, header.records).data();
  view.meanings = table<Meaning>(section, header.meanings).data();
  view.record_homes = header.record_homes;
  view.record_factor = header.record_factor;
  view.trie = table<std::uint32_t>(section, header.trie).data();
  view.policy_strings = table<char>(section, header.strings).data();
  return std::nullopt;
}

}  // namespace bulkhead::image
