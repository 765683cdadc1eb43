#include "controlplane/compile/emit.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "dataplane/image/builder.h"

namespace bulkhead::compile {
namespace {

abi::Address address_of(const policies::AddressBytes& bytes) {
  return {bytes};
}

/// A builder's section, or the end of this compile.
std::vector<std::byte> unwrap(std::variant<std::vector<std::byte>, image::Refusal> built) {
  if (auto* refusal = std::get_if<image::Refusal>(&built)) throw Refused{std::move(refusal->reason)};
  return std::get<std::vector<std::byte>>(std::move(built));
}

constexpr image::PolicyTier tier_of(policies::Tier tier) {
  constexpr image::PolicyTier kTiers[] = {image::kQuarantineTier, image::kMeshTier, image::kPlatformTier,
                                          image::kApplicationTier, image::kBaselineTier};
  return kTiers[static_cast<std::size_t>(tier)];
}

constexpr image::Verdict verdict_of(policies::Action action) {
  constexpr image::Verdict kVerdicts[] = {image::Verdict::kAllow, image::Verdict::kDeny,
                                          image::Verdict::kPass};
  return kVerdicts[static_cast<std::size_t>(action)];
}

constexpr std::uint8_t options_of(policies::Established established) {
  constexpr std::uint8_t kOptions[] = {image::kKeepEstablished, 0, image::kResetEstablished};
  return kOptions[static_cast<std::size_t>(established)];
}

std::uint8_t options_of(const policies::Policy& policy) {
  const bool audited = policy.mode == policies::Mode::kAudit;
  return static_cast<std::uint8_t>(options_of(policy.established) | (audited ? image::kAuditedPolicy : 0));
}

void emit_provenance(const Rules& rules, image::PolicyTables& tables) {
  auto& strings = tables.strings;
  tables.policies.emplace_back();
  for (const policies::Policy* policy : rules.policies)
    tables.policies.push_back({strings.add(policy->kind), strings.add(policy->namespace_name),
                               strings.add(policy->name), strings.add(policy->origin.file),
                               policy->origin.line, tier_of(policy->tier), options_of(*policy),
                               static_cast<std::uint16_t>(policy->priority)});

  // Words are made once for each peer list and port list, not for each rule that shares them.
  std::vector<image::StringRef> peers_text[2];
  for (std::uint32_t direction = 0; direction < 2; ++direction)
    peers_text[direction].resize(rules.directions[direction].peers.size());
  std::unordered_map<std::uint32_t, image::StringRef> ports_text;
  tables.rules.emplace_back();
  for (const GoverningRule& governing : rules.rules) {
    const policies::Rule& rule = *governing.rule;
    image::StringRef& peers = peers_text[governing.direction][governing.peers];
    if (peers.bytes == 0) peers = strings.add(policies::describe_peers(rule));
    image::StringRef& ports = ports_text[governing.ports];
    if (ports.bytes == 0) ports = strings.add(policies::describe_ports(rule));
    tables.rules.push_back({governing.policy + 1, governing.direction, verdict_of(rule.action),
                            rule.origin.line, rule.origin.column, strings.add(rule.name), peers, ports, 0});
  }
}

void emit_subjects(const Compiled& compiled, std::uint32_t direction, ListTable& isolating,
                   ListTable& governing, image::PolicyTables& tables) {
  const GovernedDirection& governed = compiled.rules.directions[direction];
  std::vector<std::uint32_t> policies, audited, rules;
  for (const std::uint32_t index : compiled.rule_sets.matrices[direction].subject_of_row) {
    const Subject& subject = compiled.classes.directions[direction].subjects[index];
    policies.clear();
    audited.clear();
    rules.clear();
    auto established = policies::Established::kKeep;
    if (subject.quarantine != kNone)
      rules.push_back(compiled.rules.quarantines[subject.quarantine].denies_all[direction] + 1);
    for (const std::uint32_t number : governed.clause_sets[subject.clauses]) {
      const GoverningClause& clause = governed.clauses[number];
      if (clause.isolates && clause.audited) audited.push_back(clause.policy + 1);
      if (clause.isolates && !clause.audited) {
        policies.push_back(clause.policy + 1);
        established = std::max(established, compiled.rules.policies[clause.policy]->established);
      }
      for (std::uint32_t i = 0; i < clause.rules_count; ++i) rules.push_back(clause.rules_first + i + 1);
    }
    if (policies.empty()) established = policies::Established::kReevaluate;  // the posture's answer
    sort_unique(policies);
    sort_unique(audited);
    audited.resize(std::min<std::size_t>(audited.size(), 0xffff));
    const auto isolating_count = static_cast<std::uint32_t>(policies.size());
    policies.insert(policies.end(), audited.begin(), audited.end());
    const std::uint32_t isolating_list = isolating.intern(policies), rules_list = governing.intern(rules);
    tables.subjects[direction].push_back(
        {static_cast<std::uint32_t>(isolating.first_of(isolating_list)), isolating_count,
         static_cast<std::uint32_t>(governing.first_of(rules_list)), static_cast<std::uint32_t>(rules.size()),
         subject.posture_allows ? image::Verdict::kAllow : image::Verdict::kDeny, options_of(established), 0,
         static_cast<std::uint16_t>(audited.size())});
  }
}

void emit_verdicts(const Compiled& compiled, image::PolicyTables& tables) {
  ListTable& decisions = compiled.rule_sets.decisions;
  const bool passes = compiled.rules.passes, audits = compiled.rules.audits;
  if (!passes && !audits) {
    tables.verdicts = std::move(decisions).take_items();
    return;
  }
  for (std::uint32_t rule_set = 0; rule_set < decisions.size(); ++rule_set) {
    const auto answers = decisions[rule_set];
    const auto more = answers.subspan(compiled.ports.class_count());
    tables.verdicts.insert(tables.verdicts.end(), answers.begin(),
                           answers.end() - static_cast<std::ptrdiff_t>(more.size()));
    if (passes) tables.passed_of.push_back(more.front());
    if (audits) tables.audited_of.push_back(more.back());
  }
  tables.audited = std::move(compiled.rule_sets.audited).take_items();
  const std::vector<std::uint32_t>& passed = compiled.rule_sets.passed.items();
  for (std::size_t i = 0; i < passed.size(); i += 3)
    tables.passed.push_back({passed[i], passed[i + 1], passed[i + 2]});
}

image::PolicyTables policy_tables(const Compiled& compiled) {
  image::PolicyTables tables;
  emit_provenance(compiled.rules, tables);
  tables.page_of = compiled.ports.page_of;
  tables.pages = compiled.ports.pages;
  tables.port_classes = compiled.ports.class_count();
  tables.rule_sets = static_cast<std::uint32_t>(compiled.rule_sets.decisions.size());
  emit_verdicts(compiled, tables);
  ListTable isolating, governing;
  for (std::uint32_t direction = 0; direction < 2; ++direction) {
    Matrix& matrix = compiled.rule_sets.matrices[direction];
    tables.subject_classes[direction] = matrix.rows;
    tables.peer_classes[direction] = matrix.columns;
    tables.read_row[direction] = [&matrix](std::uint32_t row, std::span<std::uint32_t> cells) {
      matrix.read(row, cells);
    };
    emit_subjects(compiled, direction, isolating, governing, tables);
  }
  tables.isolating = std::move(isolating).take_items();
  tables.governing = std::move(governing).take_items();
  return tables;
}

/// What profiles and blocks mean, in the columns and rows that are left.
class Meanings {
 public:
  Meanings(const Compiled& compiled, image::PolicyTables& tables) : compiled_(compiled), tables_(tables) {}

