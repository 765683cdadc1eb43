// `flows`: the conversations that live now, and those that were denied lately.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <ctime>

#include "tools/ctl/ask.h"
#include "tools/ctl/command.h"
#include "tools/ctl/ends.h"
#include "tools/ctl/explain.h"

namespace bulkhead::ctl {
namespace {

constexpr std::size_t kLimitDefault = 1000;

std::string_view state_name(const abi::FlowEntry& flow) {
  switch (flow.state) {
    case abi::FlowState::kNew:
      return flow.protocol == 6 ? "syn" : "new";
    case abi::FlowState::kSynAck:
      return "syn_ack";
    case abi::FlowState::kEstablished:
      return "established";
    case abi::FlowState::kClosing:
      return "closing";
    case abi::FlowState::kClosed:
      return "closed";
  }
  return "unknown";
}

std::uint64_t now_ms() {
  using namespace std::chrono;
  return static_cast<std::uint64_t>(
      duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count());
}

std::uint64_t boot_seconds() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec);
}

/// What a flow must be to be shown.
struct Filter {
  std::string namespace_name;
  std::string endpoint;  // as resolve_end shows it
  std::size_t limit = kLimitDefault;

  bool admits(const image::View& view, const abi::Address& a, const abi::Address& b) const {
    if (namespace_name.empty() && endpoint.empty()) return true;
    for (const abi::Address& address : {a, b}) {
      const std::uint32_t index = image::bind(view, address).endpoint;
      if (!endpoint.empty() && name_of(view, address) != endpoint) continue;
      if (!namespace_name.empty() && (index == 0 || view.namespace_of(index) != namespace_name)) continue;
      return true;
    }
    return false;
  }
};

/// Before anybody is asked: a wrong line is wrong whether or not a data plane answers.
std::size_t limit_of(const Invocation& invocation) {
  if (!invocation.has("limit")) return kLimitDefault;
  const std::string text = invocation.text("limit");
  if (text.empty() || text.size() > 9 || text.find_first_not_of("0123456789") != std::string::npos)
    throw Failure(kExitUsage, "--limit: '" + escape(text) + "' is no number; expected 0 (all) or more");
  const std::size_t limit = std::stoul(text);
  return limit == 0 ? SIZE_MAX : limit;
}

Filter filter_of(const Invocation& invocation, const image::View& view, std::size_t limit) {
  Filter filter;
  filter.limit = limit;
  filter.namespace_name = invocation.text("namespace");
  if (invocation.has("endpoint")) {
    const End end = resolve_end(view, invocation.text("endpoint"));
    filter.endpoint = name_of(view, end.addresses[0]);
  }
  return filter;
}

Value end_value(const image::View& view, const abi::Address& address, std::uint16_t port) {
  return {{"name", name_of(view, address)}, {"address", address_text(address)}, {"port", port}};
}

std::uint64_t joined(std::uint32_t high, std::uint32_t low) {
  return std::uint64_t{high} << 32 | low;
}

Value flow_value(const Image& image, const abi::FlowEntry& flow, const abi::FlowDetail& detail,
                 std::uint64_t clock_s) {
  const image::View& view = image.view;
  const bool current = flow.generation == static_cast<std::uint32_t>(image.generation);
  const auto rule = [&](std::uint32_t index) -> Value {
    // Rule numbers belong to the image that judged; another image's would name the wrong line.
    if (!current || index == 0 || index >= view.policy->rules.count) return nullptr;
    return rule_value(view, index);
  };
  const std::uint64_t now = now_ms();
  return {{"protocol", protocol_name(flow.protocol)},
          {"from", end_value(view, flow.source, flow.source_port)},
          {"to", end_value(view, flow.destination, flow.destination_port)},
          {"state", state_name(flow)},
          {"age_seconds", now > detail.first_seen_ms ? (now - detail.first_seen_ms) / 1000 : 0},
          {"idle_seconds", static_cast<std::uint16_t>(clock_s - flow.last_seen_s)},
          {"packets", joined(detail.packets_high[0], flow.count[0].packets)},
          {"bytes", joined(detail.bytes_high[0], flow.count[0].bytes)},
          {"reply_packets", joined(detail.packets_high[1], flow.count[1].packets)},
          {"reply_bytes", joined(detail.bytes_high[1], flow.count[1].bytes)},
          {"generation", flow.generation},
          {"current", current},
          {"kept", detail.kept != 0},
          {"egress_rule", rule(detail.rule[image::kEgress])},
          {"ingress_rule", rule(detail.rule[image::kIngress])}};
}

