// Whatever parse() lets pass, every builder of forward/ takes: it stays inside its buffers, and its result is a
// packet that parse() lets pass again.
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "dataplane/forward/forward.h"

namespace {

using namespace bulkhead;
using namespace bulkhead::forward;
using packet::Kind;
using packet::Parsed;

constexpr abi::Mac kOwn{{2, 0, 0, 0, 0, 1}};
constexpr abi::Address kOwn6{{0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};

void require(bool holds) {
  if (!holds) std::abort();
}

/// A heap block of exactly its size, so that a sanitizer sees a step beyond it.
struct Block {
  explicit Block(std::uint32_t size) : bytes(size), data(std::make_unique<std::uint8_t[]>(size)) {}
  Block(const std::uint8_t* from, std::uint32_t size) : Block(size) {
    if (size != 0) std::memcpy(data.get(), from, size);
  }
  std::uint32_t bytes;
  std::unique_ptr<std::uint8_t[]> data;
};

/// An IPv4 checksum is what a fuzzer does not guess.
void repair_checksum(const Block& frame) {
  std::uint8_t* bytes = frame.data.get();
  const std::uint32_t at = frame.bytes > 18 && bytes[12] == 0x81 ? 18 : 14;
  if (frame.bytes < at + 20 || bytes[at] >> 4 != 4 || frame.bytes < at + (bytes[at] & 15u) * 4) return;
  store_ipv4_checksum(bytes + at);
}

Parsed parsed_of(const Block& frame, std::uint16_t vlan = 0) {
  Parsed parsed;
  packet::parse(frame.data.get(), frame.bytes, frame.bytes, vlan, parsed);
  return parsed;
}

bool transport_sum_holds(const Block& frame, const Parsed& p) {
  const std::uint32_t bytes = p.l3_offset + p.l3_bytes - p.l4_offset;
  return fold(sum_bytes(frame.data.get() + p.l4_offset, bytes) +
              pseudo_sum(p.source, p.destination, p.protocol, bytes)) == 0xffff;
}

void segment(const Block& frame, const Parsed& parsed, std::uint32_t segment_bytes, std::uint16_t vlan) {
  SegmentPlan plan;
  if (!plan_segments(frame.data.get(), frame.bytes, parsed, segment_bytes, plan)) return;
  const Range range{frame.data.get(), frame.bytes};
  std::uint32_t payload = 0;
  for (std::uint32_t k = 0; k < plan.count; ++k) {
    const Cut cut = segment_cut(plan, k);
    Block out(plan.header_bytes + cut.bytes);
    const std::uint64_t sum =
        copy_and_sum({&range, 1}, cut.offset, cut.bytes, out.data.get() + plan.header_bytes);
    write_segment_headers(plan, k, sum, out.data.get());
    const Parsed again = parsed_of(out, vlan);
    require(again.kind == Kind::kFlow && again.source == parsed.source &&
            again.destination_port == parsed.destination_port && again.l3_bytes <= plan.l3_bytes_max());
    require(transport_sum_holds(out, again));
    payload += cut.bytes;
  }
  require(payload == plan.payload_bytes);
}

void fragment(const Block& frame, const Parsed& parsed, std::uint32_t mtu, std::uint16_t vlan) {
  FragmentPlan plan;
  if (!plan_fragments(frame.data.get(), parsed, mtu, plan)) return;
  const Range range{frame.data.get(), frame.bytes};
  std::uint32_t payload = 0;
  for (std::uint32_t k = 0; k < plan.count; ++k) {
    const Cut cut = fragment_cut(plan, k);
    Block out(plan.header_bytes(k) + cut.bytes);
    copy_and_sum({&range, 1}, cut.offset, cut.bytes, out.data.get() + plan.header_bytes(k));
    write_fragment_headers(plan, k, out.data.get());
    require(out.bytes - parsed.l3_offset <= mtu);
    const Parsed again = parsed_of(out, vlan);
    // Cutting small may make a piece that a firewall calls tiny; the header is right in any case.
    require(again.kind == Kind::kFlow || again.fate == abi::Fate::kFragmentTiny);
    if (again.kind == Kind::kFlow) require(again.fragment_offset == parsed.fragment_offset + payload);
    payload += cut.bytes;
  }
  require(payload == plan.payload_bytes);
}

void report(const Block& frame, const Parsed& parsed, Problem problem) {
  if (!owes_error(parsed, problem)) return;
  const bool v4 = (parsed.flags & packet::kIpv4) != 0;
  Block room(kErrorFrameBytesMax);
  const std::uint32_t bytes = build_error(frame.data.get(), frame.bytes, parsed, problem, 1400, kOwn,
                                          v4 ? abi::address_v4(0x0a00'0001) : kOwn6, room.data.get());
  const Block error(room.data.get(), bytes);
  const Parsed again = parsed_of(error);
  // What was read from a priority-tagged or broken-off frame may be too short a quote to be an error.
  if (again.kind != Kind::kIcmpError) {
    require(again.fate == abi::Fate::kMalformedIcmp);
    return;
  }
  require(again.destination == parsed.source);
  Parsed quoted;
  if (packet::parse_quoted(error.data.get(), error.bytes, again, quoted))
    require(quoted.source == parsed.source && quoted.destination == parsed.destination &&
            quoted.source_port == parsed.source_port && quoted.protocol == parsed.protocol);
}

void answer(const Block& frame, const Parsed& parsed) {
  Neighbour neighbour;
  if (parsed.kind == Kind::kArp) {
    read_arp_sender(frame.data.get(), parsed, neighbour);
    if (!owes_arp_reply(parsed, {.served = true})) return;
    Block reply(kArpFrameBytes);
    build_arp_reply(frame.data.get(), parsed, kOwn, reply.data.get());
    const Parsed again = parsed_of(reply);
    require(again.kind == Kind::kArp && again.source == parsed.destination);
  }
  if (parsed.kind == Kind::kNeighbour) {
    read_advertisement(frame.data.get(), frame.bytes, parsed, neighbour);
    Solicitation solicitation;
    if (!read_solicitation(frame.data.get(), frame.bytes, parsed, solicitation)) return;
    Block reply(kNdFrameBytes);
    build_advertisement(frame.data.get(), parsed, solicitation, kOwn, true, reply.data.get());
    require(transport_sum_holds(
        reply, Parsed{.source = solicitation.target,
                      .destination = solicitation.detects_duplicates
                                         ? abi::Address{{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}}
                                         : parsed.source,
                      .protocol = 58,
                      .l3_offset = 14,
                      .l4_offset = 54,
                      .l3_bytes = 72}));
  }
}

/// A reset is a segment of the conversation that it ends, from the other end.
void end(const Block& frame, const Parsed& parsed) {
  for (const Toward toward : {Toward::kSender, Toward::kReceiver}) {
    if (!owes_reset(parsed, toward)) continue;
    Block reset(kResetFrameBytesMax);
    build_reset(frame.data.get(), parsed, toward, kOwn, kOwn, reset.data.get());
    const Parsed again = parsed_of(reset);
    const bool back = toward == Toward::kSender;
    require(again.kind == Kind::kFlow && (again.tcp_flags & 4) != 0 && transport_sum_holds(reset, again));
    require(again.source == (back ? parsed.destination : parsed.source) &&
            again.source_port == (back ? parsed.destination_port : parsed.source_port));
  }
}

void rewrite(const Block& frame, const Parsed& parsed, std::uint16_t vlan) {
  Block copy(frame.data.get(), frame.bytes);
  if (parsed.kind == Kind::kFlow) {
    const bool spent = spend_hop(copy.data.get(), parsed);
    const Parsed again = parsed_of(copy, vlan);
    require(again.kind == Kind::kFlow && again.hop_limit == parsed.hop_limit - (spent ? 1 : 0));
    answer_echo(copy.data.get(), parsed);
    const Parsed answered = parsed_of(copy, vlan);
    require(answered.kind == Kind::kDrop || answered.source == parsed.destination);
  }
  const Range ranges[] = {{copy.data.get(), parsed.l4_offset},
                          {copy.data.get() + parsed.l4_offset, copy.bytes - parsed.l4_offset}};
  for (std::uint32_t offset : {2u, 6u, 16u})
    if (partial_fits(parsed, parsed.l4_offset, offset))
      complete_partial(ranges, parsed.l4_offset, offset, parsed.l3_offset + parsed.l3_bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  if (bytes < 5) return 0;
  const std::uint16_t vlan = (data[0] & 1) != 0 ? 5 : 0;
  const std::uint32_t segment_bytes = packet::load_be16(data + 1) % 1500;
  const std::uint32_t mtu = 60u + packet::load_be16(data + 3) % 1500;
  const Block frame(data + 5, static_cast<std::uint32_t>(bytes - 5));
  if ((data[0] & 2) != 0) repair_checksum(frame);
  const Parsed parsed = parsed_of(frame, vlan);
  if (parsed.kind == Kind::kDrop) return 0;
  rewrite(frame, parsed, vlan);
  answer(frame, parsed);
  report(frame, parsed, Problem::kTimeExceeded);
  report(frame, parsed, Problem::kTooBig);
  report(frame, parsed, Problem::kProhibited);
  end(frame, parsed);
  segment(frame, parsed, segment_bytes, vlan);
  fragment(frame, parsed, mtu, vlan);
  return 0;
}
