#include "policies/import/calico.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <tuple>

#include "policies/import/cilium.h"
#include "policies/load/fields.h"

namespace bulkhead::policies::imports {
namespace {

constexpr std::string_view kDefaultTier = "default";
constexpr double kDefaultTierOrder = 1'000'000;  // the API document of Tier

Labels labels_of(const Item& metadata) {
  Labels labels;
  for (const auto& [key, value] : metadata["labels"].members()) labels[key] = value.text();
  return labels;
}

/// The deny edges or, with `isolate`, what isolates: of all that a policy selects.
void add_end(const CalicoPolicy& policy, bool isolate, std::vector<Edge>& edges) {
  for (const auto direction : {Direction::kIngress, Direction::kEgress}) {
    if (!(direction == Direction::kIngress ? policy.ingress : policy.egress)) continue;
    Edge edge;
    edge.name = direction == Direction::kIngress ? "ingress-end" : "egress-end";
    if (!isolate) edge.name += "-" + std::to_string(edges.size());
    edge.direction = direction;
    edge.subjects = policy.subjects;
    edge.action = isolate ? Action::kAllow : Action::kDeny;
    if (!isolate) edge.peers = {Everyone{}};
    edge.line = policy.source.spec.line();
    edges.push_back(edge);
    if (!isolate || direction == Direction::kIngress) continue;
    // Isolation lets a Kubernetes endpoint talk to its own node; Calico does not, outward.
    edge.name = "own-node";
    edge.peers = {LocalNode{}};
    edge.action = Action::kDeny;
    edges.push_back(std::move(edge));
  }
}

}  // namespace

void CalicoImport::add_namespace(const Original& source) {
  world_.namespaces[source.name] = labels_of(source.root["metadata"]);
}

void CalicoImport::add_set(const Original& source) {
  NetworkSet set{source.namespace_name, labels_of(source.root["metadata"]), {}};
  if (!set.namespace_name.empty()) set.labels["projectcalico.org/namespace"] = set.namespace_name;
  for (const auto& other : source.spec.besides({"nets"}))
    throw Refused{other, "found a field that is not known here"};
  for (const auto& item : source.spec["nets"].items()) {
    const auto block = block_of_text(item.text());
    if (!block)
      throw Refused{item, "found " + quoted(item.text()) + ", expected an address block or an address"};
    set.nets.push_back(*block);
  }
  world_.sets.push_back(std::move(set));
}

void CalicoImport::add_tier(const Original& source) {
  if (wrong_dns_subdomain(source.name) || source.name.size() > 220)
    throw Refused{source.root["metadata"], "found no name of a tier"};
  source.spec.refuse_besides({"order", "defaultAction"});
  Tier tier{std::numeric_limits<double>::infinity(), true};
  if (const std::string text = source.spec["order"].text(); !text.empty()) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), tier.order);
    if (error != std::errc{} || end != text.data() + text.size())
      throw Refused{source.spec["order"], "found " + quoted(text) + ", expected a number"};
  }
  const Item action = source.spec["defaultAction"];
  if (const std::string word = action.text(); !word.empty() && word != "Deny" && word != "Pass")
    throw Refused{action, "found " + quoted(word) + ", expected Deny or Pass"};
  tier.denies = action.text() != "Pass";
  tiers_[source.name] = tier;
}

