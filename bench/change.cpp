// Claim: what changes is enforced before anybody waits, and costs what it changes, not what there is.
//
//   bench/change [--pods 30000] [--policies 30000] [--identities 6000] [--namespaces 1000] [--local 30] [--rounds 200]
//
// A control plane's compiler and publisher, and a real data plane. The clock runs from an event in memory until the data plane has
// acknowledged: no worker uses the old image any more, and the new one is saved for a restart.
//   known labels         a container comes, and goes again, with labels that others bear
//   new labels           a container comes with labels that nobody bears
//   one policy           a policy of a container of this node gets another rule
//   namespace relabelled one namespace's labels change
#include <algorithm>
#include <boost/program_options.hpp>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/cluster.h"
#include "bench/dataplane.h"
#include "controlplane/compile/compiler.h"
#include "controlplane/compile/memory.h"
#include "controlplane/publish/publisher.h"

namespace bulkhead::bench {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  Shape shape{30'000, 6'000, 1'000, 30'000, 30};
  std::uint32_t rounds = 200;
  bool known_only = false;
  bool json = false;
};

struct Event {
  const char* name;
  std::vector<double> compile_us, enforced_us;
  std::size_t sections = 0;  // sent, all rounds together
};

double quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1))];
}

double us_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

class Node {
 public:
  explicit Node(const Options& options)
      : options_(options),
        cluster_(make_cluster(options.shape)),
        maker_(options.shape),
        policies_(maker_.run()),
        dataplane_({"--cpus", "1", "--flows", "65536"}) {
    publisher_.connected(dataplane_.channel().hello());
    publish(full(), nullptr, Clock::now());
  }

  std::vector<Event> run() {
    std::vector<Event> events = {known_labels()};
    if (options_.known_only) return events;
    events.push_back(new_labels());
    events.push_back(one_policy());
    events.push_back(namespace_relabelled());
    return events;
  }

 private:
  compile::Input input() const {
    return {.cluster = cluster_, .policies = policies_, .node = {.name = "node-0"}};
  }

  void change(const compile::Changes& changes, Event& event, Clock::time_point start) {
    const auto output = compiler_.change(input(), changes);
    if (!output) throw Failure(std::string(event.name) + ": everything has to be compiled anew");
    publish(*output, &event, start);
  }

  compile::Output full() {
    auto compiled = compiler_.compile(input());
    if (const auto* refusal = std::get_if<compile::Refusal>(&compiled)) throw Failure(refusal->reason);
    return std::get<compile::Output>(std::move(compiled));
  }

  void publish(const compile::Output& output, Event* event, Clock::time_point start) {
    if (event != nullptr) event->compile_us.push_back(us_since(start));
    publisher_.offer(output.image);
    const publish::Delivery delivery = publisher_.deliver(dataplane_.channel());
    if (event != nullptr) {
      event->enforced_us.push_back(us_since(start));
      event->sections += delivery.sent;
    }
    publisher_.make_ready();  // as the control plane does, once nobody waits
  }