  void emit() {
    tables_.gateway_v4 = compiled_.input.node.gateway_v4;
    tables_.gateway_v6 = compiled_.input.node.gateway_v6;
    const std::vector<Seen>& seen = compiled_.profiles.seen;
    tables_.profiles.reserve(seen.size());
    // Identities lie all over memory, and each is looked at once.
    constexpr std::uint32_t kAhead = 16;
    for (std::uint32_t index = 0; index < seen.size(); ++index) {
      if (index + kAhead < seen.size() && seen[index + kAhead].identity != kNone)
        __builtin_prefetch(&compiled_.census.identities[seen[index + kAhead].identity].bound);
      emit_profile(seen[index], index);
    }
    emit_world();
  }

 private:
  void emit_profile(const Seen& seen, std::uint32_t index) {
    image::Record meaning{seen.profile, 0, {image::kNoSubject, image::kNoSubject}, {}, image::kRecordNode};
    if (seen.ports != nullptr) {
      meaning.identity = compiled_.numbers[compiled_.census.identities[seen.identity].bound];
      meaning.flags = image::kRecordEndpoint;
    }
    for (std::uint32_t direction = 0; direction < 2; ++direction) {
      meaning.peer[direction] = column(direction, compiled_.classes.peer_of[direction][index]);
      const std::uint32_t subject = compiled_.classes.subject_of[direction][index];
      if (subject != kNone)
        meaning.subject[direction] = compiled_.rule_sets.matrices[direction].row_of[subject];
    }
    tables_.profiles.push_back(meaning);
  }

