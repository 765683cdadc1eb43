#include "controlplane/reconcile/status_socket.h"

#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/buffers_iterator.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/write.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string_view>

#include "policies/load/nearest.h"

namespace bulkhead::reconcile {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using Local = asio::local::stream_protocol;

constexpr std::size_t kLineBytesMax = 4096;

/// One client; lives as long as its next read or write.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(Local::socket socket, std::function<std::string(const std::string&)> answer)
      : socket_(std::move(socket)), answer_(std::move(answer)) {}

  void read() {
    asio::async_read_until(socket_, input_, '\n',
                           [self = shared_from_this()](const error_code& error, std::size_t bytes) {
                             if (error) return;  // gone, or a line without an end
                             const auto begin = asio::buffers_begin(self->input_.data());
                             const std::string line(begin, begin + static_cast<std::ptrdiff_t>(bytes) - 1);
                             self->input_.consume(bytes);
                             self->write(self->answer_(line) + "\n");
                           });
  }

 private:
  void write(std::string text) {
    output_ = std::move(text);
    asio::async_write(socket_, asio::buffer(output_),
                      [self = shared_from_this()](const error_code& error, std::size_t) {
                        if (!error) self->read();
                      });
  }

  Local::socket socket_;
  std::function<std::string(const std::string&)> answer_;
  asio::streambuf input_{kLineBytesMax};
  std::string output_;
};

}  // namespace

std::string answer_line(const std::string& line, const Requests& requests) {
  static constexpr std::string_view kKnown[] = {"status", "reload", "quarantine", "lift"};
  const auto request = nlohmann::json::parse(line, nullptr, false);
  const auto error = [](const std::string& text) {
    return nlohmann::json{{"error", text}}.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  };
  if (request.is_discarded()) return error("no JSON; expected one object with a field request");
  // An absent field and one that is no text are as good as none: what is made of them says what is wrong.
  const auto text = [&](const char* field) {
    const auto found = request.is_object() ? request.find(field) : request.end();
    return found != request.end() && request.is_object() && found->is_string() ? found->get<std::string>()
                                                                               : std::string();
  };
  const std::string name = text("request");
  if (name == "status") return to_json(requests.status());
  if (name == "reload") {
    requests.reload();
    return R"({"reloading": true})";
  }
  if (name == "quarantine")
    return to_json(requests.quarantine({text("namespace"), text("name"), text("reason"), text("author")}));
  if (name == "lift") return to_json(requests.lift(text("namespace"), text("name")));
  const bool there = request.is_object() && request.contains("request");
  const std::string found = there ? request["request"].dump(-1, ' ', true) : "nothing";
  return error("unknown request: found " + found.substr(0, 80) + ", expected " + policies::one_of(kKnown) +
               policies::did_you_mean(name, kKnown));
}

StatusSocket::StatusSocket(asio::io_context& context, std::string path, Requests requests)
    : acceptor_(context), path_(std::move(path)), requests_(std::move(requests)) {
  const Local::endpoint endpoint(path_);
  Local::socket probe(context);
  error_code error;
  probe.connect(endpoint, error);
  if (!error) throw std::runtime_error(path_ + ": another control plane answers there");
  ::unlink(path_.c_str());
  acceptor_.open();
  // From the first moment for root and its group only: it is narrowed before it can be connected to.
  const mode_t before = ::umask(0117);
  acceptor_.bind(endpoint, error);
  ::umask(before);
  if (error) throw std::runtime_error(path_ + ": " + error.message());
  acceptor_.listen();
  accept();
}

StatusSocket::~StatusSocket() {
  ::unlink(path_.c_str());
}

void StatusSocket::accept() {
  acceptor_.async_accept([this](const error_code& error, Local::socket socket) {
    if (error == asio::error::operation_aborted) return;
    if (!error) {
      std::make_shared<Session>(std::move(socket), [this](const std::string& line) {
        return answer_line(line, requests_);
      })->read();
    }
    accept();
  });
}

}  // namespace bulkhead::reconcile
