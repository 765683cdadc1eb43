#include "tools/ctl/ask.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "dataplane/image/validate.h"

namespace bulkhead::ctl {
namespace {

std::string reason_of(int number) {
  return std::strerror(number);
}

/// `count` elements of `element_bytes` from `offset` lie inside `bytes`, aligned.
bool lies_inside(std::uint64_t offset, std::uint64_t count, std::uint64_t element_bytes, std::uint64_t align,
                 std::uint64_t bytes) {
  return offset <= bytes && offset % align == 0 && count <= (bytes - offset) / element_bytes;
}

}  // namespace

Mapping::Mapping(int fd, std::uint64_t bytes, const std::string& what) : size_(bytes) {
  struct stat status {};
  if (fstat(fd, &status) != 0 || static_cast<std::uint64_t>(status.st_size) < bytes || bytes == 0)
    throw Failure(kExitNoAnswer, what + ": smaller than announced");
  start_ = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0);
  if (start_ == MAP_FAILED) {
    start_ = nullptr;
    throw Failure(kExitNoAnswer, what + ": cannot be mapped: " + reason_of(errno));
  }
}

Mapping::Mapping(Mapping&& other) noexcept
    : start_(std::exchange(other.start_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(start_, other.start_);
  std::swap(size_, other.size_);
  return *this;
}

Mapping::~Mapping() {
  if (start_ != nullptr) munmap(start_, size_);
}

image::Sections Image::sections() const {
  const auto bytes_of = [](const auto* header) {
    return std::span(reinterpret_cast<const std::byte*>(header), header->bytes);
  };
  image::Sections sections{bytes_of(view.policy), {}};
  for (std::uint32_t number = 0; number <= view.shard_mask; ++number)
    sections.shards.push_back(bytes_of(view.shards[number].header));
  return sections;
}

publish::Channel dataplane(const Invocation& invocation) {
  const std::string path = invocation.run_dir + "/" + abi::kDataplaneSocket;
  try {
    return publish::Channel::connect(path, "bulkheadctl");
  } catch (const std::exception& failure) {
    throw Failure(kExitNoAnswer, "the data plane does not answer: " + escape(failure.what()));
  }
}

Image enforced_image(publish::Channel& channel) {
  if (channel.hello().generation == 0) {
    throw Failure(kExitNoAnswer,
                  "no image is enforced yet: the data plane forwards nothing until the control plane has "
                  "published one");
  }
  const publish::EnforcedImage enforced = channel.image();
  Image image;
  image::Sections sections;
  for (const auto& section : enforced.sections)
    image.mappings.emplace_back(section.fd.get(), section.bytes, "a section of the image");
  for (const Mapping& mapping : image.mappings) {
    if (&mapping == &image.mappings.front())
      sections.policy = mapping.bytes();
    else
      sections.shards.push_back(mapping.bytes());
  }
  image.generation = enforced.generation;
  image.from = "the data plane, generation " + std::to_string(enforced.generation);
  auto checked = image::validate(sections);
  if (const auto* refusal = std::get_if<image::Refusal>(&checked))
    throw Failure(kExitRefused, "the enforced image does not validate: " + escape(refusal->reason));
  image.view = std::get<image::View>(checked);
  return image;
}

Image image_file(const std::string& path) {
  const std::string shown = escape(path);
  const publish::Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) throw Failure(kExitRefused, shown + ": " + reason_of(errno));
  struct stat status {};
  if (fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode))
    throw Failure(kExitRefused, shown + ": not a regular file");
  const auto bytes = static_cast<std::uint64_t>(status.st_size);
  if (bytes < sizeof(image::PolicyHeader))
    throw Failure(kExitRefused, shown + ": " + std::to_string(bytes) + " bytes are too few for an image");
  Image image;
  image.mappings.emplace_back(fd.get(), bytes, shown);
  const auto split = image::split_file(image.mappings.front().bytes());
  if (const auto* refusal = std::get_if<image::Refusal>(&split))
    throw Failure(kExitRefused, shown + ": " + escape(refusal->reason));
  auto checked = image::validate(std::get<image::Sections>(split));
  if (const auto* refusal = std::get_if<image::Refusal>(&checked))
    throw Failure(kExitRefused, shown + ": " + escape(refusal->reason));
  image.view = std::get<image::View>(checked);
  image.from = path;
  return image;
}

