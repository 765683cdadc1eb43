// A data plane without packets: it answers the socket as messages.h says, and misbehaves on demand.
//
// One thread serves one client at a time. Everything public is guarded by the lock that each method takes.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "controlplane/publish/publisher.h"
#include "dataplane/abi/messages.h"
#include "dataplane/image/validate.h"

namespace bulkhead::publish {

class FakeDataplane {
 public:
  struct Published {
    std::uint64_t generation;
    std::vector<std::uint64_t> inodes;  // of the policy section, then of the shards
    std::vector<std::string> sections;
    std::vector<bool> sent;
    int seals;  // that all sections have

    image::Sections bytes_of_all() const {
      image::Sections all{bytes(sections.at(0)), {}};
      for (std::size_t i = 1; i < sections.size(); ++i) all.shards.push_back(bytes(sections[i]));
      return all;
    }
    /// The port key that the image ties to this port; 0: none.
    std::uint64_t key_of(std::uint32_t port) const {
      const auto view = image::validate(bytes_of_all());
      std::uint64_t key = 0;
      if (const auto* valid = std::get_if<image::View>(&view))
        valid->for_each_local([&](std::uint32_t number) {
          if (valid->endpoint(number).port == port) key = valid->endpoint(number).port_key;
        });
      return key;
    }
    image::Digest digest() const {
      const auto view = image::validate(bytes_of_all());
      const auto* valid = std::get_if<image::View>(&view);
      return valid == nullptr ? image::Digest{} : image::image_digest(*valid);
    }
    static std::span<const std::byte> bytes(const std::string& text) {
      return std::as_bytes(std::span(text.data(), text.size()));
    }
  };

  explicit FakeDataplane(std::string path) : path_(std::move(path)) {
    ::unlink(path_.c_str());
    listener_ = Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path_.c_str(), sizeof address.sun_path - 1);
    if (::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener_.get(), 4) != 0) {
      throw std::runtime_error("fake data plane: " + path_ + ": " + std::strerror(errno));
    }
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeDataplane() {
    stop_ = true;
    thread_.join();
    ::unlink(path_.c_str());
  }

  /// Replaces the next answer by these bytes, whatever was asked.
  void answer_next_with(std::string bytes) {
    std::lock_guard lock(mutex_);
    canned_.push_back(std::move(bytes));
  }
  /// From now on it has none of the sections that it was sent.
  void forget_sections() {
    std::lock_guard lock(mutex_);
    forgetful_ = true;
  }
  void refuse_swaps(std::string why) {
    std::lock_guard lock(mutex_);
    swap_refusal_ = std::move(why);
  }
  void refuse_attaches(std::string why) {
    std::lock_guard lock(mutex_);
    attach_refusal_ = std::move(why);
  }
  void lose_port(std::uint32_t port, const char* reason) {
    std::lock_guard lock(mutex_);
    ports_.erase(port);
    abi::PortLost event{};
    event.header.type = abi::MessageType::kPortLost;
    event.header.bytes = sizeof event;
    event.port = port;
    std::strncpy(event.reason, reason, sizeof event.reason - 1);
    pending_events_.push_back(event);
  }
  void send_event_before_next_answer(std::uint32_t port) {
    std::lock_guard lock(mutex_);
    event_before_answer_ = port;
  }
  /// As a data plane that took up again what it enforced before.
  void set_enforced(std::uint64_t generation, const image::Digest& digest) {
    std::lock_guard lock(mutex_);
    generation_ = generation;
    digest_ = digest;
  }
  void set_ports(std::map<std::uint32_t, abi::PortInfo> ports) {
    std::lock_guard lock(mutex_);
    ports_ = std::move(ports);
  }
  std::map<std::uint32_t, abi::PortInfo> ports() {
    std::lock_guard lock(mutex_);
    return ports_;
  }
  std::vector<Published> published() {
    std::lock_guard lock(mutex_);
    return published_;
  }
  /// From now on another image is enforced whenever one is asked for.
  void set_restless() {
    std::lock_guard lock(mutex_);
    restless_ = true;
  }
  /// "attach 3", "detach 3", "swap 7", in order.
  std::vector<std::string> log() {
    std::lock_guard lock(mutex_);
    return log_;
  }
  std::uint64_t generation() {
    std::lock_guard lock(mutex_);
    return generation_;
  }

 private:
  static std::string content(int fd) {
    struct stat status {};
    ::fstat(fd, &status);
    std::string bytes(static_cast<std::size_t>(status.st_size), '\0');
    if (::pread(fd, bytes.data(), bytes.size(), 0) != status.st_size) return "unreadable";
    return bytes;
  }
  static std::uint64_t inode(int fd) {
    struct stat status {};
    ::fstat(fd, &status);
    return status.st_ino;
  }

  void serve() {
    while (!stop_) {
      pollfd item{listener_.get(), POLLIN, 0};
      if (::poll(&item, 1, 5) <= 0) continue;
      Fd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      while (!stop_ && client) {
        send_events(client.get());
        pollfd message{client.get(), POLLIN, 0};
        if (::poll(&message, 1, 5) <= 0) continue;
        if (!answer(client.get())) client.reset();
      }
    }
  }

