// The control plane's own Unix socket: one JSON line in, one out. status.h says which.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <functional>
#include <string>

#include "controlplane/reconcile/status.h"

namespace bulkhead::reconcile {

class StatusSocket {
 public:
  /// Listens at `path`, for root and its group only. A socket that nobody answers is replaced. Throws
  /// std::runtime_error where another control plane answers there or the path cannot be used.
  StatusSocket(boost::asio::io_context& context, std::string path, std::function<Status()> status,
               std::function<void()> reload);
  ~StatusSocket();
  StatusSocket(const StatusSocket&) = delete;
  StatusSocket& operator=(const StatusSocket&) = delete;

 private:
  void accept();

  boost::asio::local::stream_protocol::acceptor acceptor_;
  std::string path_;
  std::function<Status()> status_;
  std::function<void()> reload_;
};

/// The answer to one line; without its newline.
std::string answer_line(const std::string& line, const std::function<Status()>& status,
                        const std::function<void()>& reload);

}  // namespace bulkhead::reconcile
