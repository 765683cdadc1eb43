// `policy diff`: every packet that two sets of policies judge differently.
#include "controlplane/analysis/compare.h"
#include "dataplane/image/validate.h"
#include "tools/ctl/candidate.h"
#include "tools/ctl/invariants.h"
#include "tools/ctl/parties.h"

namespace bulkhead::ctl {
namespace {

const char* between_text(analysis::Between between) {
  switch (between) {
    case analysis::Between::kApart:
      return "apart";
    case analysis::Between::kOneBefore:
      return "one_endpoint_before";
    case analysis::Between::kOneAfter:
      return "one_endpoint_after";
  }
  return "";
}

Value change_value(const analysis::Space& space, const analysis::Change& change) {
  const auto from = analysis::parties(space, change.from), to = analysis::parties(space, change.to);
  const image::View &before = space.view(analysis::kBefore), &after = space.view(analysis::kAfter);
  Value witness = packet_value(after, change.witness);
  witness["old"] = judgement_value(before, change.answer[analysis::kBefore]);
  witness["new"] = judgement_value(after, change.answer[analysis::kAfter]);
  return {{"change", change.opens ? "opens" : "closes"},
          {"between", between_text(change.between)},
          {"from_text", analysis::summary(space, from)},
          {"to_text", analysis::summary(space, to)},
          {"ports_text", analysis::ports_text(change.ports)},
          {"from", parties_value(space, from)},
          {"to", parties_value(space, to)},
          {"ports", ports_value(change.ports)},
          {"witness", std::move(witness)}};
}

constexpr std::size_t kPartiesShown = 6;

std::string parties_line(const Value& words) {
  std::vector<std::string> escaped;
  for (const Value& word : words) escaped.push_back(escape(word.get<std::string>()));
  return analysis::line(escaped, kPartiesShown);
}

void say(const Value& value, Terminal& terminal) {
  std::ostream& out = terminal.out();
  say_broken(value["invariants"], terminal);
  if (value["equal"] == true) {
    out << "no packet tells them apart\n";
    return;
  }
  for (const Value& change : value["changes"]) {
    const bool opens = change["change"] == "opens";
    out << terminal.paint(opens ? Colour::kGood : Colour::kBad, opens ? "opens  " : "closes ")
        << parties_line(change["from_text"]) << '\n'
        << "    -> " << parties_line(change["to_text"]) << '\n'
        << "       " << plain(change["ports_text"]) << '\n';
    if (change["between"] != "apart")
      out << "       between addresses that are one endpoint's in the "
          << (change["between"] == "one_endpoint_before" ? "old" : "new") << " image only\n";
    const Value& witness = change["witness"];
    out << terminal.paint(Colour::kDim, "       witness ") << packet_text(witness) << '\n'
        << "         old: " << judgement_text(witness["old"]) << '\n'
        << "         new: " << judgement_text(witness["new"]) << '\n';
  }
  out << value["changes"].size() << (value["changes"].size() == 1 ? " change" : " changes") << '\n';
}

Answer diff(const Invocation& invocation) {
  const auto operands = invocation.texts("file");
  const bool enforced = invocation.has("enforced");
  if (operands.size() != (enforced ? 1u : 2u))
    throw Failure(kExitUsage, std::string("policy diff: expected ") +
                                  (enforced ? "NEW beside --enforced" : "OLD and NEW") + ", found " +
                                  std::to_string(operands.size()) +
                                  " operands; bulkheadctl policy diff --help explains");
  std::optional<source::Manifests> cluster;
  const Candidate before = enforced ? enforced_candidate(invocation)
                                    : candidate_of_operand(invocation, operands[0], "policy diff", cluster);
  const Candidate after = candidate_of_operand(invocation, operands.back(), "policy diff", cluster);
  const analysis::Space space(before.view, after.view);
  Value changes = Value::array();
  for (const analysis::Change& change : analysis::compare(space))
    changes.push_back(change_value(space, change));
  const bool equal = changes.empty();
  return {{{"old", before.from},
           {"new", after.from},
           {"old_digest", image::hex(image::image_digest(before.view))},
           {"new_digest", image::hex(image::image_digest(after.view))},
           {"equal", equal},
           {"changes", std::move(changes)},
           {"invariants", invariants_value(after.proof)}},
          say,
          equal && after.proof.holds() ? kExitGood : kExitRefused};
}

}  // namespace

Command policy_diff_command() {
  std::vector<Option> options = {
      {"file", "FILE|DIR", "policy files, or an image file", true, Completes::kFiles},
      {"enforced", nullptr, "OLD is the enforced image; only NEW is given", false, Completes::kNothing}};
  options.insert(options.end(), compile_options().begin(), compile_options().end());
  return {
      "policy diff",
      "OLD NEW | --enforced NEW",
      "every packet that two sets of policies judge differently",
      "Compares images, not texts. OLD and NEW are each an image file or a policy file or directory, which\n"
      "is compiled in the cluster of --cluster (Kubernetes manifests). The answer is complete and exact:\n"
      "all packets between the parties of a change, on its ports, change their verdict, and no others do.\n"
      "A change of the rule that decides, with the same verdict, is none. Each change comes with a packet\n"
      "that both images were asked. Traffic of an endpoint with itself always passes and is not shown.\n\n"
      "The invariants of NEW are proven, where it is compiled: one that is broken is said first.\n"
      "An enforced image judges the endpoints of its node only: give --node NAME to compare it with files.\n"
      "Exit code, as of diff(1), 0: no packet tells them apart; 1: changes, a broken invariant, or "
      "something\n"
      "could not be read.",
      "  kubectl get ns,nodes,pods -A -o yaml > cluster.yaml\n"
      "  bulkheadctl policy diff policies.old/ policies/ --cluster cluster.yaml\n"
      "  bulkheadctl policy diff --enforced policies/ --cluster cluster.yaml --node worker-3\n"
      "  bulkheadctl policy diff monday.image friday.image -o json | jq '.changes[].witness'",
      options,
      "file",
      diff};
}

}  // namespace bulkhead::ctl
