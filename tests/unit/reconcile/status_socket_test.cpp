#include "controlplane/reconcile/status_socket.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <thread>

namespace bulkhead::reconcile {
namespace {

class StatusSocketTest : public ::testing::Test {
 protected:
  ~StatusSocketTest() override {
    context.stop();
    if (thread.joinable()) thread.join();
  }
  void serve() {
    socket = std::make_unique<StatusSocket>(context, path, requests());
    thread = std::thread([this] { context.run(); });
  }
  Requests requests() {
    return {[] { return Status{}; }, [this] { ++reloads; },
            [](const policies::Quarantine& what) {
              QuarantineOutcome outcome;
              outcome.note = what.namespace_name + "/" + what.name + " " + policies::describe(what);
              return outcome;
            },
            [](const std::string& namespace_name, const std::string& name) {
              QuarantineOutcome outcome;
              outcome.error = "not " + namespace_name + "/" + name;
              return outcome;
            }};
  }
  int client() const {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    return fd;
  }
  static std::string line(int fd) {
    std::string text;
    char byte;
    while (::read(fd, &byte, 1) == 1 && byte != '\n') text += byte;
    return text;
  }
  static void say(int fd, const std::string& text) {
    ASSERT_EQ(::write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }

  std::string path = ::testing::TempDir() + "bulkhead-status-" + std::to_string(::getpid()) + ".sock";
  boost::asio::io_context context{1};
  std::unique_ptr<StatusSocket> socket;
  std::atomic<int> reloads = 0;
  std::thread thread;
};

TEST_F(StatusSocketTest, lines_are_answered_one_by_one_on_one_connection) {
  serve();
  const int fd = client();
  say(fd, "{\"request\": \"status\"}\n{\"request\": \"reload\"}\n");
  EXPECT_EQ(line(fd).substr(0, 12), "{\"version\":\"");
  EXPECT_EQ(line(fd), "{\"reloading\": true}");
  EXPECT_EQ(reloads, 1);
  say(fd, "{\"request\"");
  say(fd, ": 7}\n");
  EXPECT_EQ(line(fd),
            "{\"error\":\"unknown request: found 7, expected status, reload, quarantine or lift\"}");
  say(fd, "{\"request\": \"lifft\"}\n");
  EXPECT_NE(line(fd).find("did you mean \\\"lift\\\"?"), std::string::npos);
  say(fd,
      "{\"request\": \"quarantine\", \"namespace\": \"shop\", \"name\": \"web\", \"reason\": \"r\", "
      "\"author\": \"a\"}\n");
  EXPECT_NE(line(fd).find("\"note\":\"shop/web quarantined by a: r\""), std::string::npos);
  say(fd, "{\"request\": \"lift\", \"namespace\": \"shop\", \"name\": 7}\n");
  EXPECT_EQ(line(fd), "{\"error\":\"not shop/\"}");
  ::close(fd);
}

TEST_F(StatusSocketTest, what_is_no_request_gets_an_error_not_a_crash) {
  serve();
  for (const char* text :
       {"", "[]", "{}", "null", "\"request\"", "{\"request\": \"stat\xff\"}", "{\"request\":"}) {
    const int fd = client();
    say(fd, std::string(text) + "\n");
    EXPECT_EQ(line(fd).substr(0, 10), "{\"error\":\"") << text;
    ::close(fd);
  }
}

TEST_F(StatusSocketTest, a_line_without_an_end_is_cut_off) {
  serve();
  const int fd = client();
  say(fd, std::string(100'000, 'x'));
  EXPECT_EQ(line(fd), "") << "closed";
  ::close(fd);
}

TEST_F(StatusSocketTest, only_root_and_its_group_may_ask) {
  serve();
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0660u);
}

TEST_F(StatusSocketTest, a_second_control_plane_does_not_take_the_socket_over) {
  serve();
  boost::asio::io_context other{1};
  EXPECT_THROW(StatusSocket(other, path, requests()), std::runtime_error);
  const int fd = client();
  say(fd, "{\"request\": \"status\"}\n");
  EXPECT_NE(line(fd), "");
  ::close(fd);
}

}  // namespace
}  // namespace bulkhead::reconcile
