#include "controlplane/compile/profiles.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>
#include <utility>

namespace bulkhead::compile {
namespace {

void append_number(std::uint64_t number, std::string& out) {
  for (int shift = 0; shift < 64; shift += 8) out += static_cast<char>(number >> shift & 0xff);
}

void append_text(std::string_view text, std::string& out) {
  append_number(text.size(), out);
  out += text;
}

void append_region(const policies::AddressBlock& region, std::string& out) {
  out.append(reinterpret_cast<const char*>(region.base.data()), region.base.size());
  out += static_cast<char>(region.prefix_bits);
}

struct PortsHash {
  std::size_t operator()(const std::vector<policies::NamedPort>* ports) const {
    std::uint64_t hash = ports->size();
    for (const auto& port : *ports)
      hash = mix(mix(hash, port.name),
                 std::uint64_t{port.port} << 8 | static_cast<std::uint64_t>(port.protocol));
    return hash;
  }
};
struct PortsEqual {
  bool operator()(const std::vector<policies::NamedPort>* a,
                  const std::vector<policies::NamedPort>* b) const {
    return *a == *b;
  }
};

class Seer {
 public:
  Seer(const Census& census, const Blocks& blocks, const std::vector<std::uint32_t>& quarantine_of)
      : census_(census), blocks_(blocks), quarantine_of_(quarantine_of) {}

  Profiles run() {
    for (std::uint32_t index = 0; index < census_.members.size(); ++index) {
      const Member& member = census_.members[index];
      const auto addresses = sorted_addresses(*member.endpoint);
      if (addresses.empty()) continue;
      const auto ports =
          ports_.try_emplace(&member.endpoint->ports, static_cast<std::uint32_t>(ports_.size())).first;
      for (const auto& address : addresses)
        bind({address, index, member.node, 0}, &*ports, blocks_.region_of(address));
    }
    for (std::uint32_t node = 0; node < census_.nodes.size(); ++node)
      for (const auto& address : census_.nodes[node].addresses)
        bind({address, kNone, node, 0}, nullptr, blocks_.region_of(address));
    sort();
    return std::move(result_);
  }

 private:
  using KnownPorts =
      std::unordered_map<const std::vector<policies::NamedPort>*, std::uint32_t, PortsHash, PortsEqual>;

  void bind(Bound bound, const KnownPorts::value_type* ports, std::uint32_t region) {
    const Member* member = bound.member == kNone ? nullptr : &census_.members[bound.member];
    const bool subject = member != nullptr && member->subject;
    const std::uint32_t node = member == nullptr || subject ? bound.node : kNone;
    const std::uint32_t identity = member == nullptr ? kNone : member->identity;
    const std::uint32_t kubernetes = member != nullptr && member->endpoint->kubernetes ? 1 : 0;
    const std::uint32_t quarantine = member == nullptr ? kNone : quarantine_of_[bound.member];
    bound.seen = known_.intern({identity, ports == nullptr ? kNone : ports->second,
                                kubernetes << 1 | (subject ? 1u : 0u), node, region, quarantine});
    const auto place = static_cast<std::uint32_t>(result_.bound.size());
    result_.bound.push_back(bound);
    if (bound.seen == result_.seen.size()) {
      Seen seen{{}, 0, identity, node, region, kubernetes != 0, subject, quarantine, nullptr, {place, kNone}};
      if (ports != nullptr) seen.ports = ports->first;
      encode(seen);
      seen.content = identity::identify(content_);
      seen.profile = profile_number(seen.content);
      result_.seen.push_back(seen);
    } else if (Seen& seen = result_.seen[bound.seen];
               seen.examples[1] == kNone && differ(result_.bound[seen.examples[0]], bound)) {
      seen.examples[1] = place;
    }
  }

  static bool differ(const Bound& a, const Bound& b) { return a.member != b.member || a.node != b.node; }

  void encode(const Seen& seen) {
    content_.clear();
    const policies::AddressBlock& region = blocks_.regions()[seen.region].prefix;
    if (seen.ports == nullptr)
      encode_node(census_.nodes[seen.node].name, region, content_);
    else
      encode_endpoint(census_.identities[seen.identity].id,
                      *census_.members[result_.bound[seen.examples[0]].member].endpoint, seen.subject,
                      seen.quarantine != kNone,
                      seen.node == kNone ? std::string_view() : census_.nodes[seen.node].name, region,
                      content_);
  }

