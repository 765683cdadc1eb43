// `endpoints`, `identities` and `ports`: who is there, by the enforced image, and how they are connected.
#include <algorithm>
#include <map>
#include <tuple>
#include <vector>

#include "tools/ctl/ask.h"
#include "tools/ctl/command.h"
#include "tools/ctl/ends.h"

namespace bulkhead::ctl {
namespace {

std::string text_of(const Value& object, const char* key) {
  return plain(object[key]);
}

Value endpoint_value(const image::View& view, std::uint32_t index) {
  const image::Endpoint& endpoint = view.endpoint(index);
  Value addresses = Value::array();
  for (const abi::Address& address : view.addresses_of(index)) addresses.push_back(address_text(address));
  const Value identity = identity_value(view, image::identity_of(view, index));
  return {{"endpoint", endpoint_name(view, index)},
          {"namespace", view.namespace_of(index)},
          {"name", view.name_of(index)},
          {"id", view.id_of(index)},
          {"addresses", std::move(addresses)},
          {"port", endpoint.port},
          {"local", (endpoint.flags & image::kEndpointLocal) != 0},
          {"node", (endpoint.flags & image::kEndpointNode) != 0},
          {"labels", identity.is_null() ? Value("") : identity["labels"]},
          {"identity", identity.is_null() ? Value(nullptr) : identity["id"]}};
}

Answer endpoints(const Invocation& invocation) {
  const Image image = image_of(invocation);
  Value list = Value::array();
  for (const std::uint32_t number : endpoints_by_name(image.view)) {
    Value endpoint = endpoint_value(image.view, number);
    if (invocation.has("namespace") && endpoint["namespace"] != invocation.text("namespace")) continue;
    list.push_back(std::move(endpoint));
  }
  return {{{"generation", image.generation}, {"endpoints", std::move(list)}},
          [](const Value& value, Terminal& terminal) {
            Table table({{"ENDPOINT"}, {"ADDRESSES"}, {"PORT", true}, {"LABELS"}});
            for (const Value& endpoint : value["endpoints"]) {
              const bool here = endpoint["port"] != 0u;
              table.row({text_of(endpoint, "endpoint"), text_of(endpoint, "addresses"),
                         here ? text_of(endpoint, "port") : "-", text_of(endpoint, "labels")},
                        here ? Colour::kPlain : Colour::kDim);
            }
            table.print(terminal);
          }};
}

Answer identities(const Invocation& invocation) {
  const Image image = image_of(invocation);
  std::map<std::uint32_t, Value> members;
  for (const std::uint32_t number : endpoints_by_name(image.view)) {
    auto& names = members[image::identity_of(image.view, number)];
    if (names.is_null()) names = Value::array();
    names.push_back(endpoint_name(image.view, number));
  }
  std::vector<std::uint32_t> numbers;
  image.view.for_each_identity([&](std::uint32_t number) { numbers.push_back(number); });
  const auto order = [&](std::uint32_t number) {
    return std::tuple(image.view.namespace_of_identity(number), image.view.labels_of_identity(number),
                      number);
  };
  std::sort(numbers.begin(), numbers.end(),
            [&](std::uint32_t a, std::uint32_t b) { return order(a) < order(b); });
  Value list = Value::array();
  for (const std::uint32_t number : numbers) {
    Value identity = identity_value(image.view, number);
    identity["endpoints"] = members.contains(number) ? members[number] : Value::array();
    list.push_back(std::move(identity));
  }
  return {{{"generation", image.generation}, {"identities", std::move(list)}},
          [](const Value& value, Terminal& terminal) {
            Table table({{"IDENTITY"}, {"NAMESPACE"}, {"LABELS"}, {"ENDPOINTS"}});
            for (const Value& identity : value["identities"])
              table.row({text_of(identity, "id").substr(0, 12), text_of(identity, "namespace"),
                         text_of(identity, "labels"), text_of(identity, "endpoints")});
            table.print(terminal);
          }};
}

std::string_view kind_name(abi::PortKind kind) {
  switch (kind) {
    case abi::PortKind::kTap:
      return "tap";
    case abi::PortKind::kVeth:
      return "veth";
    case abi::PortKind::kEthdev:
      return "ethdev";
  }
  return "unknown";
}

std::string_view role_name(abi::PortRole role) {
  switch (role) {
    case abi::PortRole::kRoleEndpoint:
      return "endpoint";
    case abi::PortRole::kRoleHost:
      return "host";
    case abi::PortRole::kRoleUplink:
      return "uplink";
  }
  return "unknown";
}

std::string mac_text(const abi::Mac& mac) {
  char text[18];
  std::snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", mac.bytes[0], mac.bytes[1], mac.bytes[2],
                mac.bytes[3], mac.bytes[4], mac.bytes[5]);
  return text;
}

Value port_value(const abi::PortInfo& port, const std::string& endpoint) {
  const bool lost = (port.flags & abi::kPortLostDevice) != 0;
  const bool open = port.role != abi::PortRole::kRoleEndpoint || (port.flags & abi::kPortOpen) != 0;
  return {{"port", port.port},
          {"kind", kind_name(port.kind)},
          {"role", role_name(port.role)},
          {"state", lost   ? "lost"
                    : open ? "open"
                           : "hold"},
          {"endpoint", endpoint},
          {"interface", port.interface_name},
          {"device", port.device},
          {"netns", port.netns_path},
          {"mac", mac_text(port.mac)},
          {"mtu", port.mtu},
          {"vlan", port.vlan},
          {"offload", (port.flags & abi::kPortOffload) != 0},
          {"worker", port.worker}};
}

Answer ports(const Invocation& invocation) {
  publish::Channel channel = dataplane(invocation);
  std::map<std::uint32_t, std::string> owners;
  Value generation = 0;
  // Ports are worth showing before the first image, when every one of them is on hold.
  if (channel.hello().generation != 0) {
    const Image image = enforced_image(channel);
    generation = image.generation;
    image.view.for_each_local([&](std::uint32_t number) {
      owners[image.view.endpoint(number).port] = endpoint_name(image.view, number);
    });
  }
  Value list = Value::array();
  for (const abi::PortInfo& port : channel.ports()) list.push_back(port_value(port, owners[port.port]));
  return {
      {{"generation", generation}, {"ports", std::move(list)}}, [](const Value& value, Terminal& terminal) {
        Table table({{"PORT", true},
                     {"KIND"},
                     {"ROLE"},
                     {"STATE"},
                     {"ENDPOINT"},
                     {"INTERFACE"},
                     {"MAC"},
                     {"MTU", true},
                     {"OFFLOAD"},
                     {"WORKER", true},
                     {"NETNS"}});
        for (const Value& port : value["ports"]) {
          const std::string device = text_of(port, "device");
          table.row(
              {text_of(port, "port"), text_of(port, "kind"), text_of(port, "role"), text_of(port, "state"),
               text_of(port, "endpoint"), device.empty() ? text_of(port, "interface") : device,
               text_of(port, "mac"), text_of(port, "mtu"), text_of(port, "offload"), text_of(port, "worker"),
               text_of(port, "netns")},
              port["state"] == "open"   ? Colour::kPlain
              : port["state"] == "lost" ? Colour::kBad
                                        : Colour::kWarn);
        }
        table.print(terminal);
      }};
}

const Option kImageOption = {"image", "FILE", "read an image file instead of asking the data plane", false,
                             Completes::kFiles};

}  // namespace

