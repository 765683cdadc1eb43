// Answering a ping of a gateway address (RFC 792, RFC 4443 section 4.2), in place and without state.
#pragma once

#include <cstdint>

#include "dataplane/packet/packet.h"

namespace bulkhead::forward {

/// True for an echo request, whole or as a first fragment. The caller knows that the destination is its own.
bool asks_echo(const packet::Parsed& parsed);

/// Turns the request into its reply: MACs and addresses change places, hop limit 64, checksums follow. Each
/// fragment of a request becomes the same fragment of the reply, so a later fragment (whose first one asked)
/// is given here as well. The ICMP checksum must be complete (complete_partial) before.
void answer_echo(std::uint8_t* frame, const packet::Parsed& parsed);

}  // namespace bulkhead::forward
