#include "tools/ctl/ends.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <tuple>

#include "tools/ctl/command.h"
#include "tools/ctl/spelling.h"

namespace bulkhead::ctl {
namespace {

constexpr std::string_view kProtocols[] = {"tcp", "udp", "sctp", "icmp", "icmpv6", "proto"};

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

std::optional<std::uint32_t> parse_number(const std::string& text, std::uint32_t max) {
  if (text.empty() || text.size() > 5 ||
      !std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c); }))
    return std::nullopt;
  const auto number = static_cast<std::uint32_t>(std::stoul(text));
  return number <= max ? std::optional(number) : std::nullopt;
}

End end_of(const image::View& view, std::uint32_t index) {
  const auto addresses = view.addresses_of(index);
  End end{endpoint_name(view, index), {addresses.begin(), addresses.end()}};
  if (end.addresses.empty())
    throw Failure(kExitRefused, escape(end.name) + " has no address: nothing can be sent to it or by it");
  return end;
}

/// An outside address whose judgement is that of most of the IPv4 space: found in the trie's first level that
/// has records, so that a few blocks of policy do not speak for the whole world.
abi::Address typical_world_address(const image::View& view) {
  abi::Address address = abi::address_v4(0);
  std::uint32_t node = view.policy->trie_root_v4;
  for (std::size_t byte = 12; byte < 16; ++byte) {
    std::map<std::uint32_t, std::pair<std::uint32_t, std::uint32_t>> shares;  // record -> how many, one entry
    const std::uint32_t* entries = view.trie + std::uint64_t{node} * image::kTrieEntries;
    for (std::uint32_t i = 0; i < image::kTrieEntries; ++i) {
      // 0/8, loopback and above 223 are nobody's unicast addresses.
      const bool unicast = byte > 12 || (i > 0 && i < 224 && i != 127);
      if (!unicast || (entries[i] & image::kTrieChildBit) != 0) continue;
      auto& [count, entry] = shares[entries[i]];
      ++count;
      entry = i;
    }
    const auto most = std::max_element(shares.begin(), shares.end(), [](const auto& a, const auto& b) {
      return a.second.first < b.second.first;
    });
    if (most != shares.end()) {
      address.bytes[byte] = static_cast<std::uint8_t>(most->second.second);
      if (byte < 15) address.bytes[15] = 1;
      return address;
    }
    address.bytes[byte] = 1;
    node = entries[1] & ~image::kTrieChildBit;
  }
  return address;
}

}  // namespace

std::string address_text(const abi::Address& address) {
  char text[INET6_ADDRSTRLEN];
  if (address.is_v4()) {
    inet_ntop(AF_INET, address.bytes.data() + 12, text, sizeof text);
  } else {
    inet_ntop(AF_INET6, address.bytes.data(), text, sizeof text);
  }
  return text;
}

std::optional<abi::Address> parse_address(const std::string& text) {
  abi::Address address;
  in_addr v4{};
  if (inet_pton(AF_INET, text.c_str(), &v4) == 1) return abi::address_v4(ntohl(v4.s_addr));
  if (inet_pton(AF_INET6, text.c_str(), address.bytes.data()) == 1) return address;
  return std::nullopt;
}

std::string endpoint_name(const image::View& view, std::uint32_t index) {
  if (index == 0) return "";
  const std::string name(view.name_of(index));
  if ((view.endpoint(index).flags & image::kEndpointNode) != 0 && name.empty()) return "host";
  const std::string namespace_name(view.namespace_of(index));
  return namespace_name.empty() ? name : namespace_name + "/" + name;
}

std::vector<std::uint32_t> endpoints_by_name(const image::View& view) {
  std::vector<std::uint32_t> numbers;
  view.for_each_endpoint([&](std::uint32_t number) { numbers.push_back(number); });
  const auto order = [&](std::uint32_t number) {
    return std::tuple((view.endpoint(number).flags & image::kEndpointNode) != 0, view.namespace_of(number),
                      view.name_of(number), view.id_of(number));
  };
  std::sort(numbers.begin(), numbers.end(),
            [&](std::uint32_t a, std::uint32_t b) { return order(a) < order(b); });
  return numbers;
}

