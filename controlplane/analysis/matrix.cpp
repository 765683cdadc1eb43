#include "controlplane/analysis/matrix.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace bulkhead::analysis {
namespace {

/// Everything that policy reads of an address class.
using Reading = std::tuple<bool, std::array<std::uint32_t, 4>>;

Reading reading_of(const Space& space, const AddressClass& each) {
  const image::Record record = space.view(kAfter).record(each.record[kAfter]);
  return {each.v4, {record.subject[0], record.subject[1], record.peer[0], record.peer[1]}};
}

/// Sets of port classes: what passes between every two addresses, and between at least two.
struct Sets {
  std::uint32_t all, some;
  bool real;  // a packet goes there at all
  bool operator==(const Sets& other) const { return all == other.all && some == other.some; }
};

class Drawing {
 public:
  explicit Drawing(const Space& space) : space_(space), verdicts_(space) {
    // ICMP of the other family is no message that anybody waits for.
    for (const bool v4 : {false, true}) {
      std::vector<std::uint64_t> words(verdicts_.sets().words());
      for (std::size_t i = 0; i < space.ports().size(); ++i) {
        const auto& ranges = space.ports()[i].ranges;
        const bool foreign = std::all_of(ranges.begin(), ranges.end(), [v4](const PortRange& range) {
          return range.slot == (v4 ? image::kIcmpV6 : image::kIcmp);
        });
        if (!foreign) words[i / 64] |= std::uint64_t{1} << i % 64;
      }
      own_[v4] = verdicts_.sets().intern(words);
    }
  }

  Matrix run(const std::function<bool(std::uint32_t)>& chosen) {
    gather(chosen);
    if (actors_.size() > kActorsMax) return {std::move(actors_), {}};
    fill();
    merge();
    Matrix result;
    result.actors = actors_;
    for (std::size_t from = 0; from < actors_.size(); ++from)
      for (std::size_t to = 0; to < actors_.size(); ++to) result.cells.push_back(cell(from, to));
    return result;
  }

 private:
  /// Actors whose addresses read alike from the start are one: most label sets of one policy.
  void gather(const std::function<bool(std::uint32_t)>& chosen) {
    std::map<std::tuple<std::uint32_t, std::uint32_t, std::uint32_t>, std::vector<std::uint32_t>> known;
    for (std::uint32_t number = 0; number < space_.addresses().size(); ++number) {
      if (!chosen(number)) continue;
      const AddressClass& each = space_.addresses()[number];
      const image::Record record = space_.view(kAfter).record(each.record[kAfter]);
      const bool node = (record.flags & image::kRecordNode) != 0;
      const bool world = record.identity == 0 && !node;
      known[{record.identity, node, world ? each.record[kAfter] : 0}].push_back(number);
    }
    std::map<std::vector<Reading>, std::vector<std::uint32_t>> alike;
    for (const auto& [key, classes] : known) {
      std::vector<Reading> readings;
      for (const std::uint32_t number : classes)
        readings.push_back(reading_of(space_, space_.addresses()[number]));
      std::sort(readings.begin(), readings.end());
      readings.erase(std::unique(readings.begin(), readings.end()), readings.end());
      auto& actor = alike[readings];
      actor.insert(actor.end(), classes.begin(), classes.end());
    }
    for (auto& [readings, classes] : alike) actors_.push_back(std::move(classes));
    std::sort(actors_.begin(), actors_.end());
  }

  void fill() {
    cells_.reserve(actors_.size() * actors_.size());
    for (const auto& from : actors_)
      for (const auto& to : actors_) cells_.push_back(sets(from, to));
  }

  /// Pairs of classes without packets between them count only where there are no others: an endpoint alone with itself
  /// then reads as its likes do, and may become one with them.
  Sets sets(const std::vector<std::uint32_t>& from, const std::vector<std::uint32_t>& to) {
    Sets real{PortSets::kAll, PortSets::kNone, false}, empty = real;
    bool any = false;
    for (const std::uint32_t source : from)
      for (const std::uint32_t destination : to) {
        const AddressClass &a = space_.addresses()[source], &b = space_.addresses()[destination];
        if (a.v4 != b.v4) continue;
        const bool packets = apart(a, b).has_value();
        add(verdicts_.allowed(kAfter, a, b), a.v4, packets ? real : empty);
        real.real |= packets;
        any = true;
      }
    if (!any) return {PortSets::kNone, PortSets::kNone, false};
    Sets result = real.real ? real : empty;
    result.all = verdicts_.sets().both(result.all, result.some);
    return result;
  }

  /// A port of the other family's ICMP neither adds nor takes away, unless all others pass.
  void add(std::uint32_t allowed, bool v4, Sets& sets) {
    const std::uint32_t missing = verdicts_.sets().without(own_[v4], allowed);
    const std::uint32_t counted =
        missing == PortSets::kNone ? PortSets::kAll : verdicts_.sets().both(allowed, own_[v4]);
    sets.all = verdicts_.sets().without(sets.all, missing);
    sets.some = either(sets.some, counted);
  }

  std::uint32_t either(std::uint32_t a, std::uint32_t b) {
    PortSets& sets = verdicts_.sets();
    return sets.without(PortSets::kAll,
                        sets.both(sets.without(PortSets::kAll, a), sets.without(PortSets::kAll, b)));
  }

  /// Actors with equal rows and equal columns become one, until none are left.
  void merge() {
    const std::size_t count = actors_.size();
    std::map<std::vector<std::uint32_t>, std::size_t> known;
    std::vector<std::size_t> kept;
    std::vector<std::vector<std::uint32_t>> merged;
    for (std::size_t i = 0; i < count; ++i) {
      std::vector<std::uint32_t> key;
      for (std::size_t k = 0; k < count; ++k)
        for (const Sets& sets : {cells_[i * count + k], cells_[k * count + i]})
          key.insert(key.end(), {sets.all, sets.some});
      const auto [place, is_new] = known.try_emplace(std::move(key), merged.size());
      if (is_new) {
        merged.push_back(actors_[i]);
        kept.push_back(i);
      } else {
        auto& actor = merged[place->second];
        actor.insert(actor.end(), actors_[i].begin(), actors_[i].end());
      }
    }
    std::vector<Sets> cells;
    for (std::size_t i = 0; i < kept.size(); ++i)
      for (std::size_t k = 0; k < kept.size(); ++k) {
        Sets sets = cells_[kept[i] * count + kept[k]];
        // Several that are one now have packets between them.
        sets.real |= merged[i].size() > actors_[kept[i]].size() || merged[k].size() > actors_[kept[k]].size();
        cells.push_back(sets);
      }
    actors_ = std::move(merged);
    cells_ = std::move(cells);
    for (auto& actor : actors_) std::sort(actor.begin(), actor.end());
  }

  Cell cell(std::size_t from, std::size_t to) {
    const Sets& sets = cells_[from * actors_.size() + to];
    if (!sets.real) return {{}, {}, from == to};
    PortSets& port_sets = verdicts_.sets();
    return {space_.ranges(port_sets.classes(sets.all)),
            space_.ranges(port_sets.classes(port_sets.without(sets.some, sets.all))), false};
  }

  const Space& space_;
  Verdicts verdicts_;
  std::uint32_t own_[2];
  std::vector<std::vector<std::uint32_t>> actors_;
  std::vector<Sets> cells_;
};

}  // namespace

Matrix matrix(const Space& space, const std::function<bool(std::uint32_t)>& chosen) {
  return Drawing(space).run(chosen);
}

}  // namespace bulkhead::analysis
