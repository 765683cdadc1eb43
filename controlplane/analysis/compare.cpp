#include "controlplane/analysis/compare.h"

#include <algorithm>
#include <cassert>
#include <map>
#include <tuple>

namespace bulkhead::analysis {
namespace {

/// What an image reads of an address class in one place of a packet: for a source its subject class of egress and
/// its peer class of ingress, for a destination the other two. Classes that share it are judged alike there.
struct Reading {
  std::uint32_t subject[kSides], peer[kSides];
  auto operator<=>(const Reading&) const = default;
};

struct Group {
  Reading reading;
  std::vector<std::uint32_t> classes;
};

std::vector<Group> group(const Space& space, std::uint32_t subject_direction) {
  std::map<Reading, std::vector<std::uint32_t>> groups;
  for (std::uint32_t number = 0; number < space.addresses().size(); ++number) {
    Reading reading;
    for (std::uint32_t side = 0; side < kSides; ++side) {
      const image::Record record = space.view(side).record(space.addresses()[number].record[side]);
      reading.subject[side] = record.subject[subject_direction];
      reading.peer[side] = record.peer[1 - subject_direction];
    }
    groups[reading].push_back(number);
  }
  std::vector<Group> result;
  for (auto& [reading, classes] : groups) result.push_back({reading, std::move(classes)});
  return result;
}

/// A bit for each pair of a source and a destination group.
class Differing {
 public:
  Differing(std::size_t rows, std::size_t columns) : words_((columns + 63) / 64), bits_(rows * words_) {}
  void set(std::size_t row, std::size_t column) {
    bits_[row * words_ + column / 64] |= std::uint64_t{1} << column % 64;
  }
  template <typename Visit>
  void each(std::size_t row, Visit visit) const {
    for (std::size_t word = 0; word < words_; ++word)
      for (std::uint64_t rest = bits_[row * words_ + word]; rest != 0; rest &= rest - 1)
        visit(word * 64 + static_cast<std::size_t>(__builtin_ctzll(rest)));
  }

 private:
  std::size_t words_;
  std::vector<std::uint64_t> bits_;
};

/// Numbers of groups by one half of their reading: a row of the matrix is looked through once for all that share it.
struct Half {
  std::array<std::uint32_t, kSides> reading;
  std::vector<std::uint32_t> groups;
};

std::vector<Half> halves(const std::vector<Group>& groups, const std::uint32_t (Reading::*half)[kSides]) {
  std::map<std::array<std::uint32_t, kSides>, std::vector<std::uint32_t>> by_reading;
  for (std::uint32_t i = 0; i < groups.size(); ++i)
    by_reading[{(groups[i].reading.*half)[kBefore], (groups[i].reading.*half)[kAfter]}].push_back(i);
  std::vector<Half> result;
  for (auto& [reading, numbers] : by_reading) result.push_back({reading, std::move(numbers)});
  return result;
}

struct Cell {
  std::uint32_t column, opened, closed;
  bool operator==(const Cell&) const = default;
};
using Rows = std::map<std::uint32_t, std::vector<Cell>>;

/// A change before it is words: groups of sources and destinations, one set of ports.
struct Rectangle {
  bool opens;
  Between between;
  std::uint32_t ports;
  std::vector<std::uint32_t> rows, columns;
};

/// Rows with equal cells first, then in each of those the columns with equal ports, then rows again where columns
/// and ports came out equal.
void cover(const Rows& rows, Between between, std::vector<Rectangle>& out) {
  std::map<std::vector<std::array<std::uint32_t, 3>>, std::vector<std::uint32_t>> alike;
  for (const auto& [row, cells] : rows) {
    std::vector<std::array<std::uint32_t, 3>> key;
    key.reserve(cells.size());
    for (const Cell& cell : cells) key.push_back({cell.column, cell.opened, cell.closed});
    alike[std::move(key)].push_back(row);
  }
  using Key = std::tuple<bool, std::uint32_t, std::vector<std::uint32_t>>;
  std::map<Key, std::vector<std::uint32_t>> rectangles;
  for (const auto& [cells, members] : alike) {
    std::map<std::pair<bool, std::uint32_t>, std::vector<std::uint32_t>> columns;
    for (const auto& [column, opened, closed] : cells) {
      if (opened != PortSets::kNone) columns[{true, opened}].push_back(column);
      if (closed != PortSets::kNone) columns[{false, closed}].push_back(column);
    }
    for (auto& [key, list] : columns) {
      auto& target = rectangles[{key.first, key.second, std::move(list)}];
      target.insert(target.end(), members.begin(), members.end());
    }
  }
  for (auto& [key, members] : rectangles) {
    std::sort(members.begin(), members.end());
    out.push_back({std::get<0>(key), between, std::get<1>(key), std::move(members), std::get<2>(key)});
  }
}

/// By source and destination class.
using OnePairs = std::map<std::pair<std::uint32_t, std::uint32_t>, Pair>;

class Comparison {
 public:
  explicit Comparison(const Space& space)
      : space_(space),
        verdicts_(space),
        sources_(group(space, image::kEgress)),
        destinations_(group(space, image::kIngress)),
        source_of_(space.addresses().size()),
        destination_of_(space.addresses().size()) {
    for (std::uint32_t i = 0; i < sources_.size(); ++i)
      for (const std::uint32_t number : sources_[i].classes) source_of_[number] = i;
    for (std::uint32_t i = 0; i < destinations_.size(); ++i)
      for (const std::uint32_t number : destinations_[i].classes) destination_of_[number] = i;
  }

