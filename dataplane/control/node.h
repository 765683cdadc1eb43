// The data plane as the control thread sees it: it owns every part, carries out requests, and keeps what a restart needs.
//
//   request ──► attach: open the device, open the port if the image names it, publish it, hand it to a worker, save
//               detach: close, unpublish, wait a grace period, destroy (a tap beside all this), save
//               swap, amend: map, validate, work out which ports open, publish, acknowledge, save
//
// Only the control thread calls anything here. A request that cannot be carried out changes nothing and says why.
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "dataplane/control/closer.h"
#include "dataplane/control/eal.h"
#include "dataplane/control/options.h"
#include "dataplane/control/server.h"
#include "dataplane/control/state.h"
#include "dataplane/flow/memory.h"
#include "dataplane/worker/worker.h"

namespace bulkhead::control {

class Node {
 public:
  /// EAL is up. Takes up the last image, flow table and ports of the run directory. Throws std::runtime_error.
  Node(const Options& options, const Eal& eal);
  ~Node();

  /// Starts the workers on their lcores.
  void start();

  Reply handle(Request& request);

  /// An eventfd that is readable when a port may have lost its device; then call look_after_ports().
  int trouble_event() const { return trouble_.get(); }
  /// Detaches ports whose device is gone and returns what to announce. Also worth calling now and then: not every loss is noticed
  /// by a packet.
  std::vector<abi::PortLost> look_after_ports();

 private:
  Reply hello();
  Reply offer(Request& request);
  Reply swap(Request& request);
  Reply amend(Request& request);
  /// Why an image of this generation may not follow the enforced one; empty if it may.
  std::string stale(std::uint64_t generation);
  Reply enforce(std::variant<std::unique_ptr<swap::Enforced>, std::string> loaded);
  std::string take_sections(Request& request, const std::vector<swap::SharedSection>& offered,
                            std::vector<swap::SharedSection>& sections);
  Reply attach(Request& request);
  Reply detach(const abi::Detach& request);
  Reply list_ports(const abi::PortsRequest& request);
  Reply image(const abi::ImageRequest& request);
  Reply regions();

  std::string check(const abi::Attach& request, NetnsId netns) const;
  std::string open_port(const abi::Attach& request, int netns, NetnsId id);
  void close_port(std::uint32_t number, bool remove_device);
  std::string what_is_gone(const SavedPort& saved) const;
  void open_named_ports(swap::Enforced& enforced) const;
  void restore();
  void save_ports();

  Options options_;
  Eal eal_;
  State state_;
  Closer closer_;
  Fd trouble_;
  telemetry::Region telemetry_;
  flow::Memory flow_memory_;
  flow::TakeUp take_up_;
  flow::Table flows_;
  swap::Publisher publisher_;
  std::vector<swap::SharedSection> offered_;  // for the next swap
  image::ImageDigests digests_;
  port::Table ports_;
  std::vector<SavedPort> attached_;  // in the order they came; the requests as given
  std::vector<std::unique_ptr<worker::Worker>> workers_;
};

}  // namespace bulkhead::control
