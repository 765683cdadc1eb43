// `verdict` and `policy explain`: may A talk to B, and why; from the very tables that the data plane judges with, or
// would.
#include "dataplane/image/validate.h"
#include "tools/ctl/ask.h"
#include "tools/ctl/candidate.h"
#include "tools/ctl/command.h"
#include "tools/ctl/ends.h"
#include "tools/ctl/explain.h"

namespace bulkhead::ctl {
namespace {

std::string required(const Invocation& invocation, const std::string& command, const char* option) {
  if (!invocation.has(option))
    throw Failure(kExitUsage,
                  command + ": --" + option + " is missing; bulkheadctl " + command + " --help explains");
  return invocation.text(option);
}

Value end_value(const image::View& view, const std::string& asked, const End& end,
                const abi::Address& address) {
  const image::Bound bound = image::bind(view, address);
  return {{"asked", asked},
          {"endpoint", bound.endpoint != 0 ? Value(endpoint_name(view, bound.endpoint)) : Value(nullptr)},
          {"name", end.name},
          {"address", address_text(address)},
          {"identity", identity_value(view, view.record(bound.record).identity)}};
}

Value answer_for(const image::View& view, const Invocation& invocation, const End& from, const End& to,
                 const abi::Address& source, const abi::Address& destination, const Port& port) {
  Value value = {{"from", end_value(view, invocation.text("from"), from, source)},
                 {"to", end_value(view, invocation.text("to"), to, destination)},
                 {"protocol", protocol_name(port.slot)},
                 {"port", port.number}};
  value.update(explain(view, {source, destination, name_of(view, source), name_of(view, destination), port}));
  return value;
}

/// "selected by NetworkPolicy shop/web (web.yaml:1), isolates, 2 rules".
void say_policy(const Value& policy, std::ostream& out) {
  out << "        selected by " << escape(plain(policy["policy"]));
  if (policy["file"] != "")
    out << " (" << escape(plain(policy["file"])) << ':' << plain(policy["line"]) << ')';
  if (policy["tier"] == "quarantine")
    out << ", before all tiers";
  else if (policy["tier"] != "application")
    out << ", " << plain(policy["tier"]) << ' ' << plain(policy["priority"]);
  if (policy["audited"] == true) out << ", audited";
  if (policy["isolates"] == true) out << (policy["audited"] == true ? ", would isolate" : ", isolates");
  out << ", " << plain(policy["rules"]) << (policy["rules"] == 1 ? " rule" : " rules");
  if (!policy["answer"].is_null()) out << ": " << plain(policy["answer"]);
  out << '\n';
}

void say_side(const Value& side, const char* direction, Terminal& terminal) {
  std::ostream& out = terminal.out();
  const bool allowed = side["allowed"].get<bool>();
  const std::string mark = side["judged"] == false ? terminal.paint(Colour::kDim, "  -   ")
                           : allowed               ? terminal.paint(Colour::kGood, "allow ")
                                                   : terminal.paint(Colour::kBad, "deny  ");
  out << "  " << mark << (*direction == 'e' ? "egress  of " : "ingress of ") << escape(plain(side["end"]))
      << ": " << escape(plain(side["why"])) << '\n';
  if (!side["rule"].is_null())
    out << "        it says: " << plain(side["rule"]["action"]) << ' ' << escape(plain(side["rule"]["peers"]))
        << " on " << escape(plain(side["rule"]["ports"])) << '\n';
  if (!side["nearest"].is_null())
    out << "        nearest: " << escape(rule_text(side["nearest"]["rule"])) << '\n'
        << "                 " << escape(plain(side["nearest"]["words"])) << '\n';
  for (const Value& policy : side["selected_by"]) say_policy(policy, out);
}

/// What the audited policies would have made of it.
void say_audit(const Value& audit, Terminal& terminal) {
  const bool allowed = audit["allowed"].get<bool>();
  terminal.out() << "  " << terminal.paint(audit["differs"] == true ? Colour::kWarn : Colour::kDim, "audit ")
                 << "were the audited policies enforced: " << (allowed ? "ALLOW" : "DENY") << ", "
                 << escape(plain(audit["why"])) << '\n';
}

std::string headline(const Value& value) {
  const auto end = [](const Value& side) {
    const std::string name = plain(side["name"]), address = plain(side["address"]);
    return escape(name) + (name == address ? "" : " (" + address + ")");
  };
  return end(value["from"]) + " -> " + end(value["to"]) + " " + plain(value["protocol"]) + "/" +
         plain(value["port"]);
}

void say(const Value& value, Terminal& terminal) {
  const auto one = [&terminal](const Value& answer) {
    const bool allowed = answer["allowed"].get<bool>();
    terminal.out() << terminal.paint(allowed ? Colour::kGood : Colour::kBad, allowed ? "ALLOW" : "DENY")
                   << "  " << headline(answer) << "  " << terminal.paint(Colour::kDim, plain(answer["fate"]))
                   << '\n';
    say_side(answer["egress"], "egress", terminal);
    say_side(answer["ingress"], "ingress", terminal);
    if (!answer["audit"].is_null()) say_audit(answer["audit"], terminal);
    if (answer["established"] == "keep")
      terminal.out() << "  conversations that were allowed when they began go on until they end\n";
    if (answer["established"] == "reset")
      terminal.out() << "  conversations that were allowed when they began are cut, and their ends told\n";
  };
  one(value);
  for (const Value& other : value["other_addresses"]) {
    terminal.out() << terminal.paint(Colour::kWarn, "but between other addresses of theirs:") << '\n';
    one(other);
  }
}

struct Asked {
  std::string from, to;
  Port port;
};

/// Before anybody is asked, or anything compiled.
Asked asked(const Invocation& invocation, const std::string& command) {
  return {required(invocation, command, "from"), required(invocation, command, "to"),
          parse_port(required(invocation, command, "port"))};
}

Answer answer(const Invocation& invocation, const Asked& question, const image::View& view,
              std::uint64_t generation) {
  const auto& [from_text, to_text, port] = question;
  const End from = resolve_end(view, from_text), to = resolve_end(view, to_text);

  // ICMP belongs to its family; every pair of addresses of one family is a packet that could be sent.
  std::vector<Value> answers;
  bool pair_seen = false;
  for (const abi::Address& source : from.addresses) {
    for (const abi::Address& destination : to.addresses) {
      if (source.is_v4() != destination.is_v4()) continue;
      pair_seen = true;
      if (port.slot == image::kIcmp && !source.is_v4()) continue;
      if (port.slot == image::kIcmpV6 && source.is_v4()) continue;
      answers.push_back(answer_for(view, invocation, from, to, source, destination, port));
    }
  }
  if (answers.empty()) {
    throw Failure(kExitUsage,
                  escape(from.name) + " and " + escape(to.name) +
                      (pair_seen ? " have no addresses of the family that " +
                                       std::string(protocol_name(port.slot)) + " belongs to"
                                 : " have no addresses of one family: no packet can pass between them"));
  }
  Value value = answers[0];
  Value others = Value::array();
  for (const Value& answer : answers)
    if (answer["fate"] != value["fate"] || answer["rule"] != value["rule"]) others.push_back(answer);
  value["other_addresses"] = std::move(others);
  value["generation"] = generation;
  value["digest"] = image::hex(image::image_digest(view));
  const int exit = value["allowed"] == true ? kExitGood : kExitRefused;
  return {std::move(value), say, exit};
}

Answer verdict(const Invocation& invocation) {
  const Asked question = asked(invocation, "verdict");
  const Image image = image_of(invocation);
  return answer(invocation, question, image.view, image.generation);
}

Answer policy_explain(const Invocation& invocation) {
  const Asked question = asked(invocation, "policy explain");
  const Candidate candidate = candidate_of(invocation, "policy explain");
  Answer explained = answer(invocation, question, candidate.view, candidate.image.generation);
  explained.value["judged_by"] = candidate.from;
  return explained;
}

std::vector<Option> ends_options() {
  return {{"from,f", "A", "the sender", false, Completes::kEndpoints},
          {"to,t", "B", "the receiver", false, Completes::kEndpoints},
          {"port,p", "PROTO/PORT", "tcp/443, udp/53, sctp/2905, icmp[/TYPE], icmpv6[/TYPE], proto/47", false,
           Completes::kNothing}};
}

}  // namespace

Command policy_explain_command() {
  std::vector<Option> options = ends_options();
  const std::vector<Option> more = candidate_options();
  options.insert(options.end(), more.begin(), more.end());
  return {"policy explain",
          "--from A --to B --port PROTOCOL/PORT",
          "why A may or may not talk to B, before policies are enforced",
          "What `bulkheadctl verdict` says of the enforced image, of policy files in a cluster as well: the\n"
          "verdict, the rule that decided with its file and line, every policy that selects an end in the\n"
          "order in which they are asked, and of a denial by default the rule that came nearest. Ends are\n"
          "named as for `verdict`. Reads the enforced image, an image file, or policy files in a cluster.\n\n"
          "Exit code 0: allowed; 1: denied, or something could not be read; 2: an end or the port cannot be\n"
          "understood; 3: no image could be asked.",
          "  bulkheadctl policy explain --from shop/web --to shop/db --port tcp/5432\n"
          "  bulkheadctl policy explain --policies new/ --cluster cluster.yaml --from shop/web --to shop/db "
          "--port tcp/22\n"
          "  bulkheadctl policy explain --image node.image --from world --to web --port tcp/443 -o json",
          options,
          nullptr,
          policy_explain};
}

Command verdict_command() {
  std::vector<Option> options = ends_options();
  options.push_back(
      {"image", "FILE", "judge by an image file instead of asking the data plane", false, Completes::kFiles});
  return {
      "verdict",
      "--from A --to B --port PROTOCOL/PORT",
      "may A talk to B, by which rule, or what is missing",
      "Judges a new conversation by the enforced image, the same tables that judge its packets, and\n"
      "explains each end: the sender's egress and the receiver's ingress must both allow. A denial by\n"
      "default names the policies that isolate the end and the rule that came nearest. Every policy that\n"
      "selects an end is listed, in the order in which they are asked.\n\n"
      "An end is namespace/name, a name that only one endpoint has, an address, 'host' (this node), or\n"
      "'world' (an outside address of no special block). Where endpoints have several addresses, every\n"
      "pair of one family is judged; the first pair decides the exit code and others are shown where\n"
      "they differ.\n\n"
      "Exit code 0: allowed; 1: denied; 2: an end or the port cannot be understood; 3: no image could\n"
      "be asked.",
      "  bulkheadctl verdict --from shop/web --to shop/db --port tcp/5432\n"
      "  bulkheadctl verdict --from world --to web --port tcp/443 -o json | jq .ingress\n"
      "  bulkheadctl verdict --from job --to 10.0.0.7 --port icmp            a ping\n"
      "  bulkheadctl verdict --image node.image --from a --to b --port udp/53   offline",
      options,
      nullptr,
      verdict};
}

}  // namespace bulkhead::ctl