std::vector<Command> endpoint_commands() {
  return {
      {"endpoints",
       "",
       "who is in the enforced image, with addresses and labels",
       "Lists the endpoints that the enforced image knows: name, addresses, labels, and the number of the\n"
       "port here (0 or '-': on another node).",
       "  bulkheadctl endpoints --namespace shop\n"
       "  bulkheadctl endpoints -o json | jq -r '.endpoints[].endpoint'",
       {{"namespace,n", "NAME", "only endpoints of this namespace", false, Completes::kNothing},
        kImageOption},
       nullptr,
       endpoints},
      {"identities",
       "",
       "the label sets that policy tells apart",
       "Lists the identities of the enforced image. An identity is a namespace and a set of labels; its\n"
       "number is derived from them and the same on every node.",
       "  bulkheadctl identities",
       {kImageOption},
       nullptr,
       identities},
      {"ports",
       "",
       "the data plane's ports: kind, state, owner",
       "Lists the attached ports. State 'hold': nothing passes until the endpoint's identity is enforced;\n"
       "'lost': the device has vanished.",
       "  bulkheadctl ports\n"
       "  bulkheadctl ports -o json | jq '.ports[] | select(.state != \"open\")'",
       {},
       nullptr,
       ports},
  };
}

}  // namespace bulkhead::ctl
