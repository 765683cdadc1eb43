// The resets that end a connection: each must be one that its receiver believes at once.
#include <gtest/gtest.h>

#include "dataplane/forward/forward.h"
#include "tests/unit/packet/frames.h"

namespace bulkhead::forward {
namespace {

using namespace frames;

constexpr abi::Mac kOwn{{0x02, 0xb1, 0, 0, 0, 1}};
constexpr std::uint8_t kFin = 1, kSyn = 2, kRst = 4, kAck = 16;

Bytes segment(bool v4, std::uint8_t flags, const Bytes& payload = {}, const Bytes& options = {}) {
  const Bytes transport = tcp(4000, 80, flags, payload, 1000, options);
  return v4 ? ethernet(0x0800, sealed(ipv4({.protocol = 6}, transport)))
            : ethernet(0x86dd, sealed(ipv6({.next = 6}, transport)));
}

packet::Parsed read(const Bytes& frame) {
  packet::Parsed parsed;
  const auto bytes = static_cast<std::uint32_t>(frame.size());
  packet::parse(frame.data(), bytes, bytes, 0, parsed);
  return parsed;
}

struct Reset {
  std::uint32_t source_port, destination_port, sequence, acknowledged, flags;
  bool operator==(const Reset&) const = default;
};

Reset answer(const Bytes& frame, Toward toward) {
  const packet::Parsed parsed = read(frame);
  EXPECT_TRUE(owes_reset(parsed, toward));
  Bytes reset(kResetFrameBytesMax);
  reset.resize(build_reset(frame.data(), parsed, toward, kOwn, kMacA, reset.data()));
  const Bytes ip = part(reset, 14, reset.size() - 14);
  const bool v4 = ip[0] >> 4 == 4;
  EXPECT_EQ(transport_checksum(ip), 0u);
  if (v4) {
    EXPECT_EQ(internet_checksum(part(ip, 0, 20)), 0u);
  }
  EXPECT_EQ(ip.size(), v4 ? 40u : 60u);
  EXPECT_EQ(part(reset, 0, 6), Bytes(kMacA.bytes.begin(), kMacA.bytes.end()));
  EXPECT_EQ(part(reset, 6, 6), Bytes(kOwn.bytes.begin(), kOwn.bytes.end()));
  const Bytes addresses = v4 ? part(ip, 12, 8) : part(ip, 8, 32);
  const std::size_t half = addresses.size() / 2;
  const bool back = toward == Toward::kSender;
  const Bytes sent =
      v4 ? join({address_bytes(kA4), address_bytes(kB4)}) : join({address_bytes(kA6), address_bytes(kB6)});
  EXPECT_EQ(part(addresses, 0, half), part(sent, back ? half : 0, half));
  EXPECT_EQ(part(addresses, half, half), part(sent, back ? 0 : half, half));
  const std::size_t at = v4 ? 20 : 40;
  return {get16(ip, at), get16(ip, at + 2), get32(ip, at + 4), get32(ip, at + 8), ip[at + 13]};
}

TEST(Reset, sender_of_a_segment_gets_the_sequence_number_that_it_acknowledged) {
  for (const bool v4 : {true, false})
    EXPECT_EQ(answer(segment(v4, kAck, {1, 2, 3}), Toward::kSender), (Reset{80, 4000, 2000, 0, kRst}));
}

TEST(Reset, sender_of_a_segment_without_acknowledgement_gets_its_own_acknowledged) {
  EXPECT_EQ(answer(segment(true, kSyn), Toward::kSender), (Reset{80, 4000, 0, 1001, kRst | kAck}));
  EXPECT_EQ(answer(segment(true, kSyn, {1, 2, 3}, {2, 4, 5, 0xb4}), Toward::kSender),
            (Reset{80, 4000, 0, 1004, kRst | kAck}));
}

TEST(Reset, receiver_gets_the_sequence_number_that_it_expects) {
  for (const bool v4 : {true, false})
    EXPECT_EQ(answer(segment(v4, kAck | kFin, {1, 2, 3}), Toward::kReceiver),
              (Reset{4000, 80, 1000, 2000, kRst | kAck}));
  EXPECT_EQ(answer(segment(true, kSyn), Toward::kReceiver), (Reset{4000, 80, 1001, 0, kRst}));
}

TEST(Reset, reset_is_not_answered_but_passed_on) {
  const packet::Parsed parsed = read(segment(true, kRst));
  EXPECT_FALSE(owes_reset(parsed, Toward::kSender));
  EXPECT_TRUE(owes_reset(parsed, Toward::kReceiver));
}

TEST(Reset, nothing_but_a_whole_tcp_header_gives_rise_to_one) {
  for (const Toward toward : {Toward::kSender, Toward::kReceiver}) {
    EXPECT_FALSE(owes_reset(read(ethernet(0x0800, sealed(ipv4({}, udp(1, 2, {1}))))), toward));
    EXPECT_FALSE(
        owes_reset(read(ethernet(0x0800, ipv4({.protocol = 6, .fragment = 100}, filler(64)))), toward));
  }
}

}  // namespace
}  // namespace bulkhead::forward
