#include "controlplane/compile/trials.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "controlplane/compile/intern.h"
#include "controlplane/compile/policy_index.h"
#include "controlplane/compile/vacant.h"
#include "policies/model/address.h"

namespace bulkhead::compile {
namespace {

constexpr std::uint32_t kUntried = 0xffff'ffffu, kSame = 0xffff'fffeu;

/// No steps are left.
struct Exhausted {};

policies::AddressBytes next(policies::AddressBytes address) {
  for (std::size_t byte = 16; byte-- > 0;)
    if (++address[byte] != 0) break;
  return address;
}

/// Of nobody, and preferably of documentation (RFC 5737, RFC 3849): no host is blamed.
std::optional<policies::AddressBytes> example_of(const Vacant& vacant, const Blocks& blocks,
                                                 std::uint32_t region) {
  static const policies::AddressBytes kDocumentation[] = {
      {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 198, 51, 100, 1},
      {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},
  };
  for (const auto& address : kDocumentation)
    if (vacant.is_in(region, address)) return address;
  if (const auto second = next(blocks.regions()[region].prefix.base); vacant.is_in(region, second))
    return second;
  return vacant.in(region, SIZE_MAX);
}

}  // namespace

std::variant<std::unique_ptr<Trials>, Refusal> Trials::prepare(const Input& input, std::uint64_t steps) {
  try {
    std::unique_ptr<Trials> trials(new Trials(input));
    trials->steps_ = steps;
    return trials;
  } catch (const Refused& refused) {
    return Refusal{refused.reason};
  }
}

Trials::Trials(const Input& input)
    : input_(input),
      census_(take_census(input_)),
      selectors_(census_, input_.limits),
      rules_(govern(input_, PolicyIndex(input_.policies).relevant(census_), census_, selectors_, ports_)),
      blocks_({rules_.directions[0].blocks, rules_.directions[1].blocks}),
      profiles_(see(census_, blocks_, rules_.quarantine_of)),
      classes_(classify(input_, census_, selectors_, rules_, blocks_, profiles_.seen, ports_)) {
  ports_.settle();
  clause_of_.resize(rules_.rules.size(), kNone);
  for (std::uint32_t number = 0; number < rules_.rules.size(); ++number)
    number_of_.emplace(rules_.rules[number].rule, number);
  for (std::uint32_t direction = 0; direction < 2; ++direction) {
    build_rows(direction);
    index_clauses(direction);
  }
  note_allowed();
  group_addresses();
}

void Trials::build_rows(std::uint32_t direction) {
  const ClassesDirection& classes = classes_.directions[direction];
  Side& side = sides_[direction];
  side.builder = std::make_unique<RowBuilder>(direction, rules_, ports_, classes,
                                              Answers{answers_.decisions, answers_.passed, answers_.audited},
                                              input_.limits);
  std::vector<std::uint32_t> row(classes.peers.size()), scratch;
  std::uint64_t bytes = 0;
  for (const Subject& subject : classes.subjects) {
    side.builder->build(subject, row);
    side.rows.emplace_back(row, scratch);
    bytes += side.rows.back().bytes();
    if (bytes > input_.limits.work_bytes_max)
      throw Refused{"the rows of " + std::to_string(classes.subjects.size()) +
                    " subject classes need more than " + std::to_string(input_.limits.work_bytes_max) +
                    " bytes"};
  }
  side.now.assign(side.builder->combinations(), kUntried);
}

void Trials::index_clauses(std::uint32_t direction) {
  const GovernedDirection& governed = rules_.directions[direction];
  Side& side = sides_[direction];
  for (std::uint32_t number = 0; number < governed.clauses.size(); ++number)
    for (std::uint32_t i = 0; i < governed.clauses[number].rules_count; ++i)
      clause_of_[governed.clauses[number].rules_first + i] = number;
  side.governed_by.resize(governed.clauses.size());
  const auto& subjects = classes_.directions[direction].subjects;
  for (std::uint32_t subject = 0; subject < subjects.size(); ++subject)
    for (const std::uint32_t clause : governed.clause_sets[subjects[subject].clauses])
      side.governed_by[clause].push_back(subject);
}

void Trials::note_allowed() {
  const std::uint32_t classes = ports_.class_count();
  words_ = (classes + 63) / 64;
  all_.resize(words_);
  for (std::uint32_t each = 0; each < classes; ++each)
    if (ports_.example(each)) set_bit(all_, each);
  allowed_.reserve(answers_.decisions.size() * words_);
  Bits bits;
  for (std::uint32_t rule_set = 0; rule_set < answers_.decisions.size(); ++rule_set) {
    bits.assign(words_, 0);
    const auto answers = answers_.decisions[rule_set];
    for (std::uint32_t each = 0; each < classes; ++each)
      if ((answers[each] & image::kAllowBit) != 0) set_bit(bits, each);
    for (std::size_t word = 0; word < words_; ++word) allowed_.push_back(bits[word] & all_[word]);
  }
}

void Trials::group_addresses() {
  std::vector<const Bound*> order;
  order.reserve(profiles_.bound.size());
  for (const Bound& bound : profiles_.bound) order.push_back(&bound);
  std::sort(order.begin(), order.end(),
            [](const Bound* a, const Bound* b) { return a->address < b->address; });
  const auto members = static_cast<std::uint32_t>(census_.members.size());
  for (const Bound* bound : order) {
    const std::uint32_t owner = bound->member != kNone ? bound->member : members + bound->node;
    for (std::uint32_t direction = 0; direction < 2; ++direction)
      add_example(
          direction,
          {classes_.subject_of[direction][bound->seen], classes_.peer_of[1 - direction][bound->seen], {}},
          {bound->address, owner});
  }
  const Vacant vacant(blocks_, profiles_);
  for (const bool v4 : {true, false})
    for (std::uint32_t region = 0; region < blocks_.regions().size(); ++region) {
      if (blocks_.regions()[region].prefix.is_v4() != v4) continue;
      const auto address = example_of(vacant, blocks_, region);
      if (!address) continue;
      for (std::uint32_t direction = 0; direction < 2; ++direction)
        add_example(direction, {kNone, classes_.world_peer_of[1 - direction][region], {}}, {*address, kNone});
    }
  for (std::uint32_t direction = 0; direction < 2; ++direction) {
    Side& side = sides_[direction];
    side.groups_of.resize(classes_.directions[direction].subjects.size());
    for (std::uint32_t number = 0; number < side.groups.size(); ++number)
      if (side.groups[number].subject != kNone) side.groups_of[side.groups[number].subject].push_back(number);
  }
}

void Trials::add_example(std::uint32_t direction, const Group& key, const Example& example) {
  Side& side = sides_[direction];
  const auto [place, is_new] = group_at_[direction].try_emplace(
      std::uint64_t{key.subject} << 32 | key.peer, static_cast<std::uint32_t>(side.groups.size()));
  if (is_new) side.groups.push_back(key);
  auto& examples = side.groups[place->second].examples;
  // Two of different owners are enough: whatever is not one of them differs from it.
  std::size_t of_family = 0;
  for (const Example& known : examples) {
    if (policies::is_v4(known.address) != policies::is_v4(example.address)) continue;
    if (known.owner == example.owner || ++of_family == 2) return;
  }
  examples.push_back(example);
}

Trial Trials::without(std::span<const policies::Rule* const> rules, std::optional<policies::Tier> tier) {
  Trial trial;
  try {
    leave_out(rules);
    if (!tier) {
      if (find_any(0) || find_any(1)) trial.effect = Trial::Effect::kSomething;
      return trial;
    }
    tier_ = *tier;
    differs_ = false;
    first_.reset();
    for (const std::uint32_t subject : affected(1))
      if (may_change(1, subject)) find_first_source(subject);
    for (const std::uint32_t subject : affected(0))
      if (may_change(0, subject)) find_first_destination(subject);
    if (first_) trial = std::move(found_);
    if (differs_) trial.effect = Trial::Effect::kSomething;
  } catch (const Exhausted&) {
    trial.effect = Trial::Effect::kUnknown;
  }
  return trial;
}

void Trials::leave_out(std::span<const policies::Rule* const> rules) {
  for (Side& side : sides_) {
    side.left_out.clear();
    for (const std::uint32_t combination : side.tried) side.now[combination] = kUntried;
    side.tried.clear();
    side.without.clear();
  }
  for (const policies::Rule* rule : rules)
    if (const auto known = number_of_.find(rule); known != number_of_.end())
      sides_[rules_.rules[known->second].direction].left_out.push_back(known->second);
  for (Side& side : sides_) sort_unique(side.left_out);
}

/// Subject classes that a rule left out governs, ascending.
std::vector<std::uint32_t> Trials::affected(std::uint32_t direction) const {
  const Side& side = sides_[direction];
  std::vector<std::uint32_t> subjects;
  for (const std::uint32_t rule : side.left_out) {
    const auto& governed = side.governed_by[clause_of_[rule]];
    subjects.insert(subjects.end(), governed.begin(), governed.end());
  }
  sort_unique(subjects);
  return subjects;
}

std::uint32_t Trials::try_combination(std::uint32_t direction, std::uint32_t combination) {
  Side& side = sides_[direction];
  std::uint32_t& now = side.now[combination];
  if (now != kUntried) return now;
  if (side.left_out.empty()) return kSame;
  side.tried.push_back(combination);
  spend(ports_.class_count());
  const auto decisions = side.builder->without(combination, side.left_out);
  if (!decisions) return now = kSame;
  Bits allows(words_);
  for (std::uint32_t each = 0; each < ports_.class_count(); ++each)
    if (((*decisions)[each] & image::kAllowBit) != 0) set_bit(allows, each);
  for (std::size_t word = 0; word < words_; ++word) allows[word] &= all_[word];
  const auto before =
      allowed_.begin() + static_cast<std::ptrdiff_t>(side.builder->rule_set(combination) * words_);
  if (std::equal(allows.begin(), allows.end(), before)) return now = kSame;
  now = static_cast<std::uint32_t>(side.without.size());
  side.without.push_back({std::move(allows), {decisions->begin(), decisions->end()}});
  return now;
}

bool Trials::may_change(std::uint32_t direction, std::uint32_t subject) {
  const auto combinations = sides_[direction].rows[subject].palette();
  return combinations.empty() ||
         std::any_of(combinations.begin(), combinations.end(),
                     [&](std::uint32_t each) { return try_combination(direction, each) != kSame; });
}

Trials::End Trials::end(std::uint32_t direction, std::uint32_t subject, std::uint32_t peer) {
  if (subject == kNone) return {all_.data(), all_.data()};
  const Side& side = sides_[direction];
  const std::uint32_t combination = side.rows[subject][peer];
  const std::uint64_t* before = allowed_.data() + std::size_t{side.builder->rule_set(combination)} * words_;
  const std::uint32_t now = try_combination(direction, combination);
  return {before, now == kSame ? before : side.without[now].allows.data()};
}

namespace {

/// Two addresses that a packet could go between.
template <typename Group>
std::optional<std::pair<policies::AddressBytes, policies::AddressBytes>> apart(const Group& source,
                                                                               const Group& destination) {
  for (const auto& from : source.examples)
    for (const auto& to : destination.examples)
      if (policies::is_v4(from.address) == policies::is_v4(to.address) &&
          (from.owner != to.owner || from.owner == kNone))
        return std::pair(from.address, to.address);
  return std::nullopt;
}

}  // namespace

bool Trials::differs(const Group& source, const Group& destination) {
  const End egress = end(1, source.subject, destination.peer);
  const End ingress = end(0, destination.subject, source.peer);
  for (std::size_t word = 0; word < words_; ++word)
    if ((egress.before[word] & ingress.before[word]) != (egress.after[word] & ingress.after[word]))
      return apart(source, destination).has_value();
  return false;
}

/// From the world backwards: what it sends and receives, no other end forbids.
bool Trials::find_any(std::uint32_t direction) {
  const Side &side = sides_[direction], &others = sides_[1 - direction];
  for (const std::uint32_t subject : affected(direction)) {
    if (!may_change(direction, subject)) continue;
    for (auto other = others.groups.rbegin(); other != others.groups.rend(); ++other) {
      spend(1);
      if (try_combination(direction, side.rows[subject][other->peer]) == kSame) continue;
      for (const std::uint32_t number : side.groups_of[subject]) {
        const Group& group = side.groups[number];
        if (direction == 1 ? differs(group, *other) : differs(*other, group)) return true;
      }
    }
  }
  return false;
}

void Trials::find_first_source(std::uint32_t subject) {
  for (const std::uint32_t source : sides_[1].groups_of[subject])
    for (std::uint32_t destination = 0; destination < sides_[0].groups.size(); ++destination) {
      if (first_ && std::pair(source, destination) >= *first_) return;
      spend(1);
      if (try_combination(1, sides_[1].rows[subject][sides_[0].groups[destination].peer]) != kSame)
        look_at(source, destination);
    }
}

void Trials::find_first_destination(std::uint32_t subject) {
  for (const std::uint32_t destination : sides_[0].groups_of[subject])
    for (std::uint32_t source = 0; source < sides_[1].groups.size(); ++source) {
      if (first_ && std::pair(source, destination) >= *first_) break;
      spend(1);
      if (try_combination(0, sides_[0].rows[subject][sides_[1].groups[source].peer]) != kSame)
        look_at(source, destination);
    }
}

/// Whether these groups have the packet that is wanted.
void Trials::look_at(std::uint32_t source, std::uint32_t destination) {
  const Group &from = sides_[1].groups[source], &to = sides_[0].groups[destination];
  if (!differs(from, to)) return;
  differs_ = true;
  spend(ports_.class_count());
  const End egress = end(1, from.subject, to.peer), ingress = end(0, to.subject, from.peer);
  const auto sends = decisions(1, from.subject, to.peer), receives = decisions(0, to.subject, from.peer);
  Trial trial;
  for (std::uint32_t each = 0; each < ports_.class_count(); ++each) {
    const std::size_t word = each / 64;
    const std::uint64_t opened =
        egress.after[word] & ingress.after[word] & ~(egress.before[word] & ingress.before[word]);
    if ((opened >> each % 64 & 1) == 0) continue;
    std::uint32_t rule = receives.empty() ? 0 : receives[each] & ~image::kAllowBit;
    if (rule == 0 && !sends.empty()) rule = sends[each] & ~image::kAllowBit;
    if (rule == 0 || rules_.rules[rule - 1].tier != tier_) continue;
    trial.port_classes.push_back(each);
    trial.allowed_by.push_back(rule);
  }
  if (trial.port_classes.empty()) return;
  std::tie(trial.source, trial.destination) = *apart(from, to);
  first_ = {source, destination};
  found_ = std::move(trial);
}

std::span<const image::Decision> Trials::decisions(std::uint32_t direction, std::uint32_t subject,
                                                   std::uint32_t peer) {
  if (subject == kNone) return {};
  const Side& side = sides_[direction];
  const std::uint32_t combination = side.rows[subject][peer];
  const std::uint32_t now = try_combination(direction, combination);
  if (now != kSame) return side.without[now].decisions;
  return answers_.decisions[side.builder->rule_set(combination)].first(ports_.class_count());
}

void Trials::spend(std::uint64_t steps) {
  if (steps_ < steps) throw Exhausted{};
  steps_ -= steps;
}

}  // namespace bulkhead::compile
