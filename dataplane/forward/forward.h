// What happens to a packet after its verdict: rewriting it, cutting it up, or answering it.
//
// Everything here works on bytes and lengths: no packet buffers, no ports, no state but the token bucket.
// The caller (worker/) owns buffers and decides; a function here does one thing and cannot fail half way.
// Packets were parsed (packet/), so a Parsed of kind other than kDrop is the licence to touch a frame: its
// offsets lie inside it. Whatever parse() did not check is checked here before it is used.
//
//   on:       rewrite.h    MACs, TTL or hop limit, 802.1Q tag, in place
//             checksum.h   finishing a checksum that a container's kernel left to the device
//             segment.h    a TCP or UDP super-packet into the segments its sender meant
//             fragment.h   an IPv4 packet without DF into fragments
//   back:     icmp_error.h time exceeded, packet too big; bucket.h holds their rate
//             reset.h      the end of a TCP connection, to both of its ends
//             echo.h       ping of a gateway address, in place
//             arp.h, nd.h  who has an address; and asking it of the uplink's neighbours
//
// Frames that are built start at offset 0 without an 802.1Q tag; push_vlan() adds one. Cutting is split in
// plan, cut and headers, so that the caller may copy a payload or refer to it:
//
//   SegmentPlan plan;
//   if (!plan_segments(frame, readable, parsed, gso_bytes, plan)) drop;
//   for (k = 0; k < plan.count; ++k) {
//     const Cut cut = segment_cut(plan, k);
//     sum = copy_and_sum(ranges, cut.offset, cut.bytes, out + plan.header_bytes);
//     write_segment_headers(plan, k, sum, out);
//   }
//
// Checksums are carried as plain one's complement sums of 16-bit words as they lie in memory (RFC 1071): such
// a sum is folded, complemented and stored without any change of byte order.
#pragma once

#include "dataplane/forward/arp.h"
#include "dataplane/forward/bucket.h"
#include "dataplane/forward/checksum.h"
#include "dataplane/forward/echo.h"
#include "dataplane/forward/fragment.h"
#include "dataplane/forward/icmp_error.h"
#include "dataplane/forward/nd.h"
#include "dataplane/forward/reset.h"
#include "dataplane/forward/rewrite.h"
#include "dataplane/forward/segment.h"
