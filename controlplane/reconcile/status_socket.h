// The control plane's own Unix socket: one JSON line in, one out. status.h says which.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <functional>
#include <string>

#include "controlplane/reconcile/status.h"

namespace bulkhead::reconcile {

/// What is done when somebody asks.
struct Requests {
  std::function<Status()> status;
  std::function<void()> reload;
  std::function<QuarantineOutcome(const policies::Quarantine&)> quarantine;
  std::function<QuarantineOutcome(const std::string& namespace_name, const std::string& name)> lift;
};

class StatusSocket {
 public:
  /// Listens at `path`, for root and its group only. A socket that nobody answers is replaced. Throws
  /// std::runtime_error where another control plane answers there or the path cannot be used.
  StatusSocket(boost::asio::io_context& context, std::string path, Requests requests);
  ~StatusSocket();
  StatusSocket(const StatusSocket&) = delete;
  StatusSocket& operator=(const StatusSocket&) = delete;

 private:
  void accept();

  boost::asio::local::stream_protocol::acceptor acceptor_;
  std::string path_;
  Requests requests_;
};

/// The answer to one line; without its newline.
std::string answer_line(const std::string& line, const Requests& requests);

}  // namespace bulkhead::reconcile
