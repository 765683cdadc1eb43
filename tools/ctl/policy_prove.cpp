// `policy prove`: does a claim hold for every packet there is?
#include "dataplane/image/validate.h"
#include "tools/ctl/candidate.h"
#include "tools/ctl/claim.h"
#include "tools/ctl/parties.h"

namespace bulkhead::ctl {
namespace {

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
}

Answer prove(const Invocation& invocation) {
  const auto operands = invocation.texts("claim");
  if (operands.empty())
    throw Failure(kExitUsage, "policy prove: a claim is missing; bulkheadctl policy prove --help explains");
  const Candidate candidate = candidate_of(invocation, "policy prove");
  const analysis::Space space(candidate.view, candidate.view);
  // A claim without quotes comes as words; one that ends in its verdict is whole.
  std::vector<std::string> claims(1);
  for (const std::string& operand : operands) {
    claims.back() += (claims.back().empty() ? "" : " ") + operand;
    if (operand.ends_with("allow") || operand.ends_with("deny")) claims.emplace_back();
  }
  if (claims.back().empty()) claims.pop_back();
  Value answers = Value::array();
  bool all = true;
  for (const std::string& text : claims) {
    const analysis::Claim claim = parse_claim(space, text);
    std::size_t pairs = 0;
    const auto refutation = analysis::refute(space, claim, pairs);
    Value witness = nullptr;
    if (refutation) {
      witness = packet_value(candidate.view, refutation->packet);
      witness["answer"] = judgement_value(candidate.view, refutation->answer);
    }
    all = all && !refutation;
    answers.push_back(
        {{"claim", text}, {"proven", !refutation}, {"pairs", pairs}, {"witness", std::move(witness)}});
  }
  return {{{"from", candidate.from},
           {"digest", image::hex(image::image_digest(candidate.view))},
           {"proven", all},
           {"claims", std::move(answers)}},
          say,
          all ? kExitGood : kExitRefused};
}

}  // namespace

Command policy_prove_command() {
  std::vector<Option> options = candidate_options();
  options.insert(options.begin(),
                 {"claim", "CLAIM", "from END to END [ports PORTS]: allow|deny", true, Completes::kNothing});
  return {
      "policy prove",
      "'from END to END [ports PORTS]: allow|deny'...",
      "does a claim hold for every packet there is",
      "Answers yes, or no with a packet that shows it, from the enforced image, an image file, or policy\n"
      "files in a cluster. 'deny' claims that nothing passes, 'allow' that everything does. It is a proof:\n"
      "all classes of addresses and ports are asked, none is sampled.\n\n"
      "An END is any, world (what no endpoint and no node owns), host, an address or block, namespace/name,\n"
      "a name, namespace/* or a selector app=web,tier!=front,!old, which may stand behind a namespace/.\n"
      "PORTS are any, tcp, tcp/443, udp/8000-8100, icmp/8, proto/47, joined by commas; without them, any.\n"
      "Traffic of an endpoint with itself is not meant. A node's image judges its own endpoints only.\n\n"
      "Exit code 0: every claim holds; 1: one does not, or an end is nobody.",
      "  bulkheadctl policy prove 'from world to shop/app=db: deny'\n"
      "  bulkheadctl policy prove 'from shop/* to any ports udp/53, tcp/53: allow' 'from any to host: deny'\n"
      "  bulkheadctl policy prove --policies new/ --cluster cluster.yaml 'from lab/* to shop/*: deny'",
      options,
      "claim",
      prove};
}

}  // namespace bulkhead::ctl
