// Answers of controlplane/analysis as values, the same in every policy command.
#pragma once

#include "controlplane/analysis/party.h"
#include "tools/ctl/command.h"

namespace bulkhead::ctl {

/// [{"kind", "text", "namespace", "labels", "was", "whole", "addresses", "blocks"}]
Value parties_value(const analysis::Space& space, const std::vector<analysis::Party>& parties);
/// [{"protocol", "first", "last"}]
Value ports_value(const std::vector<analysis::PortRange>& ranges);
/// {"source", "destination", "source_name", "destination_name", "protocol", "port"}
Value packet_value(const image::View& view, const analysis::Packet& packet);
/// {"allowed", "fate", "direction", "rule"}: what an image says to a packet, and by which rule.
Value judgement_value(const image::View& view, const image::Judgement& judgement);
/// "allowed by NetworkPolicy shop/web, rule 'ingress[0]' (web.yaml:7)"; "denied_default at the receiver".
std::string judgement_text(const Value& judgement);
/// "shop/web (10.0.0.1) -> 192.0.2.1 tcp/443", escaped.
std::string packet_text(const Value& packet);

}  // namespace bulkhead::ctl
