#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_pause.h>

#include <algorithm>
#include <cstring>

#include "dataplane/port/port.h"

namespace bulkhead::port {
namespace {

constexpr std::uint16_t kDescriptors = 512;

std::string failed(const char* what, int error) {
  return std::string(what) + ": " + rte_strerror(error < 0 ? -error : error);
}

std::uint16_t find(const char* device) {
  char name[abi::kDeviceBytes];
  std::snprintf(name, sizeof name, "%s", device);
  if (char* comma = std::strchr(name, ',')) *comma = '\0';
  std::uint16_t id = RTE_MAX_ETHPORTS;
  return rte_eth_dev_get_port_by_name(name, &id) == 0 ? id : std::uint16_t{RTE_MAX_ETHPORTS};
}

}  // namespace

std::string Port::open_ethdev(std::uint32_t workers, const Pools& pools) {
  ethdev_ = find(request_.device);
  if (ethdev_ == RTE_MAX_ETHPORTS) {
    if (const int error = rte_dev_probe(request_.device); error != 0)
      return failed("no DPDK device answers to this name", error);
    ethdev_ = find(request_.device);
    if (ethdev_ == RTE_MAX_ETHPORTS) return "the device was probed but offers no Ethernet port";
  }
  rte_eth_dev_owner owner{};
  std::snprintf(owner.name, sizeof owner.name, "bulkhead port %u", request_.port);
  if (rte_eth_dev_owner_new(&owner.id) != 0 || rte_eth_dev_owner_set(ethdev_, &owner) != 0) {
    // Somebody's: closing it with this port would take it from under them.
    ethdev_ = RTE_MAX_ETHPORTS;
    return "the device is in use by another port";
  }
  rte_eth_dev_info info{};
  if (const int error = rte_eth_dev_info_get(ethdev_, &info); error != 0)
    return failed("reading the device", error);

  // Several receive queues only where the device spreads flows over them itself.
  const std::uint64_t spread =
      info.flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_SCTP);
  queues_ = spread != 0 ? std::min<std::uint32_t>(workers, info.max_rx_queues) : 1;
  send_queues_ = std::min<std::uint32_t>(workers, info.max_tx_queues);
  if (queues_ < workers) queues_ = 1;
  send_shared_ = send_queues_ < workers;
  if (send_shared_) send_queues_ = 1;

  rte_eth_conf configuration{};
  if (queues_ > 1) {
    configuration.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    configuration.rx_adv_conf.rss_conf.rss_hf = spread;
  }
  constexpr std::uint64_t kFinishing =
      RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_TSO;
  offload_ = (info.tx_offload_capa & kFinishing) == kFinishing;
  configuration.txmode.offloads =
      info.tx_offload_capa &
      (RTE_ETH_TX_OFFLOAD_MULTI_SEGS | (offload_ ? kFinishing | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM : 0));
  if (const int error = rte_eth_dev_configure(ethdev_, static_cast<std::uint16_t>(queues_),
                                              static_cast<std::uint16_t>(send_queues_), &configuration);
      error != 0)
    return failed("configuring the device", error);
  std::uint16_t rx = kDescriptors, tx = kDescriptors;
  if (const int error = rte_eth_dev_adjust_nb_rx_tx_desc(ethdev_, &rx, &tx); error != 0)
    return failed("descriptor rings", error);
  const int socket = rte_eth_dev_socket_id(ethdev_);
  for (std::uint16_t queue = 0; queue < queues_; ++queue)
    if (const int error = rte_eth_rx_queue_setup(
            ethdev_, queue, rx, static_cast<unsigned>(std::max(socket, 0)), nullptr, pools.small);
        error != 0)
      return failed("receive queue", error);
  for (std::uint16_t queue = 0; queue < send_queues_; ++queue)
    if (const int error =
            rte_eth_tx_queue_setup(ethdev_, queue, tx, static_cast<unsigned>(std::max(socket, 0)), nullptr);
        error != 0)
      return failed("transmit queue", error);
  if (request_.mtu != 0) {
    if (const int error = rte_eth_dev_set_mtu(ethdev_, static_cast<std::uint16_t>(request_.mtu));
        error != 0 && error != -ENOTSUP)
      return failed("setting the MTU", error);
    mtu_ = request_.mtu;
  } else {
    std::uint16_t mtu = 1500;
    rte_eth_dev_get_mtu(ethdev_, &mtu);
    mtu_ = mtu;
  }
  if (const int error = rte_eth_dev_start(ethdev_); error != 0) return failed("starting the device", error);
  if (request_.role == abi::kRoleUplink) rte_eth_promiscuous_enable(ethdev_);

  rte_ether_addr mac{};
  rte_eth_macaddr_get(ethdev_, &mac);
  // As an uplink we speak with the device's own address; towards an endpoint (a null or ring device, vhost,
  // memif) with ours.
  if (request_.role == abi::kRoleUplink) std::memcpy(own_mac_.bytes.data(), mac.addr_bytes, 6);
  return {};
}

void Port::close_ethdev() {
  if (ethdev_ == RTE_MAX_ETHPORTS) return;
  rte_eth_dev_info info{};
  const bool known = rte_eth_dev_info_get(ethdev_, &info) == 0;
  rte_eth_dev_stop(ethdev_);
  rte_eth_dev_close(ethdev_);
  // Off its bus as well, whoever put it there: only so can the next attach find it again.
  if (known) rte_dev_remove(info.device);
}

std::uint16_t Port::send_ethdev(std::uint32_t sender, rte_mbuf** packets, std::uint16_t count) {
  if (offload_)
    count =
        rte_eth_tx_prepare(ethdev_, static_cast<std::uint16_t>(send_shared_ ? 0 : sender), packets, count);
  if (!send_shared_) [[likely]]
    return rte_eth_tx_burst(ethdev_, static_cast<std::uint16_t>(sender), packets, count);
  while (send_lock_.test_and_set(std::memory_order_acquire)) rte_pause();
  const std::uint16_t sent = rte_eth_tx_burst(ethdev_, 0, packets, count);
  send_lock_.clear(std::memory_order_release);
  return sent;
}

}  // namespace bulkhead::port
