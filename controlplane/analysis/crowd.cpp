#include "controlplane/analysis/crowd.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "controlplane/compile/intern.h"

namespace bulkhead::analysis {
namespace {

using policies::AddressBlock;
using policies::IpBlock;
using policies::Peer;

const policies::Labels kNoLabels;

/// One end of a demand, its peers by kind.
struct Side {
  explicit Side(const std::vector<Peer>& peers) {
    for (const Peer& peer : peers) {
      everyone |= std::holds_alternative<policies::Everyone>(peer);
      world |= std::holds_alternative<policies::World>(peer);
      host |= std::holds_alternative<policies::LocalNode>(peer);
      if (const auto* selector = std::get_if<policies::EndpointSelector>(&peer))
        selectors.push_back(selector);
      if (const auto* selector = std::get_if<policies::NodeSelector>(&peer)) nodes.push_back(selector);
      if (const auto* block = std::get_if<IpBlock>(&peer)) blocks.push_back(block);
    }
  }

  bool everyone = false, world = false, host = false;
  std::vector<const policies::EndpointSelector*> selectors;
  std::vector<const policies::NodeSelector*> nodes;
  std::vector<const IpBlock*> blocks;

  bool means_world(const abi::Address& address) const {
    return everyone || world || in_blocks(address, true);
  }
  bool in_blocks(const abi::Address& address, bool nobodys) const {
    return std::any_of(blocks.begin(), blocks.end(), [&](const IpBlock* block) {
      return (nobodys || !block->world_only) && block->contains(address.bytes);
    });
  }
};

AddressBlock half(const AddressBlock& block, bool upper) {
  AddressBlock result{block.base, static_cast<std::uint8_t>(block.prefix_bits + 1)};
  if (upper)
    result.base[block.prefix_bits / 8] =
        static_cast<std::uint8_t>(result.base[block.prefix_bits / 8] | 0x80u >> block.prefix_bits % 8);
  return result;
}

bool within(const AddressBlock& inner, const AddressBlock& outer) {
  return inner.prefix_bits >= outer.prefix_bits &&
         Block{{outer.base}, outer.prefix_bits, {}}.contains({inner.base});
}

class Gatherer {
 public:
  Gatherer(const Space& space, const Owners& owners, const policies::Demand& demand)
      : space_(space), owners_(owners), demand_(demand), from_(demand.from), to_(demand.to) {
    result_.from_host = from_.host;
    result_.to_host = to_.host;
    for (const Side* side : {&from_, &to_})
      for (const IpBlock* block : side->blocks) {
        cuts_.push_back(block->block);
        cuts_.insert(cuts_.end(), block->except.begin(), block->except.end());
      }
    names_ = std::any_of(demand.ports.begin(), demand.ports.end(),
                         [](const policies::PortMatch& port) { return !port.name.empty(); });
    ports_of({});  // of those who name none
  }

  Crowds run() {
    for (std::uint32_t number = 0; number < space_.addresses().size(); ++number) add_class(number);
    for (const Crowd& crowd : result_.crowds) result_.fingerprint += fingerprint(crowd);
    for (const auto& ports : result_.ports)
      for (const PortRange& range : ports)
        result_.fingerprint =
            compile::mix(result_.fingerprint,
                         std::uint64_t{range.slot} << 32 | std::uint64_t{range.first} << 16 | range.last);
    return std::move(result_);
  }

 private:
  void add_class(std::uint32_t number) {
    const AddressClass& each = space_.addresses()[number];
    const image::Record record = space_.view(kAfter).record(each.record[kAfter]);
    const image::Record first = space_.view(kBefore).record(each.record[kBefore]);
    Crowd crowd;
    for (std::uint32_t direction = 0; direction < image::kDirections; ++direction) {
      crowd.subject[direction] = record.subject[direction];
      crowd.peer[direction] = record.peer[direction];
    }
    crowd.v4 = each.v4;
    crowd.is_endpoint = (record.flags & image::kRecordEndpoint) != 0;
    crowd.is_node = (record.flags & image::kRecordNode) != 0;
    crowd.judged_here = crowd.is_endpoint && first.subject[image::kIngress] != image::kNoSubject;
    bool selected_from = from_.everyone, selected_to = to_.everyone;
    // A record is of one identity, so one of its endpoints tells for all.
    for (std::size_t i = 0; i < each.members.size(); ++i) {
      const Member& member = each.members[i];
      const Owner owner = owners_.of(member.address);
      if (owner.endpoint != kNoOne && i == 0) {
        const auto selects = [&](const policies::EndpointSelector* selector) {
          return owners_.selects(*selector, owner.endpoint);
        };
        selected_from |= std::any_of(from_.selectors.begin(), from_.selectors.end(), selects);
        selected_to |= std::any_of(to_.selectors.begin(), to_.selectors.end(), selects);
      }
      crowd.as_sender = selected_from || means(from_, owner, member.address);
      crowd.as_receiver = selected_to || means(to_, owner, member.address);
      crowd.node = from_.host || to_.host ? owner.node : 0;
      crowd.ports = names_ && owner.endpoint != kNoOne ? ports_of(owners_.endpoint(owner.endpoint).ports) : 0;
      add(crowd, number, {member.address, owner.endpoint});
    }
    crowd.node = crowd.ports = 0;
    for (const Block& block : each.blocks)
      add_block(crowd, number, {block.base.bytes, block.prefix_bits}, cuts_);
  }