  void sort() {
    std::vector<std::uint32_t> order(result_.seen.size()), place(result_.seen.size());
    for (std::uint32_t i = 0; i < order.size(); ++i) order[i] = i;
    const auto by_profile = [&](std::uint32_t a, std::uint32_t b) {
      return result_.seen[a].profile < result_.seen[b].profile;
    };
    std::sort(order.begin(), order.end(), by_profile);
    while (tell_apart(order)) std::sort(order.begin(), order.end(), by_profile);
    std::vector<Seen> sorted;
    sorted.reserve(order.size());
    for (const std::uint32_t old : order) {
      place[old] = static_cast<std::uint32_t>(sorted.size());
      sorted.push_back(result_.seen[old]);
    }
    result_.seen = std::move(sorted);
    for (Bound& bound : result_.bound) bound.seen = place[bound.seen];
  }

  /// Whether any two had one number. All but the first of those, by content, get another: 64 bits are few enough that
  /// somebody who may choose labels could look for such a pair, and nothing must come of it.
  bool tell_apart(const std::vector<std::uint32_t>& order) {
    bool found = false;
    for (std::size_t first = 0, end; first < order.size(); first = end) {
      std::vector<std::uint32_t> alike;
      for (end = first;
           end < order.size() && result_.seen[order[end]].profile == result_.seen[order[first]].profile;)
        alike.push_back(order[end++]);
      if (alike.size() == 1) continue;
      found = true;
      std::sort(alike.begin(), alike.end(), [&](std::uint32_t a, std::uint32_t b) {
        return result_.seen[a].content < result_.seen[b].content;
      });
      for (std::size_t i = 1; i < alike.size(); ++i) {
        encode(result_.seen[alike[i]]);
        content_ += std::to_string(result_.seen[alike[i]].profile);
        result_.seen[alike[i]].profile = profile_number(identity::identify(content_));
      }
    }
    return found;
  }

  const Census& census_;
  const Blocks& blocks_;
  const std::vector<std::uint32_t>& quarantine_of_;
  Profiles result_;
  ListTable known_;
  KnownPorts ports_;
  std::string content_;
};

}  // namespace

std::vector<policies::AddressBytes> sorted_addresses(const policies::Endpoint& endpoint) {
  std::vector<policies::AddressBytes> addresses = endpoint.addresses;
  std::sort(addresses.begin(), addresses.end());
  addresses.erase(std::unique(addresses.begin(), addresses.end()), addresses.end());
  return addresses;
}

image::Profile profile_number(const identity::Id& content) {
  image::Profile number;
  std::memcpy(&number, content.bytes.data(), sizeof number);
  return number != 0 ? number : 1;
}

void encode_endpoint(const identity::Id& identity, const policies::Endpoint& endpoint, bool subject,
                     bool quarantined, std::string_view node, const policies::AddressBlock& region,
                     std::string& out) {
  out += 'e';
  out.append(reinterpret_cast<const char*>(identity.bytes.data()), identity.bytes.size());
  out += static_cast<char>((quarantined ? 4 : 0) | (endpoint.kubernetes ? 2 : 0) | (subject ? 1 : 0));
  if (quarantined) {  // each is alone: whom the denial names
    append_text(endpoint.namespace_name, out);
    append_text(endpoint.name, out);
  }
  append_text(node, out);
  append_region(region, out);
  for (const auto& port : endpoint.ports) {
    out += static_cast<char>(port.protocol);
    append_number(port.port, out);
    append_text(port.name, out);
  }
}

void encode_node(std::string_view node, const policies::AddressBlock& region, std::string& out) {
  out += 'n';
  append_text(node, out);
  append_region(region, out);
}

Profiles see(const Census& census, const Blocks& blocks, const std::vector<std::uint32_t>& quarantine_of) {
  return Seer(census, blocks, quarantine_of).run();
}

}  // namespace bulkhead::compile
