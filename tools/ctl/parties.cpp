#include "tools/ctl/parties.h"

#include "tools/ctl/explain.h"

namespace bulkhead::ctl {
namespace {

const char* kind_name(analysis::PartyKind kind) {
  switch (kind) {
    case analysis::PartyKind::kIdentity:
      return "identity";
    case analysis::PartyKind::kNode:
      return "node";
    case analysis::PartyKind::kWorld:
      return "world";
  }
  return "";
}

Value standing_value(const analysis::Standing& standing) {
  return {{"kind", kind_name(standing.kind)},
          {"namespace", standing.namespace_name},
          {"labels", standing.kind == analysis::PartyKind::kIdentity ? standing.name : ""}};
}

}  // namespace

Value parties_value(const analysis::Space& space, const std::vector<analysis::Party>& parties) {
  Value values = Value::array();
  for (const analysis::Party& party : parties) {
    const analysis::Standing &before = party.standing[analysis::kBefore],
                             &after = party.standing[analysis::kAfter];
    Value value = standing_value(after);
    value["text"] = analysis::text(space, party);
    value["was"] = before == after ? Value(nullptr) : standing_value(before);
    value["whole"] = party.whole;
    value["addresses"] = Value::array();
    value["blocks"] = Value::array();
    for (const analysis::Member& member : party.members)
      value["addresses"].push_back(analysis::address_text(member.address));
    for (const analysis::Block& block : party.blocks) value["blocks"].push_back(analysis::block_text(block));
    values.push_back(std::move(value));
  }
  return values;
}

Value ports_value(const std::vector<analysis::PortRange>& ranges) {
  Value values = Value::array();
  for (const analysis::PortRange& range : ranges)
    values.push_back(
        {{"protocol", analysis::slot_name(range.slot)}, {"first", range.first}, {"last", range.last}});
  return values;
}

Value packet_value(const image::View& view, const analysis::Packet& packet) {
  return {{"source", analysis::address_text(packet.source)},
          {"destination", analysis::address_text(packet.destination)},
          {"source_name", analysis::who(view, packet.source)},
          {"destination_name", analysis::who(view, packet.destination)},
          {"protocol", analysis::slot_name(packet.slot)},
          {"port", packet.port}};
}

Value judgement_value(const image::View& view, const image::Judgement& judgement) {
  const std::uint32_t rule =
      judgement.rule != 0 || !judgement.allowed() ? judgement.rule : judgement.egress_rule;
  return {{"allowed", judgement.allowed()},
          {"fate", abi::name(judgement.fate)},
          {"direction", judgement.direction == image::kEgress ? "egress" : "ingress"},
          {"rule", rule_value(view, rule)}};
}

std::string judgement_text(const Value& judgement) {
  const bool allowed = judgement["allowed"].get<bool>();
  if (!judgement["rule"].is_null())
    return std::string(allowed ? "allowed by " : "denied by ") + escape(rule_text(judgement["rule"]));
  if (allowed) return "allowed, no rule needed";
  return plain(judgement["fate"]) + " at the " + (judgement["direction"] == "egress" ? "sender" : "receiver");
}

std::string packet_text(const Value& packet) {
  const auto end = [&](const char* name, const char* address) {
    return packet[name] == packet[address]
               ? plain(packet[address])
               : escape(plain(packet[name])) + " (" + plain(packet[address]) + ")";
  };
  return end("source_name", "source") + " -> " + end("destination_name", "destination") + " " +
         plain(packet["protocol"]) + "/" + plain(packet["port"]);
}

}  // namespace bulkhead::ctl