  /// Other than by label.
  bool means(const Side& side, const Owner& owner, const abi::Address& address) const {
    if (!side.blocks.empty() && side.in_blocks(address, false)) return true;
    return owner.endpoint == kNoOne &&
           std::any_of(side.nodes.begin(), side.nodes.end(),
                       [&](const auto* nodes) { return owners_.selects(*nodes, owner.node); });
  }

  /// Nobody's addresses, divided until no block of the demand ends inside.
  void add_block(Crowd& crowd, std::uint32_t number, const AddressBlock& block,
                 const std::vector<AddressBlock>& cuts) {
    if (!crowd.v4 && block.is_v4()) return;
    std::vector<AddressBlock> inside;
    for (const AddressBlock& cut : cuts)
      if (cut.prefix_bits > block.prefix_bits && cut.is_v4() == crowd.v4 && analysis::within(cut, block))
        inside.push_back(cut);
    if (!inside.empty()) {
      for (const bool upper : {false, true}) add_block(crowd, number, half(block, upper), inside);
      return;
    }
    const auto free = space_.free_address({block.base}, block.prefix_bits);
    if (!free) return;
    crowd.as_sender = from_.means_world(*free);
    crowd.as_receiver = to_.means_world(*free);
    add(crowd, number, {*free, kNoOne});
  }

  void add(const Crowd& like, std::uint32_t number, const Somebody& somebody) {
    if (!result_.may_send(like) && !result_.may_receive(like)) return;
    const std::uint32_t traits = static_cast<std::uint32_t>(like.v4) | std::uint32_t{like.is_endpoint} << 1 |
                                 std::uint32_t{like.is_node} << 2 | std::uint32_t{like.judged_here} << 3 |
                                 std::uint32_t{like.as_sender} << 4 | std::uint32_t{like.as_receiver} << 5;
    const std::uint32_t place = known_.intern(
        {like.subject[0], like.subject[1], like.peer[0], like.peer[1], traits, like.node, like.ports});
    if (place == result_.crowds.size()) result_.crowds.push_back(like);
    Crowd& crowd = result_.crowds[place];
    if (crowd.somebody.empty() || (crowd.somebody.size() == 1 && somebody.endpoint != kNoOne &&
                                   crowd.somebody[0].endpoint != somebody.endpoint))
      crowd.somebody.push_back(somebody);
    if (crowd.classes.empty() || crowd.classes.back() != number) crowd.classes.push_back(number);
  }

  /// The number of the port list that holds for a receiver with these names.
  std::uint32_t ports_of(const std::vector<policies::NamedPort>& named) {
    std::vector<PortRange> ranges;
    const auto add = [&](policies::Protocol protocol, std::uint32_t first, std::uint32_t last) {
      const auto slot = static_cast<image::ProtocolSlot>(protocol);  // both are in one order
      last = std::min(last, ports_of_slot(slot) - 1);
      if (first <= last)
        ranges.push_back({slot, static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(last)});
    };
    for (std::uint32_t slot = 0; demand_.all_ports && slot < image::kProtocolSlots; ++slot)
      add(static_cast<policies::Protocol>(slot), 0, 0xffff);
    for (const policies::PortMatch& port : demand_.ports) {
      if (port.name.empty()) add(port.protocol, port.first, port.last);
      for (const policies::NamedPort& each : named)
        if (!port.name.empty() && each.name == port.name && each.protocol == port.protocol)
          add(port.protocol, each.port, each.port);
    }
    ranges = joined(std::move(ranges));
    std::vector<std::uint32_t> key;
    for (const PortRange& range : ranges)
      key.insert(key.end(), {range.slot, std::uint32_t{range.first} << 16 | range.last});
    const std::uint32_t number = known_ports_.intern(key);
    if (number == result_.ports.size()) result_.ports.push_back(std::move(ranges));
    return number;
  }