  std::vector<Change> run() {
    std::vector<Rectangle> rectangles;
    cover(rows_apart(), Between::kApart, rectangles);
    for (const Between between : {Between::kOneBefore, Between::kOneAfter}) {
      find_one(between);
      cover(rows_one(between), between, rectangles);
    }
    std::vector<Change> changes;
    for (const Rectangle& rectangle : rectangles) add_change(rectangle, changes);
    while (join(changes, &Change::from, &Change::to) || join(changes, &Change::to, &Change::from)) {
    }
    for (Change& change : changes) find_witness(change);
    std::sort(changes.begin(), changes.end(), [](const Change& a, const Change& b) {
      return std::tie(a.between, a.opens, a.from, a.to) < std::tie(b.between, b.opens, b.from, b.to);
    });
    return changes;
  }

 private:
  std::uint32_t egress(std::uint32_t side, const Reading& from, const Reading& to) const {
    return verdicts_.end(side, image::kEgress, from.subject[side], to.peer[side]);
  }
  std::uint32_t ingress(std::uint32_t side, const Reading& from, const Reading& to) const {
    return verdicts_.end(side, image::kIngress, to.subject[side], from.peer[side]);
  }
  std::uint32_t allowed(std::uint32_t side, const Reading& from, const Reading& to) {
    return verdicts_.sets().both(egress(side, from, to), ingress(side, from, to));
  }

  /// Marks the pairs of which one end or the other says something else than before.
  Differing find_differing() const {
    Differing differing(sources_.size(), destinations_.size());
    const std::vector<Half> targets = halves(destinations_, &Reading::peer);
    for (const auto& [subject, rows] : halves(sources_, &Reading::subject))
      for (const auto& [peer, columns] : targets) {
        if (verdicts_.end(kBefore, image::kEgress, subject[kBefore], peer[kBefore]) ==
            verdicts_.end(kAfter, image::kEgress, subject[kAfter], peer[kAfter]))
          continue;
        for (const std::uint32_t row : rows)
          for (const std::uint32_t column : columns) differing.set(row, column);
      }
    const std::vector<Half> senders = halves(sources_, &Reading::peer);
    for (const auto& [subject, columns] : halves(destinations_, &Reading::subject))
      for (const auto& [peer, rows] : senders) {
        if (verdicts_.end(kBefore, image::kIngress, subject[kBefore], peer[kBefore]) ==
            verdicts_.end(kAfter, image::kIngress, subject[kAfter], peer[kAfter]))
          continue;
        for (const std::uint32_t row : rows)
          for (const std::uint32_t column : columns) differing.set(row, column);
      }
    return differing;
  }

