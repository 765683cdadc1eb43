#include "dataplane/swap/enforced.h"

#include <rte_malloc.h>
#include <rte_rcu_qsbr.h>

#include <cassert>
#include <chrono>

namespace bulkhead::swap {

std::variant<SharedSection, std::string> check(Section section) {
  const auto bytes = section.bytes();
  if (bytes.size() < sizeof(image::ShardHeader))
    return "image refused: a section of " + std::to_string(bytes.size()) + " bytes";
  const bool is_policy =
      reinterpret_cast<const image::ShardHeader*>(bytes.data())->kind == image::SectionKind::kPolicy;
  const auto keep = [&](auto checked) -> std::variant<SharedSection, std::string> {
    if (const auto* refusal = std::get_if<image::Refusal>(&checked))
      return "image refused: " + refusal->reason;
    return std::make_shared<const Checked>(
        Checked{std::move(section), image::digest_of(bytes), std::move(std::get<0>(checked))});
  };
  return is_policy ? keep(image::validate_policy(bytes)) : keep(image::validate_shard(bytes));
}

Enforced::Enforced(std::vector<SharedSection> all_sections, image::View joined, std::uint64_t number,
                   const image::Digest& of_all)
    : sections(std::move(all_sections)), view(std::move(joined)), generation(number), digest(of_all) {}

namespace {

using Loaded = std::variant<std::unique_ptr<Enforced>, std::string>;

/// Flows remember the low half of a generation, where 0 is no image's.
std::string looks_like_none(std::uint64_t generation) {
  assert(generation != 0);
  if (static_cast<std::uint32_t>(generation) != 0) return {};
  return "image refused: generation " + std::to_string(generation) + " looks like none to the flow table";
}

Loaded finish(std::vector<SharedSection> sections, std::variant<image::View, image::Refusal> joined,
              std::uint64_t generation, image::ImageDigests& digests) {
  if (const auto* refusal = std::get_if<image::Refusal>(&joined)) return "image refused: " + refusal->reason;
  auto& view = std::get<image::View>(joined);
  const image::Digest digest = digests.of(view);
  return std::make_unique<Enforced>(std::move(sections), std::move(view), generation, digest);
}

}  // namespace

Loaded load(std::vector<SharedSection> sections, std::uint64_t generation, image::ImageDigests& digests) {
  if (std::string reason = looks_like_none(generation); !reason.empty()) return reason;
  const image::View* policy = nullptr;
  std::vector<image::Shard> shards;
  shards.reserve(sections.size());
  for (std::size_t i = 0; i < sections.size(); ++i) {
    const auto* view = std::get_if<image::View>(&sections[i]->part);
    if ((view != nullptr) != (i == 0))
      return "image refused: expected a policy section, then shards; number " + std::to_string(i) + " is a " +
             (view != nullptr ? "policy section" : "shard");
    if (view != nullptr)
      policy = view;
    else
      shards.push_back(std::get<image::Shard>(sections[i]->part));
  }
  if (policy == nullptr) return "image refused: it has no section";
  auto joined = image::join(*policy, std::move(shards));
  return finish(std::move(sections), std::move(joined), generation, digests);
}

Loaded amend(const Enforced& before, std::span<const Amendment> amendments, std::uint64_t generation,
             image::ImageDigests& digests) {
  if (std::string reason = looks_like_none(generation); !reason.empty()) return reason;
  std::vector<SharedSection> sections = before.sections;
  const image::View* policy = nullptr;
  std::vector<image::Shard> shards;
  for (const auto& [place, section] : amendments) {
    if (place >= sections.size())
      return "image refused: a section for place " + std::to_string(place) + " of " +
             std::to_string(sections.size());
    const auto* view = std::get_if<image::View>(&section->part);
    const auto* shard = std::get_if<image::Shard>(&section->part);
    if ((place == 0) != (view != nullptr) || (shard != nullptr && shard->number + 1 != place))
      return "image refused: a section that does not belong in place " + std::to_string(place);
    if (view != nullptr) policy = view;
    if (shard != nullptr) shards.push_back(*shard);
    sections[place] = section;
  }
  auto joined = image::amend(before.view, policy, shards);
  return finish(std::move(sections), std::move(joined), generation, digests);
}

Publisher::Publisher(std::uint32_t workers) {
  const std::size_t bytes = rte_rcu_qsbr_get_memsize(workers);
  qsbr_ = static_cast<rte_rcu_qsbr*>(rte_zmalloc("qsbr", bytes, RTE_CACHE_LINE_SIZE));
  assert(qsbr_ != nullptr);
  rte_rcu_qsbr_init(qsbr_, workers);
}

Publisher::~Publisher() {
  delete current_.load();
  rte_free(qsbr_);
}

void Publisher::join(std::uint32_t worker) {
  rte_rcu_qsbr_thread_register(qsbr_, worker);
  rte_rcu_qsbr_thread_online(qsbr_, worker);
}

void Publisher::quiescent(std::uint32_t worker) {
  rte_rcu_qsbr_quiescent(qsbr_, worker);
}
void Publisher::offline(std::uint32_t worker) {
  rte_rcu_qsbr_thread_offline(qsbr_, worker);
}
void Publisher::online(std::uint32_t worker) {
  rte_rcu_qsbr_thread_online(qsbr_, worker);
}

std::uint64_t Publisher::grace_start() {
  return rte_rcu_qsbr_start(qsbr_);
}
bool Publisher::grace_done(std::uint64_t token) {
  return rte_rcu_qsbr_check(qsbr_, token, false) == 1;
}

std::uint64_t Publisher::publish(std::unique_ptr<Enforced> next) {
  const auto start = std::chrono::steady_clock::now();
  std::unique_ptr<Enforced> old(current_.exchange(next.release(), std::memory_order_acq_rel));
  synchronize();
  old_ = std::move(old);
  const auto end = std::chrono::steady_clock::now();
  return static_cast<std::uint64_t>(std::chrono::nanoseconds(end - start).count());
}

void Publisher::synchronize() {
  rte_rcu_qsbr_synchronize(qsbr_, RTE_QSBR_THRID_INVALID);
}

}  // namespace bulkhead::swap