  static std::uint32_t ports_of_slot(image::ProtocolSlot slot) { return analysis::ports_of(slot); }

  std::uint64_t fingerprint(const Crowd& crowd) const {
    std::uint64_t hash = compile::mix(crowd.somebody.size(), crowd.ports);
    for (const std::uint32_t word :
         {crowd.subject[0], crowd.subject[1], crowd.peer[0], crowd.peer[1], crowd.node})
      hash = compile::mix(hash, word);
    for (const bool trait :
         {crowd.v4, crowd.is_endpoint, crowd.is_node, crowd.judged_here, crowd.as_sender, crowd.as_receiver})
      hash = compile::mix(hash, trait);
    // A crowd of one may be the endpoint at the other end, too.
    if (crowd.somebody.size() == 1 && crowd.is_endpoint)
      hash = compile::mix(hash, std::string_view(owners_.endpoint(crowd.somebody[0].endpoint).id));
    return hash;
  }

  const Space& space_;
  const Owners& owners_;
  const policies::Demand& demand_;
  const Side from_, to_;
  std::vector<AddressBlock> cuts_;
  bool names_ = false;
  compile::ListTable known_, known_ports_;
  Crowds result_;
};

}  // namespace

std::size_t Owners::Hash::operator()(const policies::AddressBytes& address) const {
  std::uint64_t high, low;
  std::memcpy(&high, address.data(), 8);
  std::memcpy(&low, address.data() + 8, 8);
  return compile::mix(compile::mix(0, high), low);
}

std::uint32_t Owners::node_number(std::string_view name) {
  const auto [place, is_new] = node_of_name_.try_emplace(name, static_cast<std::uint32_t>(nodes_.size()));
  if (is_new) nodes_.push_back(&kNoLabels);
  return place->second;
}

Owners::Owners(const compile::Input& input) : input_(input) {
  const policies::Cluster& cluster = input.cluster;
  for (const auto& each : cluster.namespaces) namespaces_.emplace(each.name, &each.labels);
  owners_.reserve(cluster.endpoints.size() * 2);
  for (std::uint32_t number = 0; number < cluster.endpoints.size(); ++number) {
    const policies::Endpoint& endpoint = cluster.endpoints[number];
    const std::uint32_t node = node_number(endpoint.node.empty() ? input.node.name : endpoint.node);
    if (endpoint.host_network) continue;
    for (const auto& address : endpoint.addresses) owners_.try_emplace(address, Owner{number, node});
  }
  const std::uint32_t own = node_number(input.node.name);
  for (const policies::Node& node : cluster.nodes) {
    const std::uint32_t number = node_number(node.name);
    nodes_[number] = &node.labels;
    for (const auto& address : node.addresses) owners_.try_emplace(address, Owner{kNoOne, number});
  }
  for (const auto& address : input.node.addresses) owners_.try_emplace(address, Owner{kNoOne, own});
}

Owner Owners::of(const abi::Address& address) const {
  const auto found = owners_.find(address.bytes);
  return found == owners_.end() ? Owner{} : found->second;
}

bool Owners::selects(const policies::EndpointSelector& selector, std::uint32_t number) const {
  const policies::Endpoint& endpoint = input_.cluster.endpoints[number];
  const auto home = namespaces_.find(endpoint.namespace_name);
  return selector.matches(endpoint, home == namespaces_.end() ? kNoLabels : *home->second);
}

bool Owners::selects(const policies::NodeSelector& selector, std::uint32_t node) const {
  return node != kNoOne && selector.nodes.matches(*nodes_[node]);
}

Crowds gather(const Space& space, const Owners& owners, const policies::Demand& demand) {
  return Gatherer(space, owners, demand).run();
}

std::optional<Pair> apart(const Crowd& from, const Crowd& to) {
  for (const Somebody& source : from.somebody)
    for (const Somebody& destination : to.somebody)
      if (source.endpoint == kNoOne || source.endpoint != destination.endpoint)
        return Pair{source.address, destination.address};
  return std::nullopt;
}

}  // namespace bulkhead::analysis