  void add_cell(std::uint32_t row, std::uint32_t column, std::uint32_t before, std::uint32_t after,
                Rows& rows) {
    if (before == after) return;
    rows[row].push_back(
        {column, verdicts_.sets().without(after, before), verdicts_.sets().without(before, after)});
  }

  Rows rows_apart() {
    const Differing differing = find_differing();
    Rows rows;
    for (std::uint32_t row = 0; row < sources_.size(); ++row)
      differing.each(row, [&](std::size_t column) {
        const Reading &from = sources_[row].reading, &to = destinations_[column].reading;
        add_cell(row, static_cast<std::uint32_t>(column), allowed(kBefore, from, to),
                 allowed(kAfter, from, to), rows);
      });
    return rows;
  }

  /// Pairs of addresses that are one endpoint's in one image and not in the other: few, found from the addresses.
  void find_one(Between between) {
    const std::uint32_t one = between == Between::kOneBefore ? kBefore : kAfter, other = 1 - one;
    struct Owned {
      std::uint32_t endpoint;
      std::uint32_t number;
      const Member* member;
    };
    std::vector<Owned> owned;
    for (std::uint32_t number = 0; number < space_.addresses().size(); ++number)
      for (const Member& member : space_.addresses()[number].members)
        if (member.endpoint[one] != 0) owned.push_back({member.endpoint[one], number, &member});
    std::stable_sort(owned.begin(), owned.end(),
                     [](const Owned& a, const Owned& b) { return a.endpoint < b.endpoint; });
    OnePairs& pairs = one_[one];
    for (auto first = owned.begin(); first != owned.end();) {
      const auto last = std::find_if(first, owned.end(),
                                     [&](const Owned& each) { return each.endpoint != first->endpoint; });
      for (auto source = first; source != last; ++source)
        for (auto destination = first; destination != last; ++destination) {
          const std::uint32_t theirs = source->member->endpoint[other];
          const bool same = theirs != 0 && theirs == destination->member->endpoint[other];
          if (!same && source->member->address.is_v4() == destination->member->address.is_v4())
            pairs.try_emplace({source->number, destination->number},
                              Pair{source->member->address, destination->member->address});
        }
      first = last;
    }
  }

  Rows rows_one(Between between) {
    std::map<std::pair<std::uint32_t, std::uint32_t>, bool> seen;
    Rows rows;
    for (const auto& [classes, pair] : one_[between == Between::kOneBefore ? kBefore : kAfter]) {
      const std::uint32_t row = source_of_[classes.first], column = destination_of_[classes.second];
      if (!seen.try_emplace({row, column}, true).second) continue;
      const Reading &from = sources_[row].reading, &to = destinations_[column].reading;
      if (between == Between::kOneBefore)
        add_cell(row, column, PortSets::kAll, allowed(kAfter, from, to), rows);
      else
        add_cell(row, column, allowed(kBefore, from, to), PortSets::kAll, rows);
    }
    for (auto& [row, cells] : rows)
      std::sort(cells.begin(), cells.end(), [](const Cell& a, const Cell& b) { return a.column < b.column; });
    return rows;
  }

  std::optional<Pair> pair_of(Between between, std::uint32_t from, std::uint32_t to) const {
    if (between == Between::kApart) return apart(space_.addresses()[from], space_.addresses()[to]);
    const OnePairs& pairs = one_[between == Between::kOneBefore ? kBefore : kAfter];
    const auto found = pairs.find({from, to});
    return found == pairs.end() ? std::nullopt : std::optional(found->second);
  }

  /// Classes of one side that have a packet to or from the other; the others change nothing.
  template <typename Exists>
  static std::vector<std::uint32_t> with_packets(const std::vector<std::uint32_t>& mine,
                                                 const std::vector<std::uint32_t>& theirs, Exists exists) {
    std::vector<std::uint32_t> kept;
    for (const std::uint32_t each : mine)
      if (std::any_of(theirs.begin(), theirs.end(), [&](std::uint32_t other) { return exists(each, other); }))
        kept.push_back(each);
    return kept;
  }