  void send_events(int client) {
    std::lock_guard lock(mutex_);
    for (const abi::PortLost& event : pending_events_) {
      if (subscribed_) (void)!::send(client, &event, sizeof event, MSG_NOSIGNAL);
    }
    pending_events_.clear();
  }

  bool answer(int client) {
    std::vector<char> buffer(abi::kMessageBytesMax);
    alignas(cmsghdr) char control[CMSG_SPACE(abi::kFdsMax * sizeof(int))];
    iovec vector{buffer.data(), buffer.size()};
    msghdr message{};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t bytes = ::recvmsg(client, &message, MSG_CMSG_CLOEXEC);
    if (bytes <= 0) return false;
    std::vector<Fd> fds;
    for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
      for (std::size_t i = 0; i < (part->cmsg_len - CMSG_LEN(0)) / sizeof(int); ++i) {
        int fd;
        std::memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
        fds.emplace_back(fd);
      }
    }
    std::lock_guard lock(mutex_);
    abi::MessageHeader header;
    std::memcpy(&header, buffer.data(), sizeof header);
    if (event_before_answer_ != 0) {
      abi::PortLost event{};
      event.header.type = abi::MessageType::kPortLost;
      event.header.bytes = sizeof event;
      event.port = event_before_answer_;
      event_before_answer_ = 0;
      (void)!::send(client, &event, sizeof event, MSG_NOSIGNAL);
    }
    if (!canned_.empty()) {
      const std::string canned = canned_.front();
      canned_.erase(canned_.begin());
      (void)!::send(client, canned.data(), canned.size(), MSG_NOSIGNAL);
      return true;
    }
    return dispatch(client, header, buffer, fds);
  }

  template <class Reply>
  bool reply(int client, const abi::MessageHeader& to, Reply message, const std::vector<Fd>& fds = {}) {
    message.header = {};
    message.header.type = to.type;
    message.header.sequence = to.sequence;
    message.header.bytes = sizeof message;
    iovec part{&message, sizeof message};
    alignas(cmsghdr) char control[CMSG_SPACE(abi::kFdsMax * sizeof(int))] = {};
    msghdr out{};
    out.msg_iov = &part;
    out.msg_iovlen = 1;
    if (!fds.empty()) {
      out.msg_control = control;
      out.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
      cmsghdr* rights = CMSG_FIRSTHDR(&out);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
      for (std::size_t i = 0; i < fds.size(); ++i) {
        const int fd = fds[i].get();
        std::memcpy(CMSG_DATA(rights) + i * sizeof fd, &fd, sizeof fd);
      }
    }
    return ::sendmsg(client, &out, MSG_NOSIGNAL) == sizeof message;
  }
  bool refuse(int client, const abi::MessageHeader& to, const std::string& why) {
    abi::ErrorReply message{};
    message.header.type = abi::MessageType::kError;
    message.header.sequence = to.sequence;
    message.header.bytes = sizeof message;
    std::strncpy(message.text, why.c_str(), sizeof message.text - 1);
    return ::send(client, &message, sizeof message, MSG_NOSIGNAL) == sizeof message;
  }

  bool publish(int client, const abi::MessageHeader& header, Published now) {
    generation_ = now.generation;
    log_.push_back("swap " + std::to_string(now.generation));
    published_.push_back(std::move(now));
    digest_ = published_.back().digest();
    abi::SwapReply done{};
    done.generation = generation_;
    std::memcpy(done.digest, digest_.bytes, sizeof done.digest);
    return reply(client, header, done);
  }

  bool dispatch(int client, const abi::MessageHeader& header, const std::vector<char>& buffer,
                std::vector<Fd>& fds) {
    switch (header.type) {
      case abi::MessageType::kHello: {
        abi::HelloReply hello{};
        hello.pid = 4711;
        hello.generation = generation_;
        std::memcpy(hello.digest, digest_.bytes, sizeof hello.digest);
        hello.workers = 1;
        hello.ports = static_cast<std::uint32_t>(ports_.size());
        return reply(client, header, hello);
      }
      case abi::MessageType::kOffer: {
        abi::Offer offer;
        std::memcpy(&offer, buffer.data(), sizeof offer);
        if (offer.is_first != 0) offered_.clear();
        for (const Fd& fd : fds) offered_.push_back(content(fd.get()));
        return reply(client, header, abi::Empty{});
      }
      case abi::MessageType::kSwap: {
        abi::Swap swap;
        std::memcpy(&swap, buffer.data(), sizeof swap);
        if (!swap_refusal_.empty()) return refuse(client, header, swap_refusal_);
        if (swap.generation <= generation_) return refuse(client, header, "generation does not rise");
        Published now{swap.generation, {}, {}, {}, ~0};
        auto fd = fds.begin();
        for (std::uint32_t i = 0; i < swap.sections; ++i) {
          now.sent.push_back(swap.is_new[i] != 0);
          if (swap.is_new[i] != 0) {
            now.seals &= ::fcntl(fd->get(), F_GET_SEALS);
            now.inodes.push_back(inode(fd->get()));
            now.sections.push_back(content((fd++)->get()));
            continue;
          }
          if (i < offered_.size() && std::memcmp(image::digest_of(Published::bytes(offered_[i])).bytes,
                                                 swap.digests[i], sizeof swap.digests[i]) == 0) {
            now.inodes.push_back(0);
            now.sections.push_back(offered_[i]);
            continue;
          }
          if (forgetful_ || published_.empty() || i >= published_.back().sections.size())
            return refuse(client, header, "a section is not of the enforced image");
          now.inodes.push_back(published_.back().inodes[i]);
          now.sections.push_back(published_.back().sections[i]);
        }
        offered_.clear();
        return publish(client, header, std::move(now));
      }
      case abi::MessageType::kAmend: {
        abi::Amend amend;
        std::memcpy(&amend, buffer.data(), sizeof amend);
        if (!swap_refusal_.empty()) return refuse(client, header, swap_refusal_);
        if (amend.generation <= generation_) return refuse(client, header, "generation does not rise");
        if (forgetful_ || published_.empty() ||
            std::memcmp(amend.base, digest_.bytes, sizeof amend.base) != 0)
          return refuse(client, header, "another image is enforced");
        Published now = published_.back();
        now.generation = amend.generation;
        now.sent.assign(now.sections.size(), false);
        for (std::uint32_t i = 0; i < amend.count; ++i) {
          const int fd = fds[i].get();
          now.seals = ::fcntl(fd, F_GET_SEALS);
          now.sent[amend.places[i]] = true;
          now.inodes[amend.places[i]] = inode(fd);
          now.sections[amend.places[i]] = content(fd);
        }
        return publish(client, header, std::move(now));
      }
      case abi::MessageType::kAttach: {
        abi::Attach attach;
        std::memcpy(&attach, buffer.data(), sizeof attach);
        if (!attach_refusal_.empty()) return refuse(client, header, attach_refusal_);
        log_.push_back("attach " + std::to_string(attach.port));
        abi::PortInfo info{};
        info.port = attach.port;
        info.kind = attach.kind;
        info.role = attach.role;
        info.mtu = attach.mtu;
        info.port_key = attach.port_key;
        info.mac = attach.mac;
        info.vlan = attach.vlan;
        std::memcpy(info.interface_name, attach.interface_name, sizeof info.interface_name);
        std::memcpy(info.device, attach.device, sizeof info.device);
        std::memcpy(info.netns_path, attach.netns_path, sizeof info.netns_path);
        ports_[attach.port] = info;
        abi::AttachReply done{};
        done.port = attach.port;
        done.mac = attach.mac;
        return reply(client, header, done);
      }
      case abi::MessageType::kDetach: {
        abi::Detach detach;
        std::memcpy(&detach, buffer.data(), sizeof detach);
        if (ports_.erase(detach.port) == 0) return refuse(client, header, "no such port");
        log_.push_back("detach " + std::to_string(detach.port));
        return reply(client, header, abi::Empty{});
      }
      case abi::MessageType::kPorts: {
        abi::PortsRequest request;
        std::memcpy(&request, buffer.data(), sizeof request);
        abi::PortsReply list{};
        for (const auto& [number, info] : ports_) {
          if (number < request.from) continue;
          if (list.count == abi::kPortsPerReply) {
            list.next = number;
            break;
          }
          list.ports[list.count++] = info;
        }
        return reply(client, header, list);
      }
      case abi::MessageType::kSubscribe:
        subscribed_ = true;
        return reply(client, header, abi::Empty{});
      case abi::MessageType::kImage: {
        abi::ImageRequest request;
        std::memcpy(&request, buffer.data(), sizeof request);
        if (published_.empty()) return refuse(client, header, "no image");
        abi::ImageReply image{};
        image.generation = restless_ ? ++generation_ : generation_;
        const auto& sections = published_.back().sections;
        image.sections = static_cast<std::uint32_t>(sections.size());
        std::vector<Fd> made;
        for (std::size_t i = request.from; i < sections.size() && image.count < abi::kFdsMax; ++i) {
          made.push_back(publish::sealed_memfd("section", Published::bytes(sections[i])));
          image.bytes[image.count++] = sections[i].size();
        }
        return reply(client, header, image, made);
      }
      default:
        return refuse(client, header, "not known");
    }
  }

  std::string path_;
  Fd listener_;
  std::atomic<bool> stop_ = false;
  std::mutex mutex_;
  std::vector<std::string> canned_;
  std::string swap_refusal_;
  bool forgetful_ = false;
  std::string attach_refusal_;
  std::uint32_t event_before_answer_ = 0;
  std::vector<abi::PortLost> pending_events_;
  bool subscribed_ = false;
  std::uint64_t generation_ = 0;
  image::Digest digest_{};
  std::map<std::uint32_t, abi::PortInfo> ports_;
  std::vector<std::string> offered_;
  bool restless_ = false;
  std::vector<Published> published_;
  std::vector<std::string> log_;
  std::thread thread_;
};

}  // namespace bulkhead::publish