void CalicoImport::read_all(std::vector<Loss>& losses) {
  tiers_.try_emplace(std::string(kDefaultTier), Tier{kDefaultTierOrder, true});
  for (const auto& source : sources_) {
    try {
      policies_.push_back(read_calico_policy(source, world_));
    } catch (const Refused& refused) {
      Ledger(source.file, source.words(), losses).add(refused.at, Effect::kRefused, refused.message);
    }
  }
  std::erase_if(policies_, [&](const CalicoPolicy& policy) {
    if (tiers_.contains(policy.tier)) return false;
    Ledger(policy.source.file, policy.source.words(), losses)
        .add(policy.source.spec["tier"], Effect::kRefused,
             "found the tier " + quoted(policy.tier) +
                 ", which is in none of the files: its order is not known");
    return true;
  });
  std::stable_sort(policies_.begin(), policies_.end(), [&](const CalicoPolicy& a, const CalicoPolicy& b) {
    const auto key = [&](const CalicoPolicy& policy) {
      return std::tuple(tiers_.at(policy.tier).order, std::string_view(policy.tier), policy.order,
                        std::string_view(policy.source.name), std::string_view(policy.source.namespace_name));
    };
    return key(a) < key(b);
  });
}

/// Without a policy of a later tier, its place is the last.
void CalicoImport::refuse_early_passes(std::vector<Loss>& losses) {
  const std::string last = policies_.empty() ? "" : policies_.back().tier;
  std::erase_if(policies_, [&](const CalicoPolicy& policy) {
    if (policy.passes.empty() || policy.tier == last) return false;
    Ledger(policy.source.file, policy.source.words(), losses)
        .add(policy.passes[0], Effect::kRefused,
             "found Pass in the tier " + quoted(policy.tier) +
                 ", after which others have policies: a pass leaves all of the platform tier here");
    return true;
  });
}

Segmentation CalicoImport::policy_of(const CalicoPolicy& policy, std::string name) const {
  Segmentation made;
  made.namespace_name = policy.source.namespace_name.empty() ? home_ : policy.source.namespace_name;
  made.name = std::move(name);
  made.source = policy.source.words();
  made.origin = policy.source.origin();
  return made;
}

std::vector<Segmentation> CalicoImport::finish(std::vector<Loss>& losses) {
  read_all(losses);
  refuse_early_passes(losses);
  std::vector<Segmentation> made;
  std::uint32_t priority = priority_;
  for (std::size_t i = 0; i < policies_.size(); ++i) {
    CalicoPolicy& policy = policies_[i];
    losses.insert(losses.end(), policy.losses.begin(), policy.losses.end());
    Ledger ledger(policy.source.file, policy.source.words(), losses);
    const bool by_default = policy.tier == kDefaultTier;
    const bool ends_tier = !by_default && (i + 1 == policies_.size() || policies_[i + 1].tier != policy.tier);
    if (priority + (ends_tier ? 1 : 0) > kPriorityMax) {
      ledger.add(policy.source.root, Effect::kRefused,
                 "found no priority left for it below " + std::to_string(kPriorityMax) + ": begin lower");
      continue;
    }
    if (by_default)
      for (const auto& pass : policy.passes)
        ledger.add(pass, Effect::kStricter,
                   "found Pass in the tier default: Calico lets the profile decide then, which allows; here "
                   "only what "
                   "another policy allows passes");
    if (!policy.edges.empty() && !policy.subjects.empty()) {
      Segmentation rules = policy_of(policy, policy.source.name);
      rules.tier = policies::Tier::kPlatform;
      rules.priority = priority++;
      rules.edges = policy.edges;
      made.push_back(std::move(rules));
    }
    if (by_default && !policy.subjects.empty()) {
      Segmentation end = policy_of(policy, policy.source.name + "-isolates");
      add_end(policy, true, end.edges);
      made.push_back(std::move(end));
    }
    if (!ends_tier || !tiers_.at(policy.tier).denies) continue;
    Segmentation end = policy_of(policy, "tier-" + policy.tier + "-end");
    end.namespace_name = home_;
    end.source = "the end of the tier " + policy.tier;
    end.tier = policies::Tier::kPlatform;
    end.priority = priority++;
    for (const auto& other : policies_)
      if (other.tier == policy.tier && !other.subjects.empty()) add_end(other, false, end.edges);
    if (!end.edges.empty()) made.push_back(std::move(end));
  }
  return made;
}

}  // namespace bulkhead::policies::imports