  void add_change(const Rectangle& rectangle, std::vector<Change>& changes) {
    std::vector<std::uint32_t> from, to;
    for (const std::uint32_t row : rectangle.rows)
      from.insert(from.end(), sources_[row].classes.begin(), sources_[row].classes.end());
    for (const std::uint32_t column : rectangle.columns)
      to.insert(to.end(), destinations_[column].classes.begin(), destinations_[column].classes.end());
    const auto exists = [&](std::uint32_t source, std::uint32_t destination) {
      return pair_of(rectangle.between, source, destination).has_value();
    };
    Change change;
    change.opens = rectangle.opens;
    change.between = rectangle.between;
    change.from = with_packets(from, to, exists);
    change.to = with_packets(to, change.from,
                             [&](std::uint32_t mine, std::uint32_t theirs) { return exists(theirs, mine); });
    if (change.from.empty()) return;
    std::sort(change.from.begin(), change.from.end());
    std::sort(change.to.begin(), change.to.end());
    change.ports = space_.ranges(verdicts_.sets().classes(rectangle.ports));
    changes.push_back(std::move(change));
  }

  /// Writes changes of one kind that agree in all but one part as one. What pairs of classes without packets kept
  /// apart comes together here.
  static bool join(std::vector<Change>& changes, std::vector<std::uint32_t> Change::*same,
                   std::vector<std::uint32_t> Change::*joined_part) {
    const auto key = [&](const Change& change) {
      std::vector<std::uint32_t> ports;
      for (const PortRange& range : change.ports)
        ports.insert(ports.end(), {range.slot, range.first, range.last});
      return std::tuple(change.between, change.opens, std::move(ports), change.*same);
    };
    std::map<decltype(key(changes[0])), std::size_t> known;
    std::vector<Change> kept;
    for (Change& change : changes) {
      const auto [place, is_new] = known.try_emplace(key(change), kept.size());
      if (is_new) {
        kept.push_back(std::move(change));
        continue;
      }
      std::vector<std::uint32_t>& part = kept[place->second].*joined_part;
      part.insert(part.end(), (change.*joined_part).begin(), (change.*joined_part).end());
      std::sort(part.begin(), part.end());
    }
    const bool any = kept.size() != changes.size();
    changes = std::move(kept);
    return any;
  }

  /// Asked of both images: what the classes promised, the packet must show.
  void find_witness(Change& change) const {
    for (const std::uint32_t to : change.to) {
      const auto pair = pair_of(change.between, change.from[0], to);
      if (!pair) continue;
      const PortRange port = witness_port(change.ports, pair->source.is_v4());
      change.witness = {pair->source, pair->destination, port.slot, port.first};
      break;
    }
    for (std::uint32_t side = 0; side < kSides; ++side)
      change.answer[side] = judge(space_.view(side), change.witness);
    assert(change.answer[kBefore].allowed() != change.opens &&
           change.answer[kAfter].allowed() == change.opens);
  }

  const Space& space_;
  Verdicts verdicts_;
  std::vector<Group> sources_, destinations_;
  std::vector<std::uint32_t> source_of_, destination_of_;
  OnePairs one_[kSides];  // by the image in which they are one endpoint's
};

}  // namespace

image::Judgement judge(const image::View& view, const Packet& packet) {
  return image::judge(view, image::bind(view, packet.source), image::bind(view, packet.destination),
                      packet.slot, packet.port);
}

PortRange witness_port(const std::vector<PortRange>& ports, bool v4) {
  const auto of_family = std::find_if(ports.begin(), ports.end(), [v4](const PortRange& range) {
    return range.slot != (v4 ? image::kIcmpV6 : image::kIcmp);
  });
  const PortRange range = of_family != ports.end() ? *of_family : ports[0];
  // Port 0 is nobody's: any other number says the same and reads better.
  const auto number = static_cast<std::uint16_t>(range.first == 0 && range.last >= 443 ? 443
                                                 : range.first == 0 && range.last > 0  ? 1
                                                                                       : range.first);
  return {range.slot, number, number};
}

std::vector<Change> compare(const Space& space) {
  return Comparison(space).run();
}

}  // namespace bulkhead::analysis
