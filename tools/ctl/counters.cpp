// `counters`: the fate of every packet, summed over workers and ports or told apart by them.
#include <map>

#include "dataplane/abi/fate.h"
#include "tools/ctl/ask.h"
#include "tools/ctl/command.h"
#include "tools/ctl/ends.h"

namespace bulkhead::ctl {
namespace {

std::uint64_t read(const std::uint64_t& counter) {
  return __atomic_load_n(&counter, __ATOMIC_RELAXED);
}

/// Fates before the first denial are no drops: forwarded, answered, or waiting for a second fate.
bool is_drop(std::size_t fate) {
  return fate >= static_cast<std::size_t>(abi::Fate::kDeniedPolicy);
}

struct Sums {
  std::uint64_t rx_packets = 0, rx_bytes = 0, tx_packets = 0, tx_bytes = 0;
  std::uint64_t fates[abi::kFateCount] = {};

  void add(const abi::PortCounters& port) {
    rx_packets += read(port.rx_packets);
    rx_bytes += read(port.rx_bytes);
    tx_packets += read(port.tx_packets);
    tx_bytes += read(port.tx_bytes);
    for (std::size_t fate = 0; fate < abi::kFateCount; ++fate) fates[fate] += read(port.fates[fate]);
  }
  bool touched() const {
    std::uint64_t any = rx_packets | tx_packets;
    for (const std::uint64_t packets : fates) any |= packets;
    return any != 0;
  }
};

Value fates_value(const Sums& sums, bool all) {
  Value fates = Value::object();
  for (std::size_t fate = 0; fate < abi::kFateCount; ++fate)
    if (all || sums.fates[fate] != 0) fates[std::string(abi::kFates[fate].name)] = sums.fates[fate];
  return fates;
}

Value traffic_value(const Sums& sums, bool all) {
  return {{"rx_packets", sums.rx_packets},
          {"rx_bytes", sums.rx_bytes},
          {"tx_packets", sums.tx_packets},
          {"tx_bytes", sums.tx_bytes},
          {"fates", fates_value(sums, all)}};
}

/// What is on each port now; a port that was detached still has counters.
std::map<std::uint32_t, std::string> port_owners(publish::Channel& channel) {
  std::map<std::uint32_t, std::string> owners;
  for (const abi::PortInfo& port : channel.ports()) {
    owners[port.port] = port.role == abi::PortRole::kRoleHost     ? "host"
                        : port.role == abi::PortRole::kRoleUplink ? "uplink"
                                                                  : port.interface_name;
  }
  if (channel.hello().generation == 0) return owners;
  const Image image = enforced_image(channel);
  image.view.for_each_local([&](std::uint32_t number) {
    owners[image.view.endpoint(number).port] = endpoint_name(image.view, number);
  });
  return owners;
}

Value worker_value(std::size_t number, const abi::WorkerBlock& worker, const Sums& sums, bool all) {
  Value value = {{"worker", number},
                 {"packets", read(worker.packets)},
                 {"bursts", read(worker.bursts)},
                 {"sleeps", read(worker.sleeps)},
                 {"flows_created", read(worker.flows_created)},
                 {"flows_ended", read(worker.flows_ended)},
                 {"flows_evicted", read(worker.flows_evicted)},
                 {"flows_rejudged", read(worker.flows_rejudged)},
                 {"denied_lost", read(worker.denied_lost)},
                 {"flows_kept", read(worker.flows_kept)},
                 {"resets_sent", read(worker.resets_sent)},
                 {"audited_denied", read(worker.audited_denied)},
                 {"audited_allowed", read(worker.audited_allowed)},
                 {"audited_lost", read(worker.audited_lost)}};
  value.update(traffic_value(sums, all));
  return value;
}

void say(const Value& value, Terminal& terminal) {
  Table fates({{"FATE"}, {"PACKETS", true}, {"MEANING"}});
  for (std::size_t fate = 0; fate < abi::kFateCount; ++fate) {
    const std::string name(abi::kFates[fate].name);
    if (!value["total"]["fates"].contains(name)) continue;
    fates.row({name, plain(value["total"]["fates"][name]), std::string(abi::kFates[fate].meaning)},
              is_drop(fate) ? Colour::kWarn : Colour::kPlain);
  }
  fates.print(terminal);
  const auto number = [](const Value& object, const char* key) { return plain(object[key]); };
  const auto amount = [](const Value& object, const char* key) {
    return bytes_text(object[key].get<std::uint64_t>());
  };
  Table ports({{"PORT", true},
               {"OWNER"},
               {"RX PACKETS", true},
               {"RX", true},
               {"TX PACKETS", true},
               {"TX", true},
               {"DROPPED", true}});
  for (const Value& port : value["ports"])
    ports.row({number(port, "port"), number(port, "owner"), number(port, "rx_packets"),
               amount(port, "rx_bytes"), number(port, "tx_packets"), amount(port, "tx_bytes"),
               number(port, "dropped")});
  terminal.out() << '\n';
  ports.print(terminal);
  Table workers({{"WORKER", true},
                 {"PACKETS", true},
                 {"BURSTS", true},
                 {"SLEEPS", true},
                 {"FLOWS CREATED", true},
                 {"ENDED", true},
                 {"EVICTED", true},
                 {"REJUDGED", true},
                 {"KEPT", true},
                 {"RESETS SENT", true},
                 {"AUDITED", true}});
  for (const Value& worker : value["workers"])
    workers.row({number(worker, "worker"), number(worker, "packets"), number(worker, "bursts"),
                 number(worker, "sleeps"), number(worker, "flows_created"), number(worker, "flows_ended"),
                 number(worker, "flows_evicted"), number(worker, "flows_rejudged"),
                 number(worker, "flows_kept"), number(worker, "resets_sent"),
                 std::to_string(worker["audited_denied"].get<std::uint64_t>() +
                                worker["audited_allowed"].get<std::uint64_t>())});
  terminal.out() << '\n';
  workers.print(terminal);
}

Answer counters(const Invocation& invocation) {
  publish::Channel channel = dataplane(invocation);
  const Telemetry telemetry = telemetry_of(channel.regions());
  const bool all = invocation.has("all");
  auto owners = port_owners(channel);
  const std::string wanted = invocation.text("port");

  const auto selected = [&](std::uint32_t port) {
    return wanted.empty() || std::to_string(port) == wanted || owners[port] == wanted;
  };
  std::vector<Sums> of_worker(telemetry.workers.size());
  Sums total;
  Value ports = Value::array();
  bool found = false;
  for (std::uint32_t port = 0; port < abi::kPortsMax; ++port) {
    if (!selected(port)) continue;
    found = true;
    Sums sums;
    for (std::size_t worker = 0; worker < telemetry.workers.size(); ++worker) {
      const abi::PortCounters& block = telemetry.workers[worker].ports[port];
      sums.add(block);
      of_worker[worker].add(block);
      total.add(block);
    }
    if (!sums.touched() && owners[port].empty()) continue;
    std::uint64_t dropped = 0;
    for (std::size_t fate = 0; fate < abi::kFateCount; ++fate)
      if (is_drop(fate)) dropped += sums.fates[fate];
    Value value = {{"port", port}, {"owner", owners[port]}, {"dropped", dropped}};
    value.update(traffic_value(sums, all));
    ports.push_back(std::move(value));
  }
  if (!found) throw Failure(kExitUsage, "--port: no port has the number or owner '" + escape(wanted) + "'");
  Value workers = Value::array();
  for (std::size_t worker = 0; worker < telemetry.workers.size(); ++worker)
    workers.push_back(worker_value(worker, telemetry.workers[worker], of_worker[worker], all));
  return {{{"started_ms", telemetry.header->started_ms},
           {"total", traffic_value(total, all)},
           {"ports", std::move(ports)},
           {"workers", std::move(workers)}},
          say};
}

}  // namespace

Command counters_command() {
  return {
      "counters",
      "",
      "the fate of every packet, by reason, port and worker",
      "Sums the data plane's counters: how many packets met which fate, what each port received and\n"
      "sent, what each worker did. Counters start at zero with the data plane. The fates' names are\n"
      "those of flow records and of docs/operations.md, which says what to do about each.",
      "  bulkheadctl counters\n"
      "  bulkheadctl counters --port shop/web --watch 1\n"
      "  bulkheadctl counters -o json | jq .total.fates.denied_default",
      {{"port,p", "PORT", "only this port: a number, or its endpoint's name", false, Completes::kEndpoints},
       {"all,a", nullptr, "fates that no packet met, too", false, Completes::kNothing},
       {"watch,w", "SECONDS", "again and again", false, Completes::kNothing}},
      nullptr,
      counters};
}

}  // namespace bulkhead::ctl
