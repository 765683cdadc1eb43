// `policy prove`: does a claim hold for every packet there is?
#include <algorithm>
#include <filesystem>

#include "dataplane/image/validate.h"
#include "tools/ctl/candidate.h"
#include "tools/ctl/claim.h"
#include "tools/ctl/invariants.h"
#include "tools/ctl/parties.h"

namespace bulkhead::ctl {
namespace {

void say_demand(const Value& demand, Terminal& terminal) {
  const bool yes = demand["answer"] == "yes", no = demand["answer"] == "no";
  terminal.out() << terminal.paint(yes  ? Colour::kGood
                                   : no ? Colour::kBad
                                        : Colour::kWarn,
                                   yes  ? "yes"
                                   : no ? "no "
                                        : "?  ")
                 << "  " << escape(plain(demand["demand"])) << " (" << escape(plain(demand["file"])) << ':'
                 << plain(demand["line"]) << ")\n";
  if (no)
    terminal.out() << terminal.paint(Colour::kDim, "     witness ") << escape(plain(demand["witness"]))
                   << '\n'
                   << "       " << escape(plain(demand["words"])) << '\n';
  else if (!yes)
    terminal.out() << "     undecided: it depends on ends that this image does not judge\n";
  else if (demand["vacuous"] == true)
    terminal.out() << "     no packet is meant: of none, everything is true\n";
}

void say(const Value& value, Terminal& terminal) {
  for (const Value& answer : value["claims"]) {
    const bool proven = answer["proven"].get<bool>();
    terminal.out() << terminal.paint(proven ? Colour::kGood : Colour::kBad, proven ? "yes" : "no ") << "  "
                   << escape(plain(answer["claim"])) << '\n';
    if (proven) {
      if (answer["pairs"] == 0)
        terminal.out()
            << "     no packet goes between these ends: they are one endpoint, or have no family in common\n";
      continue;
    }
    const Value& witness = answer["witness"];
    terminal.out() << terminal.paint(Colour::kDim, "     witness ") << packet_text(witness) << '\n'
                   << "       " << judgement_text(witness["answer"]) << '\n';
  }
  for (const Value& demand : value["demands"]) say_demand(demand, terminal);
  if (value["refusal"] != "") terminal.out() << escape(plain(value["refusal"])) << '\n';
}

/// What is asked: claims, and files of invariants.
struct Asked {
  std::vector<Spoken> claims;
  std::vector<policies::Invariant> invariants;
};

/// Before anybody is asked: what cannot be understood is said even where there is no image.
Asked read_operands(const std::vector<std::string>& operands) {
  std::vector<std::string> files, claims(1);
  for (const std::string& operand : operands) {
    std::error_code ignored;
    const bool is_file =
        operand.ends_with(".yaml") || operand.ends_with(".yml") || operand.ends_with(".json") ||
        (operand.find_first_of(" :") == std::string::npos && operand != "from" &&
         operand.find('/') != std::string::npos && std::filesystem::is_directory(operand, ignored));
    if (is_file && claims.back().empty()) {
      files.push_back(operand);
      continue;
    }
    // A claim without quotes comes as words; one that ends in its verdict is whole.
    claims.back() += (claims.back().empty() ? "" : " ") + operand;
    if (operand.ends_with("allow") || operand.ends_with("deny")) claims.emplace_back();
  }
  if (claims.back().empty()) claims.pop_back();
  Asked asked;
  for (const std::string& claim : claims) asked.claims.push_back(parse_claim(claim));
  if (files.empty()) return asked;
  asked.invariants = read_manifests(files, {}).policies.invariants;
  if (asked.invariants.empty())
    throw Failure(kExitRefused,
                  "no object of the kind Invariant in the files; bulkheadctl policy prove --help explains");
  return asked;
}

Value claim_value(const Candidate& candidate, const analysis::Space& space, const Spoken& spoken) {
  std::size_t pairs = 0;
  const auto refutation = analysis::refute(space, resolve(space, spoken), pairs);
  Value witness = nullptr;
  if (refutation) {
    witness = packet_value(candidate.view, refutation->packet);
    witness["answer"] = judgement_value(candidate.view, refutation->answer);
  }
  return {{"claim", spoken.text}, {"proven", !refutation}, {"pairs", pairs}, {"witness", std::move(witness)}};
}

/// The set's own demands and those of the files, each with its answer.
Value demands_value(const std::vector<policies::Invariant>& invariants, const analysis::Proof& proof) {
  Value values = Value::array();
  for (std::size_t i = 0; i < invariants.size(); ++i)
    for (std::size_t j = 0; j < invariants[i].demands.size(); ++j) {
      const analysis::DemandPlace place{i, j};
      const auto in = [&](const std::vector<analysis::DemandPlace>& places) {
        return std::find(places.begin(), places.end(), place) != places.end();
      };
      const auto breach = std::find_if(proof.breaches.begin(), proof.breaches.end(),
                                       [&](const analysis::Breach& each) { return each.place == place; });
      const bool broken = breach != proof.breaches.end();
      const char* answer = broken                                          ? "no"
                           : !proof.refusal.empty() || in(proof.undecided) ? "undecided"
                                                                           : "yes";
      values.push_back({{"demand", describe(invariants[i], invariants[i].demands[j])},
                        {"file", invariants[i].demands[j].origin.file},
                        {"line", invariants[i].demands[j].origin.line},
                        {"answer", answer},
                        {"vacuous", in(proof.vacuous)},
                        {"witness", broken ? Value(breach->packet) : Value(nullptr)},
                        {"words", broken ? breach->answer : ""}});
    }
  return values;
}

Answer prove(const Invocation& invocation) {
  const bool compiles = invocation.has("policies") || invocation.has("cluster");
  Asked asked = read_operands(invocation.texts("claim"));
  if (asked.claims.empty() && asked.invariants.empty() && !compiles)
    throw Failure(kExitUsage, "policy prove: a claim is missing; bulkheadctl policy prove --help explains");
  const Candidate candidate = candidate_of(invocation, "policy prove", asked.invariants);
  if (asked.claims.empty() && asked.invariants.empty() && candidate.invariants.empty())
    throw Failure(kExitUsage,
                  "policy prove: there is no claim, and no Invariant among the policies; bulkheadctl policy "
                  "prove --help explains");
  const analysis::Space space(candidate.view, candidate.view);
  Value answers = Value::array();
  bool all = true;
  for (const Spoken& spoken : asked.claims) {
    answers.push_back(claim_value(candidate, space, spoken));
    all = all && answers.back()["proven"] == true;
  }
  const bool of_image = candidate.output == nullptr;
  const analysis::Proof proof = of_image ? prove_of_image(candidate.view, asked.invariants) : candidate.proof;
  all = all && proof.holds();
  return {{{"from", candidate.from},
           {"digest", image::hex(image::image_digest(candidate.view))},
           {"proven", all},
           {"claims", std::move(answers)},
           {"demands", demands_value(of_image ? asked.invariants : candidate.invariants, proof)},
           {"refusal", proof.refusal}},
          say,
          all ? kExitGood : kExitRefused};
}

}  // namespace

Command policy_prove_command() {
  std::vector<Option> options = candidate_options();
  options.insert(options.begin(),
                 {"claim", "CLAIM", "from END to END [ports PORTS]: allow|deny; or a file of Invariants",
                  true, Completes::kFiles});
  return {
      "policy prove",
      "'from END to END [ports PORTS]: allow|deny'|FILE...",
      "does a claim hold for every packet there is",
      "Answers yes, or no with a packet that shows it, from the enforced image, an image file, or policy\n"
      "files in a cluster. 'deny' claims that nothing passes, 'allow' that everything does. It is a proof:\n"
      "all classes of addresses and ports are asked, none is sampled.\n\n"
      "An END is any, world (what no endpoint and no node owns), host, an address or block, namespace/name,\n"
      "a name, namespace/* or a selector app=web,tier!=front,!old, which may stand behind a namespace/.\n"
      "PORTS are any, tcp, tcp/443, udp/8000-8100, icmp/8, proto/47, joined by commas; without them, any.\n"
      "Traffic of an endpoint with itself is not meant. A node's image judges its own endpoints only.\n\n"
      "A FILE (*.yaml) or DIR/ of the kind Invariant asks what it demands; beside policy files, the "
      "invariants among\n"
      "them are asked, too, and no claim is needed. A node's image leaves open what other nodes judge.\n\n"
      "Exit code 0: every claim holds; 1: one does not, or an end is nobody.",
      "  bulkheadctl policy prove 'from world to shop/app=db: deny'\n"
      "  bulkheadctl policy prove 'from shop/* to any ports udp/53, tcp/53: allow' 'from any to host: deny'\n"
      "  bulkheadctl policy prove --policies new/ --cluster cluster.yaml          its invariants\n"
      "  bulkheadctl policy prove --policies new/ --cluster cluster.yaml 'from lab/* to shop/*: deny'",
      options,
      "claim",
      prove};
}

}  // namespace bulkhead::ctl
