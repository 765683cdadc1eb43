// Address classes in words: who they are.
//
// A party is an identity, a node, or a part of the world, as both images know it: an address that changed hands is a
// party of its own ("app=new, was app=old"). A party is *whole* where every address it has in the space is meant; else it
// says which.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "controlplane/analysis/compare.h"

namespace bulkhead::analysis {

enum class PartyKind : std::uint8_t { kIdentity, kNode, kWorld };

/// What one image knows an address as.
struct Standing {
  PartyKind kind = PartyKind::kWorld;
  std::string name;            // "app=web" or "no labels"; empty but for identities
  std::string namespace_name;  // empty but for identities
  auto operator<=>(const Standing&) const = default;
};

struct Party {
  Standing standing[kSides];
  bool whole = false;
  bool whole_v4 = false, whole_v6 = false;  // all its addresses of that family, and none of the other
  std::vector<Member> members;
  std::vector<Block> blocks;  // of nobody's addresses
  std::vector<Block> except;  // where not whole: the blocks that are left out, of the families that are in
};

std::vector<Party> parties(const Space& space, const std::vector<std::uint32_t>& address_classes);

/// "app=web in namespace shop", "world (IPv4)", "10.0.0.0/8", "app=db in namespace shop at shop/db-1 (10.0.0.3)".
std::string text(const Space& space, const Party& party);

/// Parties as a person would say them: "every endpoint", "every endpoint in namespace shop", else one by one.
std::vector<std::string> summary(const Space& space, const std::vector<Party>& parties);
/// The summary on one line, cut after `most`: "a, b and 7 more".
std::string line(const std::vector<std::string>& words, std::size_t most);

std::string address_text(const abi::Address& address);
std::string block_text(const Block& block);
std::string_view slot_name(image::ProtocolSlot slot);
/// "tcp/80", "udp", "icmp/8", "proto/47-50".
std::string port_text(const PortRange& range);
/// "tcp/80, tcp/443", "every port", cut after `most`.
std::string ports_text(const std::vector<PortRange>& ranges, std::size_t most = SIZE_MAX);

/// The endpoint that owns the address, "shop/web"; "host"; else the address.
std::string who(const image::View& view, const abi::Address& address);
/// "shop/web (10.0.0.1) -> 192.0.2.1 tcp/443".
std::string packet_text(const image::View& view, const Packet& packet);

/// "NetworkPolicy shop/web, rule 'ingress[0]' (web.yaml:7)".
std::string rule_text(const image::View& view, std::uint32_t rule);
/// "allowed by NetworkPolicy shop/web, rule 'ingress[0]' (web.yaml:7)", "denied at the sender by default, isolated by
/// NetworkPolicy shop/web (web.yaml:3)": the verdict and what of the written policies it comes from.
std::string answer_text(const image::View& view, const Packet& packet, const image::Judgement& answer);

}  // namespace bulkhead::analysis