Image image_of(const Invocation& invocation) {
  if (invocation.has("image")) return image_file(invocation.text("image"));
  publish::Channel channel = dataplane(invocation);
  return enforced_image(channel);
}

Telemetry telemetry_of(const publish::Regions& regions) {
  Telemetry telemetry;
  telemetry.memory = Mapping(regions.telemetry.get(), regions.telemetry_bytes, "telemetry region");
  const auto bytes = telemetry.memory.bytes();
  const auto* header = reinterpret_cast<const abi::TelemetryHeader*>(bytes.data());
  if (bytes.size() < sizeof *header || header->magic != abi::kTelemetryMagic ||
      header->version != abi::kVersion || header->workers > abi::kWorkersMax ||
      !lies_inside(header->blocks_offset, header->workers, sizeof(abi::WorkerBlock),
                   alignof(abi::WorkerBlock), bytes.size()))
    throw Failure(kExitNoAnswer, "the telemetry region is not of this version");
  telemetry.header = header;
  telemetry.workers = {reinterpret_cast<const abi::WorkerBlock*>(bytes.data() + header->blocks_offset),
                       header->workers};
  return telemetry;
}

FlowTable flow_table_of(const publish::Regions& regions) {
  FlowTable table;
  table.memory = Mapping(regions.flow_table.get(), regions.flow_table_bytes, "flow table");
  const auto bytes = table.memory.bytes();
  const auto* header = reinterpret_cast<const abi::FlowTableHeader*>(bytes.data());
  if (bytes.size() < sizeof *header || header->magic != abi::kFlowMagic ||
      header->version != abi::kFlowVersion || header->entry_bytes != sizeof(abi::FlowEntry) ||
      !lies_inside(header->tags_offset, header->slots, sizeof(std::uint16_t), 64, bytes.size()) ||
      !lies_inside(header->hot_offset, header->slots, sizeof(abi::FlowEntry), 64, bytes.size()) ||
      !lies_inside(header->cold_offset, header->slots, sizeof(abi::FlowDetail), 64, bytes.size()))
    throw Failure(kExitNoAnswer, "the flow table is not of this version");
  table.header = header;
  table.tags = reinterpret_cast<const std::uint16_t*>(bytes.data() + header->tags_offset);
  table.hot = reinterpret_cast<const abi::FlowEntry*>(bytes.data() + header->hot_offset);
  table.cold = reinterpret_cast<const abi::FlowDetail*>(bytes.data() + header->cold_offset);
  return table;
}

ControlplaneReply ask_controlplane(const Invocation& invocation, const Value& request, int timeout_ms) {
  constexpr std::size_t kReplyBytesMax = std::size_t{64} << 20;
  const std::string path = invocation.run_dir + "/controlplane.sock";
  const auto nobody = [&](const std::string& reason) {
    return ControlplaneReply{std::nullopt, path + ": " + reason};
  };
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return nobody("the path is too long for a socket");
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const publish::Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd || connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return nobody(reason_of(errno));
  const std::string line = request.dump(-1, ' ', false, Value::error_handler_t::replace) + "\n";
  if (send(fd.get(), line.data(), line.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(line.size()))
    return nobody(reason_of(errno));
  std::string reply;
  char part[65536];
  while (reply.find('\n') == std::string::npos) {
    pollfd ready{fd.get(), POLLIN, 0};
    const int polled = poll(&ready, 1, timeout_ms);
    if (polled < 0 && errno == EINTR) continue;
    if (polled <= 0) return nobody("no answer within " + std::to_string(timeout_ms / 1000) + " s");
    const ssize_t got = recv(fd.get(), part, sizeof part, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return nobody(reason_of(errno));
    if (got == 0) break;
    reply.append(part, static_cast<std::size_t>(got));
    if (reply.size() > kReplyBytesMax) return nobody("the answer has no end");
  }
  Value value = Value::parse(reply.substr(0, reply.find('\n')), nullptr, false);
  if (value.is_discarded()) return nobody("the answer is not JSON");
  return {std::move(value), {}};
}

}  // namespace bulkhead::ctl
