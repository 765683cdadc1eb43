// The flow hash: seeded AES rounds, the same for both directions of a conversation.
//
//   end(address, port) = two rounds over the address, the port enters as part of the first round's key
//   hash               = two rounds over end(source) + end(destination), keyed with the protocol
//
// Addition makes it symmetric; the rounds make it hard to aim at a bucket without the seed, which is random
// per table. As fast as CRC32 on any processor with AES-NI.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "dataplane/abi/flow.h"

namespace bulkhead::flow {

/// A key is the first 37 bytes of abi::FlowEntry, and of packet::Parsed.
inline constexpr std::size_t kKeyBytes = 37;
static_assert(offsetof(abi::FlowEntry, destination) == 16 && offsetof(abi::FlowEntry, source_port) == 32 &&
              offsetof(abi::FlowEntry, destination_port) == 34 && offsetof(abi::FlowEntry, protocol) == 36 &&
              offsetof(abi::FlowEntry, state) == kKeyBytes);

/// What a TCP or UDP packet right behind a plain IPv4 header shows of its conversation, as it lies in the frame: from the TTL on.
///
///   0 TTL | 1 protocol | 2 checksum | 4 source | 8 destination | 12 source port | 14 destination port
struct WireV4 {
  __m128i bytes;

  /// Of an untagged frame.
  static WireV4 of(const std::uint8_t* frame) {
    return {_mm_loadu_si128(reinterpret_cast<const __m128i*>(frame + 22))};
  }
};

/// Immutable once made; any thread.
class Hasher {
 public:
  Hasher() = default;
  explicit Hasher(const std::uint64_t seed[4]) {
    first_ = _mm_set_epi64x(static_cast<long long>(seed[0]), static_cast<long long>(seed[1]));
    second_ = _mm_set_epi64x(static_cast<long long>(seed[2]), static_cast<long long>(seed[3]));
    first_v4_ = _mm_xor_si128(first_, _mm_set_epi32(0, static_cast<int>(0xffff'0000u), 0, 0));
    third_ = _mm_aesenc_si128(first_, second_);
    fourth_ = _mm_aesenc_si128(second_, first_);
  }

  /// `key` has kKeyBytes readable bytes, any alignment.
  std::uint64_t operator()(const void* key) const {
    const auto* bytes = static_cast<const std::uint8_t*>(key);
    // Both ports as 32-bit words, four times over: a shuffle each.
    std::uint32_t both;
    std::memcpy(&both, bytes + 32, sizeof both);
    const __m128i ports = _mm_cvtsi32_si128(static_cast<int>(both));
    const __m128i first = _mm_set_epi8(-1, -1, 1, 0, -1, -1, 1, 0, -1, -1, 1, 0, -1, -1, 1, 0);
    const __m128i second = _mm_set_epi8(-1, -1, 3, 2, -1, -1, 3, 2, -1, -1, 3, 2, -1, -1, 3, 2);
    const __m128i ends = _mm_add_epi64(end(bytes, _mm_shuffle_epi8(ports, first)),
                                       end(bytes + 16, _mm_shuffle_epi8(ports, second)));
    return finish(ends, _mm_cvtsi32_si128(bytes[36]));
  }

  /// The hash of the key that these bytes make, without making it.
  std::uint64_t operator()(const WireV4& wire) const {
    const auto ports = [](char low) {
      const auto high = static_cast<char>(low - 1);
      return _mm_set_epi8(-1, -1, high, low, -1, -1, high, low, -1, -1, high, low, -1, -1, high, low);
    };
    const __m128i source = _mm_set_epi8(7, 6, 5, 4, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    const __m128i destination = _mm_set_epi8(11, 10, 9, 8, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    const __m128i protocol = _mm_set_epi8(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 1);
    const auto place = [&](__m128i where) { return _mm_shuffle_epi8(wire.bytes, where); };
    return finish(_mm_add_epi64(end(_mm_xor_si128(place(source), first_v4_), place(ports(13))),
                                end(_mm_xor_si128(place(destination), first_v4_), place(ports(15)))),
                  place(protocol));
  }

  /// A whole datagram's hash, by what its fragments have in common.
  std::uint64_t datagram(const abi::Address& source, const abi::Address& destination, std::uint32_t id,
                         std::uint8_t protocol) const {
    const __m128i ends =
        _mm_add_epi64(end(source.bytes.data(), _mm_set1_epi32(static_cast<int>(id & 0xffff))),
                      end(destination.bytes.data(), _mm_set1_epi32(static_cast<int>(id >> 16))));
    return finish(ends, _mm_cvtsi32_si128(protocol));
  }

 private:
  /// `port` in all four words.
  __m128i end(const std::uint8_t* address, __m128i port) const {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(address));
    return end(_mm_xor_si128(bytes, first_), port);
  }
  __m128i end(__m128i keyed_address, __m128i port) const {
    return _mm_aesenc_si128(_mm_aesenc_si128(keyed_address, _mm_xor_si128(second_, port)), third_);
  }
  std::uint64_t finish(__m128i ends, __m128i protocol) const {
    const __m128i round_key = _mm_xor_si128(fourth_, protocol);
    const __m128i mixed = _mm_aesenc_si128(_mm_aesenc_si128(ends, round_key), first_);
    return static_cast<std::uint64_t>(_mm_cvtsi128_si64(mixed));
  }

  __m128i first_{}, second_{}, third_{}, fourth_{};
  __m128i first_v4_{};  // first_, with what all mapped addresses have in common
};

}  // namespace bulkhead::flow
