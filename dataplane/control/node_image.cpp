// The node's image: how another one comes to be enforced, and how the enforced one is shown.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "dataplane/control/node.h"

namespace bulkhead::control {

namespace {

/// The section of this digest: most likely at the same place, else anywhere. Null where there is none.
swap::SharedSection find_section(const std::vector<swap::SharedSection>& sections, std::size_t place,
                                 const image::Digest& digest) {
  if (place < sections.size() && sections[place]->digest == digest) return sections[place];
  const auto found = std::find_if(sections.begin(), sections.end(),
                                  [&](const auto& section) { return section->digest == digest; });
  return found == sections.end() ? nullptr : *found;
}

std::variant<swap::SharedSection, std::string> take_section(Fd& fd) {
  auto mapped = swap::Section::map(fd.release());
  if (const auto* reason = std::get_if<std::string>(&mapped)) return "image refused: " + *reason;
  return swap::check(std::move(std::get<swap::Section>(mapped)));
}

}  // namespace

Reply Node::offer(Request& request) {
  if (static_cast<const abi::Offer*>(request.message)->is_first != 0) offered_.clear();
  if (offered_.size() + request.fds.size() > abi::kSectionsMax)
    return Reply::error("more than " + std::to_string(abi::kSectionsMax) + " sections offered");
  for (Fd& fd : request.fds) {
    auto taken = take_section(fd);
    if (const auto* reason = std::get_if<std::string>(&taken)) return Reply::error(*reason);
    offered_.push_back(std::get<swap::SharedSection>(std::move(taken)));
  }
  return Reply::of(abi::Empty{});
}

/// The sections that a swap names: new ones from their descriptors, the others from what was offered or is enforced.
std::string Node::take_sections(Request& request, const std::vector<swap::SharedSection>& offered,
                                std::vector<swap::SharedSection>& sections) {
  const auto& message = *static_cast<const abi::Swap*>(request.message);
  if (message.sections > abi::kSectionsMax)
    return std::to_string(message.sections) + " sections, expected at most " +
           std::to_string(abi::kSectionsMax);
  auto fd = request.fds.begin();
  const swap::Enforced* now = publisher_.enforced();
  for (std::uint32_t i = 0; i < message.sections; ++i) {
    image::Digest digest;
    std::memcpy(digest.bytes, message.digests[i], sizeof digest.bytes);
    if (message.is_new[i] == 0) {
      // An unchanged section seldom moves.
      auto known = now == nullptr ? swap::SharedSection{} : find_section(now->sections, i, digest);
      if (known == nullptr) known = find_section(offered, i, digest);
      if (known == nullptr)
        return "section " + std::to_string(i) + ", " + image::hex(digest).substr(0, 12) +
               ", was not offered and is not of the enforced image";
      sections.push_back(known);
      continue;
    }
    if (fd == request.fds.end()) return "fewer descriptors than new sections";
    auto taken = take_section(*fd++);
    if (const auto* reason = std::get_if<std::string>(&taken)) return *reason;
    sections.push_back(std::get<swap::SharedSection>(std::move(taken)));
    if (!(sections.back()->digest == digest))
      return "image refused: section " + std::to_string(i) + " is " +
             image::hex(sections.back()->digest).substr(0, 12) + ", announced was " +
             image::hex(digest).substr(0, 12);
  }
  return fd == request.fds.end() ? std::string() : "more descriptors than new sections";
}

std::string Node::stale(std::uint64_t generation) {
  const swap::Enforced* now = publisher_.enforced();
  const std::uint64_t enforced = now != nullptr ? now->generation : 0;
  if (generation > enforced) return {};
  return "generation " + std::to_string(generation) + " is not newer than the enforced " +
         std::to_string(enforced);
}

Reply Node::swap(Request& request) {
  const auto offered = std::exchange(offered_, {});  // for this swap, whatever becomes of it
  const auto& message = *static_cast<const abi::Swap*>(request.message);
  if (const std::string reason = stale(message.generation); !reason.empty()) return Reply::error(reason);
  std::vector<swap::SharedSection> sections;
  if (const std::string reason = take_sections(request, offered, sections); !reason.empty())
    return Reply::error(reason);
  return enforce(swap::load(std::move(sections), message.generation, digests_));
}

Reply Node::amend(Request& request) {
  offered_.clear();
  const auto& message = *static_cast<const abi::Amend*>(request.message);
  if (const std::string reason = stale(message.generation); !reason.empty()) return Reply::error(reason);
  const swap::Enforced* now = publisher_.enforced();
  if (now == nullptr || std::memcmp(now->digest.bytes, message.base, sizeof message.base) != 0)
    return Reply::error("the image to be amended is not the enforced one");
  if (message.count != request.fds.size())
    return Reply::error(std::to_string(message.count) + " sections with " +
                        std::to_string(request.fds.size()) + " descriptors");
  std::vector<swap::Amendment> amendments;
  for (std::uint32_t i = 0; i < message.count; ++i) {
    if (i > 0 && message.places[i] <= message.places[i - 1])
      return Reply::error("place " + std::to_string(message.places[i]) + " behind place " +
                          std::to_string(message.places[i - 1]) + ", expected them to rise");
    auto taken = take_section(request.fds[i]);
    if (const auto* reason = std::get_if<std::string>(&taken)) return Reply::error(*reason);
    amendments.push_back({message.places[i], std::get<swap::SharedSection>(std::move(taken))});
  }
  auto loaded = swap::amend(*now, amendments, message.generation, digests_);
  const auto* next = std::get_if<std::unique_ptr<swap::Enforced>>(&loaded);
  if (next != nullptr && std::memcmp((*next)->digest.bytes, message.digest, sizeof message.digest) != 0)
    return Reply::error("image refused: it is " + image::hex((*next)->digest).substr(0, 12) +
                        ", another one was announced");
  return enforce(std::move(loaded));
}

Reply Node::enforce(std::variant<std::unique_ptr<swap::Enforced>, std::string> loaded) {
  if (const auto* reason = std::get_if<std::string>(&loaded)) return Reply::error(*reason);
  auto next = std::get<std::unique_ptr<swap::Enforced>>(std::move(loaded));
  open_named_ports(*next);

  abi::SwapReply reply{};
  reply.generation = next->generation;
  std::memcpy(reply.digest, next->digest.bytes, sizeof reply.digest);
  reply.swap_ns = publisher_.publish(std::move(next));
  Reply done = Reply::of(reply);
  // Nobody waits for the copy. Killed before it is whole, we come back with the image before, and are sent this one again.
  done.afterwards = [this] {
    publisher_.drop_old();
    if (const std::string reason = state_.save_image(*publisher_.enforced()); !reason.empty())
      spdlog::error("the image is enforced but not saved for a restart: {}", reason);
  };
  return done;
}

/// A port opens for the endpoint that the image ties to it by number and key; for no other.
void Node::open_named_ports(swap::Enforced& enforced) const {
  enforced.view.for_each_local([&](std::uint32_t number) {
    const image::Endpoint& endpoint = enforced.view.endpoint(number);
    if (endpoint.port == 0 || endpoint.port_key == 0) return;
    const port::Port* port = ports_.at(endpoint.port);
    if (port != nullptr && port->role() == abi::kRoleEndpoint &&
        port->request().port_key == endpoint.port_key)
      enforced.endpoint_of_port[endpoint.port].store(number, std::memory_order_relaxed);
  });
}

Reply Node::image(const abi::ImageRequest& request) {
  const swap::Enforced* enforced = publisher_.enforced();
  if (enforced == nullptr) return Reply::error("no image is enforced: nothing is forwarded");
  abi::ImageReply reply{};
  reply.generation = enforced->generation;
  reply.sections = static_cast<std::uint32_t>(enforced->sections.size());
  std::vector<int> fds;
  for (std::size_t i = request.from; i < enforced->sections.size() && reply.count < abi::kFdsMax; ++i) {
    const swap::Section& section = enforced->sections[i]->section;
    reply.bytes[reply.count++] = section.bytes().size();
    fds.push_back(section.fd());
  }
  return Reply::of(reply, std::move(fds));
}

}  // namespace bulkhead::control