/// True if the slot held the same live flow before and after it was copied.
bool snapshot(const FlowTable& table, std::uint64_t slot, abi::FlowEntry& flow, abi::FlowDetail& detail) {
  const auto tag = [&] { return __atomic_load_n(&table.tags[slot], __ATOMIC_ACQUIRE); };
  const std::uint16_t before = tag();
  if (before < abi::kFlowTagFirst) return false;
  std::memcpy(&flow, &table.hot[slot], sizeof flow);
  std::memcpy(&detail, &table.cold[slot], sizeof detail);
  return tag() == before;
}

Value live_flows(publish::Channel& channel, const Image& image, const Filter& filter) {
  const FlowTable table = flow_table_of(channel.regions());
  const std::uint64_t clock_s = boot_seconds() - table.header->clock_origin_s;
  Value list = Value::array();
  std::uint64_t live = 0, matching = 0;
  abi::FlowEntry flow;
  abi::FlowDetail detail;
  for (std::uint64_t slot = 0; slot < table.header->slots; ++slot) {
    if (!snapshot(table, slot, flow, detail)) continue;
    ++live;
    if (!filter.admits(image.view, flow.source, flow.destination)) continue;
    if (++matching <= filter.limit) list.push_back(flow_value(image, flow, detail, clock_s));
  }
  return {{"generation", image.generation},
          {"live", live},
          {"flows_max", table.header->flows_max},
          {"matching", matching},
          {"flows", std::move(list)}};
}

/// A denial is copied whole or not at all: its sequence is even and the same before and after.
bool snapshot(const abi::DeniedFlow& slot, abi::DeniedFlow& copy) {
  for (int tries = 0; tries < 100; ++tries) {
    const std::uint32_t before = __atomic_load_n(&slot.sequence, __ATOMIC_ACQUIRE);
    if (before == 0) return false;
    if ((before & 1) != 0) continue;
    std::memcpy(&copy, &slot, sizeof copy);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (__atomic_load_n(&slot.sequence, __ATOMIC_RELAXED) == before) return copy.packets != 0;
  }
  return false;
}

Value denied_value(const Image& image, const abi::DeniedFlow& denied) {
  const image::View& view = image.view;
  const bool current = denied.generation == static_cast<std::uint32_t>(image.generation);
  const auto fate = static_cast<std::size_t>(denied.fate);
  return {
      {"protocol", protocol_name(denied.protocol)},
      {"from", end_value(view, denied.source, denied.source_port)},
      {"to", end_value(view, denied.destination, denied.policy_port)},
      {"fate", fate < abi::kFateCount ? abi::kFates[fate].name : "unknown"},
      {"direction", denied.direction == image::kIngress ? "ingress" : "egress"},
      {"rule", current && denied.rule < view.policy->rules.count ? rule_value(view, denied.rule) : nullptr},
      {"packets", denied.packets},
      {"first_seen_ms", denied.first_seen_ms},
      {"last_seen_ms", denied.last_seen_ms},
      {"generation", denied.generation},
      {"current", current}};
}

struct Recorded {
  std::vector<abi::DeniedFlow> flows;  // the latest first
  std::uint64_t lost = 0;
};

Recorded recorded(publish::Channel& channel, const Image& image, const Filter& filter, bool audited) {
  const Telemetry telemetry = telemetry_of(channel.regions());
  Recorded result;
  auto& [denials, lost] = result;
  for (const abi::WorkerBlock& worker : telemetry.workers) {
    lost += __atomic_load_n(audited ? &worker.audited_lost : &worker.denied_lost, __ATOMIC_RELAXED);
    for (const abi::DeniedFlow& slot : audited ? worker.audited : worker.denied) {
      abi::DeniedFlow copy;
      if (snapshot(slot, copy) && filter.admits(image.view, copy.source, copy.destination))
        denials.push_back(copy);
    }
  }
  std::sort(denials.begin(), denials.end(),
            [](const auto& a, const auto& b) { return a.last_seen_ms > b.last_seen_ms; });
  return result;
}