std::string name_of(const image::View& view, const abi::Address& address) {
  const image::Bound bound = image::bind(view, address);
  return bound.endpoint != 0 ? endpoint_name(view, bound.endpoint) : address_text(address);
}

Value identity_value(const image::View& view, std::uint32_t number) {
  if (number == 0) return nullptr;
  std::string id;
  static constexpr char kDigits[] = "0123456789abcdef";
  for (const std::uint8_t byte : view.identity(number).id) {
    id += kDigits[byte >> 4];
    id += kDigits[byte & 15];
  }
  return {{"id", id},
          {"namespace", view.namespace_of_identity(number)},
          {"labels", view.labels_of_identity(number)}};
}

End resolve_end(const image::View& view, const std::string& text) {
  if (const auto address = parse_address(text)) return {address_text(*address), {*address}};
  if (text == "world") return {"world", {typical_world_address(view)}};

  std::vector<std::uint32_t> found;
  std::vector<std::string> names;
  for (const std::uint32_t number : endpoints_by_name(view)) {
    const std::string full = endpoint_name(view, number);
    const bool node = (view.endpoint(number).flags & image::kEndpointNode) != 0;
    if (full == text || view.name_of(number) == text || (text == "host" && node)) found.push_back(number);
    names.push_back(full);
    names.emplace_back(view.name_of(number));
  }
  if (found.size() == 1) return end_of(view, found[0]);
  if (found.size() > 1) {
    for (const std::uint32_t i : found)
      if (endpoint_name(view, i) == text) return end_of(view, i);
    std::string choice;
    for (const std::uint32_t i : found)
      choice += (choice.empty() ? "" : ", ") + escape(endpoint_name(view, i));
    throw Failure(kExitUsage, "'" + escape(text) + "' is the name of several endpoints: " + choice);
  }
  if (text == "host") throw Failure(kExitUsage, "the image knows no address of this node: 'host' is nobody");
  throw Failure(kExitUsage, "the image has no endpoint '" + escape(text) + "'" + did_you_mean(text, names) +
                                "; expected namespace/name, an address, host or world");
}

Port parse_port(const std::string& text) {
  const auto slash = text.find('/');
  std::string protocol = lower(text.substr(0, slash));
  std::string number = slash == std::string::npos ? "" : text.substr(slash + 1);
  // Kubernetes and Docker write 443/TCP.
  if (!protocol.empty() && std::isdigit(static_cast<unsigned char>(protocol[0])) &&
      slash != std::string::npos) {
    std::swap(protocol, number);
    protocol = lower(protocol);
  }
  const std::string expected =
      "; expected tcp/443, udp/53, sctp/2905, icmp[/TYPE], icmpv6[/TYPE] or proto/47";
  const auto known = std::find(std::begin(kProtocols), std::end(kProtocols), protocol);
  if (known == std::end(kProtocols)) {
    throw Failure(kExitUsage, "'" + escape(text) + "' is no port" +
                                  did_you_mean(protocol, {std::begin(kProtocols), std::end(kProtocols)}) +
                                  expected);
  }
  const auto slot = static_cast<image::ProtocolSlot>(known - std::begin(kProtocols));
  if (slash == std::string::npos && slot == image::kIcmp) return {slot, 8};
  if (slash == std::string::npos && slot == image::kIcmpV6) return {slot, 128};
  const auto parsed = parse_number(number, slot >= image::kIcmp ? 255 : 65535);
  if (!parsed) throw Failure(kExitUsage, "'" + escape(text) + "' has no valid number" + expected);
  return {slot, static_cast<std::uint16_t>(*parsed)};
}

std::string_view protocol_name(image::ProtocolSlot slot) {
  return kProtocols[slot];
}

std::string protocol_name(std::uint8_t protocol) {
  const image::ProtocolSlot slot = image::protocol_slot(protocol);
  if (slot == image::kOtherProtocol) return "proto " + std::to_string(protocol);
  return std::string(protocol_name(slot));
}

std::string port_text(const Port& port) {
  return std::string(protocol_name(port.slot)) + "/" + std::to_string(port.number);
}

}  // namespace bulkhead::ctl
