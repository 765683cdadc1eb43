// The words between the data plane and everybody else, over one Unix socket (SOCK_SEQPACKET: one message a
// datagram).
//
// A client sends a request and gets exactly one reply with the same type and sequence, or `kError`. File
// descriptors ride along (SCM_RIGHTS). The control plane asks everything; tools ask only what reads (hello,
// ports, image, regions). A client that has sent `kSubscribe` also receives `kPortLost` events, which answer
// nothing.
//
//   request      carries                                       reply
//   kHello       Hello                                         HelloReply
//   kOffer       Offer, fds: sections of a swap to come         Empty
//   kSwap        Swap, fds: the sections that are new          SwapReply: every worker uses the new image
//   kAmend       Amend, fds: the sections that are others      SwapReply, likewise
//   kAttach      Attach, 1 fd: a tap's namespace, or none      AttachReply
//   kDetach      Detach                                        Empty
//   kPorts       PortsRequest                                  PortsReply, repeated by `from`
//   kImage       ImageRequest                                  ImageReply, fds: sections; repeated by `from`
//   kRegions     Empty                                         RegionsReply, 2 fds: telemetry, flow table
//   kSubscribe   Empty                                         Empty
//
// Bytes are host order (one machine). Sizes are fixed by type: a message of another size, version or type is
// refused with kError and changes nothing. Strings are NUL-terminated in their fields.
#pragma once

#include <cstdint>

#include "dataplane/abi/address.h"
#include "dataplane/abi/telemetry.h"

