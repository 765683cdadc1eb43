#include "dataplane/swap/enforced.h"

#include <rte_malloc.h>
#include <rte_rcu_qsbr.h>

#include <cassert>
#include <chrono>

namespace bulkhead::swap {

Enforced::Enforced(Section policy_section, Section binding_section, const image::View& validated,
                   std::uint64_t number)
    : policy(std::move(policy_section)),
      binding(std::move(binding_section)),
      view(validated),
      generation(number),
      digest(image::image_digest(validated)) {}

std::variant<std::unique_ptr<Enforced>, std::string> load(Section policy, Section binding,
                                                          std::uint64_t generation) {
  assert(generation != 0);
  // Flows remember the low half, where 0 is no image's.
  if (static_cast<std::uint32_t>(generation) == 0)
    return "image refused: generation " + std::to_string(generation) + " looks like none to the flow table";
  auto checked = image::validate(policy.bytes(), binding.bytes());
  if (const auto* refusal = std::get_if<image::Refusal>(&checked)) return "image refused: " + refusal->reason;
  return std::make_unique<Enforced>(std::move(policy), std::move(binding), std::get<image::View>(checked),
                                    generation);
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
  const auto end = std::chrono::steady_clock::now();
  return static_cast<std::uint64_t>(std::chrono::nanoseconds(end - start).count());
}

void Publisher::synchronize() {
  rte_rcu_qsbr_synchronize(qsbr_, RTE_QSBR_THRID_INVALID);
}

}  // namespace bulkhead::swap