  void emit_world() {
    const auto& regions = compiled_.blocks.regions();
    std::vector<std::uint32_t> worlds;
    for (std::uint32_t region = 0; region < regions.size(); ++region)
      worlds.push_back(world(column(0, compiled_.classes.world_peer_of[0][region]),
                             column(1, compiled_.classes.world_peer_of[1][region])));
    tables_.world_v4 = worlds[Blocks::kRootV4];
    tables_.world_v6 = worlds[Blocks::kRootV6];
    for (std::uint32_t region = 0; region < regions.size(); ++region)
      if (regions[region].parent != kNone && worlds[region] != worlds[regions[region].parent])
        tables_.blocks.push_back(
            {address_of(regions[region].prefix.base), regions[region].prefix.prefix_bits, worlds[region]});
  }

  std::uint32_t world(std::uint32_t ingress, std::uint32_t egress) {
    const std::uint32_t number = known_.intern({ingress, egress});
    if (number == tables_.worlds.size())
      tables_.worlds.push_back(
          {0, 0, {image::kNoSubject, image::kNoSubject}, {ingress, egress}, image::kRecordWorld});
    return number;
  }

  std::uint32_t column(std::uint32_t direction, std::uint32_t peer) const {
    return compiled_.rule_sets.matrices[direction].column_of[peer];
  }

  const Compiled& compiled_;
  image::PolicyTables& tables_;
  ListTable known_;
};

}  // namespace

Stats stats_of(const Compiled& compiled) {
  Stats stats;
  stats.endpoints = compiled.census.members.size();
  stats.identities = compiled.census.identities.size();
  stats.profiles = compiled.profiles.seen.size();
  stats.policies = compiled.rules.policies.size();
  stats.rules = compiled.rules.rules.size();
  for (std::uint32_t direction = 0; direction < 2; ++direction) {
    stats.subject_classes[direction] = compiled.rule_sets.matrices[direction].rows;
    stats.peer_classes[direction] = compiled.rule_sets.matrices[direction].columns;
  }
  stats.port_classes = compiled.ports.class_count();
  stats.rule_sets = compiled.rule_sets.decisions.size();
  return stats;
}

image::SectionBytes emit(const Compiled& compiled) {
  image::PolicyTables tables = policy_tables(compiled);
  Meanings(compiled, tables).emit();
  return std::make_shared<const std::vector<std::byte>>(
      unwrap(image::build_policy(tables, {compiled.input.limits.section_bytes_max})));
}

}  // namespace bulkhead::compile