Value denied_flows(publish::Channel& channel, const Image& image, const Filter& filter) {
  const auto [denials, lost] = recorded(channel, image, filter, false);
  Value list = Value::array();
  for (std::size_t i = 0; i < denials.size() && i < filter.limit; ++i)
    list.push_back(denied_value(image, denials[i]));
  return {{"generation", image.generation},
          {"matching", denials.size()},
          {"lost", lost},
          {"denied", std::move(list)}};
}

Value audited_value(const Image& image, const abi::DeniedFlow& audited) {
  const image::View& view = image.view;
  Value value = denied_value(image, audited);
  const auto would = static_cast<std::size_t>(audited.would);
  value["would"] = would < abi::kFateCount ? abi::kFates[would].name : "unknown";
  value["would_allow"] = audited.would == abi::Fate::kForwarded;
  value["judgements"] = value["packets"];
  value.erase("packets");
  value["isolated_by"] = Value::array();
  if (value["current"] == true && audited.would == abi::Fate::kDeniedDefault) {
    const bool egress = audited.direction == image::kEgress;
    const image::Bound end = image::bind(view, egress ? audited.source : audited.destination);
    const std::uint32_t direction = egress ? image::kEgress : image::kIngress;
    value["isolated_by"] = isolating_audited(view, direction, view.record(end.record).subject[direction]);
  }
  return value;
}

std::string end_text(const Value& end, const Value& protocol) {
  std::string name = plain(end["name"]);
  const bool bare_v6 = name.find(':') != std::string::npos;
  if (protocol == "icmp" || protocol == "icmpv6") return name;
  return (bare_v6 ? "[" + name + "]" : name) + ":" + plain(end["port"]);
}

void say_live(const Value& value, Terminal& terminal) {
  Table table({{"PROTO"},
               {"FROM"},
               {"TO"},
               {"STATE"},
               {"AGE", true},
               {"IDLE", true},
               {"PACKETS", true},
               {"BYTES", true},
               {"REPLIES", true},
               {"BYTES", true}});
  const auto seconds = [](const Value& number) { return seconds_text(number.get<std::uint64_t>()); };
  const auto amount = [](const Value& number) { return bytes_text(number.get<std::uint64_t>()); };
  for (const Value& flow : value["flows"])
    table.row({plain(flow["protocol"]), end_text(flow["from"], flow["protocol"]),
               end_text(flow["to"], flow["protocol"]),
               plain(flow["state"]) + (flow["kept"] == true ? ", kept" : ""), seconds(flow["age_seconds"]),
               seconds(flow["idle_seconds"]), plain(flow["packets"]), amount(flow["bytes"]),
               plain(flow["reply_packets"]), amount(flow["reply_bytes"])},
              flow["current"] == true ? Colour::kPlain : Colour::kDim);
  table.print(terminal);
  terminal.out() << terminal.paint(Colour::kDim, plain(value["live"]) + " live of at most " +
                                                     plain(value["flows_max"]) + "; " +
                                                     std::to_string(value["flows"].size()) + " of " +
                                                     plain(value["matching"]) + " matching shown")
                 << '\n';
}

void say_denied(const Value& value, Terminal& terminal) {
  Table table({{"LAST SEEN"}, {"PROTO"}, {"FROM"}, {"TO"}, {"FATE"}, {"DENIED BY"}, {"PACKETS", true}});
  for (const Value& flow : value["denied"]) {
    std::string by = plain(flow["direction"]);
    if (!flow["rule"].is_null()) by += ": " + rule_text(flow["rule"]);
    const bool icmp = flow["protocol"] == "icmp" || flow["protocol"] == "icmpv6";
    table.row({time_text(flow["last_seen_ms"].get<std::uint64_t>()), plain(flow["protocol"]),
               plain(flow["from"]["name"]),
               end_text(flow["to"], flow["protocol"]) + (icmp ? " type " + plain(flow["to"]["port"]) : ""),
               plain(flow["fate"]), by, plain(flow["packets"])});
  }
  table.print(terminal);
  terminal.out() << terminal.paint(Colour::kDim, std::to_string(value["denied"].size()) + " of " +
                                                     plain(value["matching"]) + " shown, " +
                                                     plain(value["lost"]) +
                                                     " overwritten before anybody read them")
                 << '\n';
}