  policies::Endpoint newcomer(std::uint32_t number) const {
    policies::Endpoint endpoint = cluster_.endpoints[number % cluster_.endpoints.size()];
    endpoint.id = numbered("new-", number);
    endpoint.name = numbered("newcomer-", number);
    endpoint.addresses = {address(0x0a80'0000 + number)};
    return endpoint;
  }

  Event known_labels() {
    Event event{"known labels", {}, {}};
    for (std::uint32_t i = 0; i < options_.rounds; ++i) come_and_go(newcomer(i), event);
    return event;
  }

  void come_and_go(const policies::Endpoint& endpoint, Event& event) {
    const compile::Placed nobody, somebody{&endpoint};
    for (const bool comes : {true, false}) {
      const auto start = Clock::now();
      compile::Changes changes;
      changes.endpoints.push_back(comes ? std::pair(nobody, somebody) : std::pair(somebody, nobody));
      change(changes, event, start);
    }
  }

  Event new_labels() {
    Event event{"new labels", {}, {}};
    for (std::uint32_t i = 0; i < few(); ++i) {
      policies::Endpoint endpoint = newcomer(i);
      endpoint.labels["release"] = numbered("r", i);
      come_and_go(endpoint, event);
    }
    return event;
  }

  Event one_policy() {
    Event event{"one policy", {}, {}};
    for (std::uint32_t i = 0; i < few(); ++i) {
      policies::Policy& policy = policies_.policies[0];
      policy.clauses[0].rules[0].ports[0].first = policy.clauses[0].rules[0].ports[0].last =
          static_cast<std::uint16_t>(5000 + i);
      const auto start = Clock::now();
      change({.replaced_policies = {0}}, event, start);
    }
    return event;
  }

  Event namespace_relabelled() {
    Event event{"namespace relabelled", {}, {}};
    for (std::uint32_t i = 0; i < few(); ++i) {
      cluster_.namespaces[0].labels["env"] = i % 2 == 0 ? "test" : "prod";
      const auto start = Clock::now();
      change({.relabelled = {cluster_.namespaces[0].name}}, event, start);
    }
    return event;
  }

  std::uint32_t few() const { return std::max(3u, options_.rounds / 20); }

  const Options& options_;
  policies::Cluster cluster_;
  PolicyMaker maker_;
  policies::PolicySet policies_;
  compile::Compiler compiler_;
  publish::Publisher publisher_;
  Dataplane dataplane_;
};

void print(const Options& options, const std::vector<Event>& events) {
  if (options.json) {
    nlohmann::json list = nlohmann::json::array();
    for (const Event& event : events)
      list.push_back(
          {{"event", event.name},
           {"rounds", event.enforced_us.size()},
           {"sections_sent", event.sections},
           {"compile_us",
            {{"p50", quantile(event.compile_us, 0.5)}, {"p99", quantile(event.compile_us, 0.99)}}},
           {"enforced_us",
            {{"p50", quantile(event.enforced_us, 0.5)}, {"p99", quantile(event.enforced_us, 0.99)}}}});
    std::cout << nlohmann::json{{"bench", "change"}, {"events", std::move(list)}}.dump(2) << "\n";
    return;
  }
  std::printf("%-22s %7s %14s %14s %14s %14s %9s\n", "event", "rounds", "compiled, us", "enforced p50", "p90",
              "p99", "sections");
  for (const Event& event : events)
    std::printf("%-22s %7zu %14.0f %14.0f %14.0f %14.0f %9.1f\n", event.name, event.enforced_us.size(),
                quantile(event.compile_us, 0.5), quantile(event.enforced_us, 0.5),
                quantile(event.enforced_us, 0.9), quantile(event.enforced_us, 0.99),
                static_cast<double>(event.sections) / static_cast<double>(event.enforced_us.size()));
}

}  // namespace

int run(int argc, char** argv) {
  compile::keep_freed_memory();  // as the control plane does
  namespace po = boost::program_options;
  Options options;
  Shape& shape = options.shape;
  std::string output = "table";
  po::options_description known("bench/change");
  known.add_options()("help,h", "this text")("pods", po::value(&shape.pods)->default_value(shape.pods))(
      "policies", po::value(&shape.policies)->default_value(shape.policies))(
      "identities", po::value(&shape.identities)->default_value(shape.identities))(
      "namespaces", po::value(&shape.namespaces)->default_value(shape.namespaces))(
      "local", po::value(&shape.local_pods)->default_value(shape.local_pods), "pods of this node")(
      "rounds", po::value(&options.rounds)->default_value(options.rounds))(
      "known-only", po::bool_switch(&options.known_only), "labels that others bear, and nothing else")(
      "output,o", po::value(&output)->default_value(output), "table or json");
  po::variables_map values;
  try {
    po::store(po::parse_command_line(argc, argv, known), values);
    po::notify(values);
  } catch (const po::error& error) {
    std::cerr << "bench/change: " << error.what() << "\n";
    return 2;
  }
  if (values.count("help") != 0) {
    std::cout << known;
    return 0;
  }
  if (shape.pods == 0 || shape.identities == 0 || shape.namespaces == 0 || shape.local_pods == 0 ||
      options.rounds == 0 || (output != "table" && output != "json")) {
    std::cerr << "bench/change: expected numbers above 0, and -o table or json\n";
    return 2;
  }
  options.json = output == "json";
  try {
    print(options, Node(options).run());
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "bench/change: " << error.what() << "\n";
    return 2;
  }
}

}  // namespace bulkhead::bench

int main(int argc, char** argv) {
  return bulkhead::bench::run(argc, argv);
}