namespace bulkhead::abi {

/// Rises with every change to anything in abi/. Both sides refuse another version: they are installed
/// together.
inline constexpr std::uint32_t kVersion = 4;
inline constexpr std::uint32_t kMessageMagic = 0x4b'48'4c'42;  // "BLHK"
inline constexpr std::uint32_t kMessageBytesMax = 60 * 1024;

/// Relative to the run directory (default /run/bulkhead).
inline constexpr char kDataplaneSocket[] = "dataplane.sock";

enum class MessageType : std::uint16_t {
  kError,
  kHello,
  kOffer,
  kSwap,
  kAmend,
  kAttach,
  kDetach,
  kPorts,
  kImage,
  kRegions,
  kSubscribe,
  kPortLost,
};

struct MessageHeader {
  std::uint32_t magic = kMessageMagic;
  std::uint32_t version = kVersion;
  MessageType type = MessageType::kError;
  std::uint16_t reserved = 0;
  std::uint32_t sequence = 0;
  std::uint32_t bytes = 0;  // of the whole message, header included
  std::uint32_t reserved2 = 0;
};
static_assert(sizeof(MessageHeader) == 24);

struct Empty {
  MessageHeader header;
};

struct ErrorReply {
  MessageHeader header;
  char text[512];  // one sentence for people
};

struct Hello {
  MessageHeader header;
  char who[32];  // "controlplane", "bulkheadctl"
};

struct HelloReply {
  MessageHeader header;
  std::uint64_t pid;
  std::uint64_t started_ms;  // Unix time
  std::uint64_t generation;  // enforced; 0: no image, nothing is forwarded
  std::uint8_t digest[32];   // image::image_digest of the enforced image
  std::uint32_t workers;
  std::uint32_t ports;  // attached now
  std::uint64_t flows_max;
  std::uint32_t hugepages;       // 1: packet memory and flow table lie in hugepages
  std::uint32_t flows_restored;  // flows taken up from the process before this one
};

/// The most sections that an image has: the policy section and its shards.
inline constexpr std::uint32_t kSectionsMax = 513;
/// The most descriptors that come along with one message (the kernel's own bound is 253).
inline constexpr std::uint32_t kFdsMax = 128;

/// Sections, ahead of a swap that has more new ones than kFdsMax. They are checked at once, and kept until a swap has
/// been answered.
struct Offer {
  MessageHeader header;
  std::uint32_t is_first;  // 1: what was offered before goes
  std::uint32_t reserved;
};

/// The image that shall be enforced, by its sections' digests: first the policy section, then the shards. Descriptors come
/// along, in the same order, for those that are new; the others must have been offered, or be sections of the image that
/// is enforced.
struct Swap {
  MessageHeader header;
  std::uint64_t generation;  // greater than the enforced one
  std::uint32_t sections;
  std::uint32_t reserved;
  std::uint8_t is_new[kSectionsMax + 7];  // 1: its descriptor comes along; the last seven are padding
  std::uint8_t digests[kSectionsMax][32];
};
static_assert(sizeof(Swap) <= kMessageBytesMax);

/// A swap that names only what changes: most changes are of one section, or two.
struct Amend {
  MessageHeader header;
  std::uint64_t generation;  // greater than the enforced one
  std::uint8_t base[32];     // image::image_digest of the enforced image: refused where another is enforced
  std::uint8_t digest[32];   // of the image to be: refused where another comes of it
  std::uint32_t count;       // sections that are others; as many descriptors come along
  std::uint32_t reserved;
  std::uint16_t places[kFdsMax];  // theirs, rising: 0 is the policy section, the shards follow
};

struct SwapReply {
  MessageHeader header;
  std::uint64_t generation;  // now enforced
  std::uint8_t digest[32];
  std::uint64_t swap_ns;  // from publication until no worker could use the old image
};

enum class PortKind : std::uint32_t {
  kTap = 1,     // made by the data plane in the given namespace (the host's own if none), offloads on
  kVeth = 2,    // an interface that exists in the data plane's namespace, through AF_PACKET
  kEthdev = 3,  // a DPDK device by its name
};

enum PortRole : std::uint32_t {
  kRoleEndpoint = 1,  // one endpoint: strict source check, opens by port_key
  kRoleHost = 2,      // the node itself, and the outside if there is no uplink
  kRoleUplink = 3,    // the outside
};

inline constexpr std::uint32_t kDeviceBytes = 128;
inline constexpr std::uint32_t kInterfaceBytes = 16;  // IFNAMSIZ

struct Attach {
  MessageHeader header;
  std::uint32_t port;  // 1 to kPortsMax - 1
  PortKind kind;
  PortRole role;
  std::uint32_t mtu;       // of layer 3; 0: the device's own
  std::uint64_t port_key;  // image::Endpoint::port_key that opens it; 0 for host and uplink
  Mac mac;                 // the endpoint's MAC; uplink: the device's own is used and this is ignored
  std::uint16_t vlan;      // uplink: 802.1Q VLAN of all traffic; 0: untagged
  char interface_name[kInterfaceBytes];  // tap: the name inside the namespace; veth: the existing interface
  char device[kDeviceBytes];             // ethdev: "net_null0,size=64", "0000:01:00.0"
  char netns_path[kDeviceBytes];  // where the namespace was found, so that a restarted data plane can find it
                                  // again
  Address next_hop[2];            // uplink: gateway for IPv4, IPv6; zero: none
  Address own[2];  // uplink: the data plane's own addresses there (source of ARP and ND requests)
};

struct AttachReply {
  MessageHeader header;
  std::uint32_t port;
  std::uint32_t mtu;
  Mac mac;  // tap: what the device got
  std::uint16_t reserved;
  std::uint32_t already;  // 1: the same port was attached before; nothing changed
};

struct Detach {
  MessageHeader header;
  std::uint32_t port;
  std::uint32_t remove_device;  // 1: a tap is deleted from its namespace; 0: left there for the next attach
};

struct PortsRequest {
  MessageHeader header;
  std::uint32_t from;  // list ports numbered >= from
  std::uint32_t reserved;
};

enum PortFlags : std::uint32_t {
  kPortOpen = 1,     // its endpoint is in the enforced image
  kPortOffload = 2,  // carries super-packets and partial checksums
  kPortLostDevice = 4,
};

struct PortInfo {
  std::uint32_t port;
  PortKind kind;
  PortRole role;
  std::uint32_t flags;
  std::uint32_t mtu;
  std::uint32_t worker;
  std::uint64_t port_key;
  Mac mac;
  std::uint16_t vlan;
  char interface_name[kInterfaceBytes];
  char device[kDeviceBytes];
  char netns_path[kDeviceBytes];
};
inline constexpr std::uint32_t kPortsPerReply = 128;

struct PortsReply {
  MessageHeader header;
  std::uint32_t count;
  std::uint32_t next;              // ask again from here; 0: that was all
  PortInfo ports[kPortsPerReply];  // `count` are valid; the message always has this size
};
static_assert(sizeof(PortsReply) <= kMessageBytesMax);

struct ImageRequest {
  MessageHeader header;
  std::uint32_t from;  // number of a section: 0 is the policy section, the shards follow
  std::uint32_t reserved;
};

struct ImageReply {
  MessageHeader header;
  std::uint64_t generation;  // another one than before: ask again from 0
  std::uint32_t sections;    // that the image has
  std::uint32_t count;       // in this message; as many descriptors come along
  std::uint64_t bytes[kFdsMax];
};

struct RegionsReply {
  MessageHeader header;
  std::uint64_t telemetry_bytes;
  std::uint64_t flow_table_bytes;
};

struct PortLost {
  MessageHeader header;
  std::uint32_t port;
  std::uint32_t reserved;
  char reason[128];
};

}  // namespace bulkhead::abi