Value audited_flows(publish::Channel& channel, const Image& image, const Filter& filter) {
  const auto [differences, lost] = recorded(channel, image, filter, true);
  Value list = Value::array();
  for (std::size_t i = 0; i < differences.size() && i < filter.limit; ++i)
    list.push_back(audited_value(image, differences[i]));
  return {{"generation", image.generation},
          {"matching", differences.size()},
          {"lost", lost},
          {"audited", std::move(list)}};
}

void say_audited(const Value& value, Terminal& terminal) {
  Table table({{"LAST SEEN"}, {"PROTO"}, {"FROM"}, {"TO"}, {"WAS"}, {"WOULD BE"}, {"BY"}, {"TIMES", true}});
  for (const Value& flow : value["audited"]) {
    std::string by = plain(flow["direction"]);
    if (!flow["rule"].is_null()) by += ": " + rule_text(flow["rule"]);
    for (const Value& policy : flow["isolated_by"])
      by += (&policy == &flow["isolated_by"].front() ? ": isolated by " : ", ") + plain(policy["policy"]) +
            " (" + plain(policy["file"]) + ":" + plain(policy["line"]) + ")";
    const bool icmp = flow["protocol"] == "icmp" || flow["protocol"] == "icmpv6";
    table.row({time_text(flow["last_seen_ms"].get<std::uint64_t>()), plain(flow["protocol"]),
               plain(flow["from"]["name"]),
               end_text(flow["to"], flow["protocol"]) + (icmp ? " type " + plain(flow["to"]["port"]) : ""),
               plain(flow["fate"]), plain(flow["would"]), by, plain(flow["judgements"])});
  }
  table.print(terminal);
  terminal.out() << terminal.paint(Colour::kDim, std::to_string(value["audited"].size()) + " of " +
                                                     plain(value["matching"]) + " shown, " +
                                                     plain(value["lost"]) +
                                                     " overwritten before anybody read them")
                 << '\n';
}

Answer flows(const Invocation& invocation) {
  if (invocation.has("denied") && invocation.has("audit"))
    throw Failure(kExitUsage, "--denied and --audit are two different records; expected one of them");
  const std::size_t limit = limit_of(invocation);
  publish::Channel channel = dataplane(invocation);
  const Image image = enforced_image(channel);
  const Filter filter = filter_of(invocation, image.view, limit);
  if (invocation.has("audit")) return {audited_flows(channel, image, filter), say_audited};
  if (invocation.has("denied")) return {denied_flows(channel, image, filter), say_denied};
  return {live_flows(channel, image, filter), say_live};
}

}  // namespace

Command flows_command() {
  return {
      "flows",
      "",
      "conversations that live now, or were denied lately",
      "Reads the data plane's flow table as it is: who talks to whom, since when, how much each way, and\n"
      "the rules that allowed it. A flow printed dimly was judged by an older image and will be judged\n"
      "again by its next packet; one that is kept would be denied today, and goes on because the policy "
      "that\n"
      "denies it says established: keep. With --denied: the latest denied conversations, one for each pair "
      "of\n"
      "ends and port, however many packets they sent. With --audit: the latest conversations that would "
      "have\n"
      "met another fate if the audited policies (mode: audit) were enforced, by which rule, and how many\n"
      "such judgements there were.",
      "  bulkheadctl flows --endpoint shop/web\n"
      "  bulkheadctl flows --namespace shop --limit 20\n"
      "  bulkheadctl flows --denied -o json | jq '.denied[] | [.from.name, .to.name, .fate]'\n"
      "  bulkheadctl flows --denied --watch 1\n"
      "  bulkheadctl flows --audit --endpoint shop/db",
      {{"namespace,n", "NAME", "only flows with an end in this namespace", false, Completes::kNothing},
       {"endpoint,e", "END", "only flows with this end: namespace/name, name or address", false,
        Completes::kEndpoints},
       {"denied,d", nullptr, "the latest denied conversations instead", false, Completes::kNothing},
       {"audit,a", nullptr, "conversations that audited policies would have judged otherwise instead", false,
        Completes::kNothing},
       {"limit,l", "N", "show at most N (default 1000; 0: all)", false, Completes::kNothing},
       {"watch,w", "SECONDS", "again and again", false, Completes::kNothing}},
      nullptr,
      flows};
}

}  // namespace bulkhead::ctl
