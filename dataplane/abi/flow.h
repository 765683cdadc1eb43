// The flow table as it lies in memory: what a restarted data plane takes up again, and what a read-only
// mapping shows.
//
// One file (hugetlbfs where there are hugepages, else tmpfs), mapped shared by the data plane and read-only
// by tools. A flow has one *hot* line that every packet touches and one *cold* line for what only its birth,
// a new judgement and its end need; both have the same index. A reader outside the data plane takes what it
// sees as a snapshot without promises: a line may be written while it is read.
//
//   FlowTableHeader | tags  uint16_t[slots] (16 a bucket) | hot FlowEntry[slots] | cold FlowDetail[slots]
#pragma once

#include <cstdint>

#include "dataplane/abi/address.h"

namespace bulkhead::abi {

inline constexpr std::uint64_t kFlowMagic = 0x31'57'4c'46'48'4b'4c'42;  // "BLKHFLW1"
inline constexpr std::uint32_t kFlowVersion = 2;
inline constexpr std::uint32_t kFlowBucketSlots = 16;

/// A tag names a slot's state or 16 bits of its flow's hash. Real tags start at kFlowTagFirst.
enum FlowTag : std::uint16_t {
  kFlowTagFree = 0,
  kFlowTagClaimed = 1,  // being written by one worker
  kFlowTagRetired = 2,  // dead; free again one grace period later
  kFlowTagFirst = 3,
};

/// Where a conversation stands. For protocols other than TCP: kNew until the first reply, then kEstablished.
enum class FlowState : std::uint8_t {
  kNew,          // one direction seen (TCP: SYN)
  kSynAck,       // TCP: SYN+ACK came back
  kEstablished,  // both directions seen (TCP: handshake done)
  kClosing,      // TCP: one side sent FIN
  kClosed,       // TCP: both sent FIN, or RST
};

/// Low 32 bits; the carry is in FlowDetail. One 8-byte word.
struct FlowCount {
  std::uint32_t bytes;  // of layer 3
  std::uint32_t packets;
};

/// The first 37 bytes are the key, in the originator's order, and are never written while the slot is live.
/// Counters are of each direction, written by the one worker that receives that direction.
struct alignas(64) FlowEntry {
  Address source;  // of the originator
  Address destination;
  std::uint16_t
      source_port;  // host order; ICMP query: the identifier, and in destination_port the request's type
  std::uint16_t destination_port;
  std::uint8_t protocol;  // IANA number
  FlowState state;
  std::uint16_t last_seen_s;  // low 16 bits of the table's clock
  std::uint32_t generation;  // low 32 bits of the generation that allowed it; one 8-byte word with `port`; 0:
                             // judge again
  std::uint16_t port[2];     // where each direction comes in: [0] the originator's, [1] the responder's port
  FlowCount count[2];        // of each direction
};
static_assert(sizeof(FlowEntry) == 64);

struct alignas(64) FlowDetail {
  std::uint64_t first_seen_ms;  // Unix time
  std::uint32_t packets_high[2];
  std::uint32_t bytes_high[2];
  std::uint32_t rule[2];  // rule index per direction (0 ingress, 1 egress) in the image of `generation`
  std::uint32_t source_endpoint;  // endpoint index in the image of `generation`; 0 world
  std::uint32_t destination_endpoint;
  std::uint8_t fin_seen;       // bit a direction
  std::uint8_t policy_slot;    // image::ProtocolSlot judged with
  std::uint16_t policy_port;   // the port judged: a re-judgement asks the same question
  std::uint32_t next_retired;  // of a retired slot: the next one that its worker will free
  std::uint32_t
      owner[2];       // low 32 bits of source's and destination's port_key; 0: an end without a port here
  std::uint8_t kept;  // 1: `generation` denies it, and by `keep` it goes on
  std::uint8_t reserved[7];
};
static_assert(sizeof(FlowDetail) == 64);

struct alignas(4096) FlowTableHeader {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t entry_bytes;  // sizeof(FlowEntry)
  std::uint64_t slots;        // a power of two, twice flows_max or more
  std::uint64_t flows_max;
  std::uint64_t tags_offset;  // bytes from the start
  std::uint64_t hot_offset;
  std::uint64_t cold_offset;
  std::uint64_t bytes;
  std::uint64_t hash_seed[4];
  std::uint64_t clock_origin_s;  // CLOCK_BOOTTIME seconds at creation: last_seen_s counts from here
  std::uint8_t boot_id[16];      // of the kernel: a table from before a reboot is not taken up
};

}  // namespace bulkhead::abi
