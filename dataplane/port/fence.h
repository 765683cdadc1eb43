// Keeping the kernel out of a veth that we serve.
//
// AF_PACKET sees a packet, but the kernel's own stack sees it too: a container could reach the node, or be
// forwarded, past every policy. So the interface gets a clsact qdisc whose only program drops, in both
// directions. Our socket reads before the ingress hook and (with PACKET_QDISC_BYPASS) sends past the egress
// hook; everything else is stopped there.
#pragma once

#include <string>

namespace bulkhead::port {

class Fence {
 public:
  /// The reason why it could not be raised goes to `failed`; empty: it stands. It goes on standing when this object and the
  /// process are gone, so that a container never meets the kernel while no data plane runs.
  Fence(int ifindex, std::string& failed);
  Fence(const Fence&) = delete;

  /// Takes the qdisc away: the interface is its owner's as it was.
  void lower();
  /// False: it stood before, from an earlier process.
  bool created() const { return created_; }

 private:
  int ifindex_;
  bool created_ = false;
};

}  // namespace bulkhead::port
