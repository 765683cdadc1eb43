#include "dataplane/control/options.h"

#include <algorithm>
#include <boost/program_options.hpp>
#include <iostream>
#include <numeric>
#include <sstream>

#include "dataplane/abi/telemetry.h"

namespace bulkhead::control {
namespace {

namespace po = boost::program_options;

constexpr char kExamples[] = R"(
Examples:
  bulkhead-dataplane                                     one worker, /run/bulkhead, hugepages if there are any
  bulkhead-dataplane --workers 2 --cpus 2,3              two workers on processors of their own
  bulkhead-dataplane --no-huge --flows 65536             a small node
  bulkhead-dataplane --eal --allow=0000:01:00.0          make a PCI NIC known, for use as uplink

It takes orders over <run-dir>/dataplane.sock, from bulkhead-controlplane; bulkheadctl asks it too.
Exit codes: 0 stopped by a signal, 1 it could not start, 2 wrong usage.
)";

/// "0,2-3" -> 0 2 3. False: not such a list.
bool read_cpus(const std::string& text, std::vector<std::uint32_t>& cpus) {
  std::istringstream in(text);
  std::string part;
  while (std::getline(in, part, ',')) {
    unsigned first = 0, last = 0;
    char dash = 0;
    std::istringstream range(part);
    if (!(range >> first)) return false;
    last = first;
    if (range >> dash && (dash != '-' || !(range >> last))) return false;
    if (last < first || last > 1023 || (range >> dash)) return false;
    for (unsigned cpu = first; cpu <= last; ++cpu) cpus.push_back(cpu);
  }
  return !cpus.empty();
}

Parsed wrong(const std::string& what) {
  std::cerr << "bulkhead-dataplane: " << what << "\nTry 'bulkhead-dataplane --help'.\n";
  return {std::nullopt, 2};
}

/// Insertions, deletions and replacements that make `a` of `b`.
std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0]++;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

/// "there is no option '--flow'; did you mean '--flows'?"
std::string unknown_option(const std::string& typed, const po::options_description& described) {
  std::string nearest;
  std::size_t distance = typed.size() / 3 + 1;
  for (const auto& option : described.options()) {
    const std::string name = "--" + option->long_name();
    const std::size_t found = edit_distance(typed, name);
    if (found >= distance) continue;
    nearest = name;
    distance = found;
  }
  return "there is no option '" + typed + "'" + (nearest.empty() ? "" : "; did you mean '" + nearest + "'?");
}

struct Bound {
  const char* option;
  std::uint64_t value, least, most;
};

}  // namespace

Parsed parse_options(int argc, const char* const* argv) {
  Options options;
  std::string cpus;
  po::options_description visible(
      "bulkhead-dataplane: forwards packets between containers as the enforced policy image "
      "says.\n\nOptions");
  auto& timeouts = options.timeouts;
  visible.add_options()("help,h", "this text")("version", "version")(
      "run-dir", po::value(&options.run_dir)->default_value(options.run_dir),
      "socket, last image, flow table")("workers",
                                        po::value(&options.workers)->default_value(options.workers),
                                        "threads that forward packets, 1 to 64")(
      "cpus", po::value(&cpus), "processors of the workers, such as 2,3 or 2-5")(
      "flows", po::value(&options.flows_max)->default_value(options.flows_max), "flows at once")(
      "packets", po::value(&options.packets)->default_value(options.packets), "packet buffers")(
      "no-huge", "use ordinary memory even if there are hugepages")("huge-dir", po::value(&options.huge_dir),
                                                                    "hugetlbfs mount for the flow table")(
      "eal", po::value(&options.eal)->composing(), "an argument for DPDK; may be repeated")(
      "timeout-tcp-established", po::value(&timeouts.tcp[2])->default_value(timeouts.tcp[2]),
      "seconds of silence")("timeout-tcp-opening",
                            po::value(&timeouts.tcp[0])->default_value(timeouts.tcp[0]),
                            "seconds of silence")(
      "timeout-tcp-closing", po::value(&timeouts.tcp[3])->default_value(timeouts.tcp[3]),
      "seconds of silence")("timeout-udp", po::value(&timeouts.udp[2])->default_value(timeouts.udp[2]),
                            "seconds of silence, once answered")(
      "timeout-udp-unanswered", po::value(&timeouts.udp[0])->default_value(timeouts.udp[0]),
      "seconds of silence")("timeout-icmp", po::value(&timeouts.icmp[2])->default_value(timeouts.icmp[2]),
                            "seconds of silence")(
      "timeout-sctp-established", po::value(&timeouts.sctp[2])->default_value(timeouts.sctp[2]),
      "seconds of silence")("log-level", po::value(&options.log_level)->default_value(options.log_level),
                            "debug, info, warn or error");

  po::variables_map values;
  try {
    // "--eal --allow=..." hands an option through: the word after --eal is a value whatever it looks like.
    std::vector<std::string> words;
    for (int i = 1; i < argc; ++i) {
      const std::string word = argv[i];
      if (word == "--eal" && i + 1 < argc)
        words.push_back("--eal=" + std::string(argv[++i]));
      else
        words.push_back(word);
    }
    using namespace po::command_line_style;
    po::store(po::command_line_parser(words)
                  .options(visible)
                  .positional({})
                  .style(unix_style & ~allow_guessing)
                  .run(),
              values);
    po::notify(values);
  } catch (const po::unknown_option& unknown) {
    return wrong(unknown_option(unknown.get_option_name(), visible));
  } catch (const po::too_many_positional_options_error&) {
    return wrong("takes options only, no operands");
  } catch (const po::error& error) {
    return wrong(error.what());
  }
  if (values.count("help") != 0) {
    std::cout << visible << kExamples;
    return {std::nullopt, 0};
  }
  if (values.count("version") != 0) {
    std::cout << "bulkhead-dataplane " BULKHEAD_VERSION "\n";
    return {std::nullopt, 0};
  }
  options.hugepages = values.count("no-huge") == 0;
  if (!cpus.empty() && !read_cpus(cpus, options.cpus))
    return wrong("--cpus " + cpus + ": expected a list such as 2,3 or 2-5");
  const Bound bounds[] = {{"--workers", options.workers, 1, abi::kWorkersMax},
                          {"--flows", options.flows_max, 16, 1u << 28},
                          {"--packets", options.packets, 2048, 1u << 22}};
  for (const Bound& bound : bounds)
    if (bound.value < bound.least || bound.value > bound.most)
      return wrong(std::string(bound.option) + " " + std::to_string(bound.value) + ": expected " +
                   std::to_string(bound.least) + " to " + std::to_string(bound.most));
  for (const auto* limits : {timeouts.tcp, timeouts.udp, timeouts.icmp, timeouts.sctp})
    for (int state = 0; state < 5; ++state)
      if (limits[state] == 0 || limits[state] > flow::kTimeoutMaxS)
        return wrong("a timeout of " + std::to_string(limits[state]) + " s: expected 1 to " +
                     std::to_string(flow::kTimeoutMaxS));
  const auto& level = options.log_level;
  if (level != "debug" && level != "info" && level != "warn" && level != "error")
    return wrong("--log-level " + level + ": expected debug, info, warn or error");
  timeouts.tcp[1] = timeouts.tcp[0];
  return {options, 0};
}

}  // namespace bulkhead::control
