// bulkhead-controlplane: keeps the data plane's ports and image as files and node say. This file only wires.
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/resource.h>

#include <boost/program_options.hpp>
#include <cstdio>
#include <filesystem>
#include <iostream>

#include "controlplane/compile/memory.h"
#include "controlplane/config/config.h"
#include "controlplane/publish/fd.h"
#include "controlplane/reconcile/loop.h"
#include "controlplane/reconcile/version.h"
#include "controlplane/source/policy_directory.h"
#include "controlplane/source/static_file.h"
#include "policies/load/nearest.h"

namespace {

using namespace bulkhead;
namespace options = boost::program_options;

constexpr char kExamples[] = R"(
Examples:
  bulkhead-controlplane                                     with /etc/bulkhead/controlplane.yaml
  bulkhead-controlplane --config node.yaml --log debug      by hand, from another file
  bulkhead-controlplane --config node.yaml --check-config   read the configuration, endpoints and policies
                                                            that it names; say what is wrong; start nothing
Signals: SIGHUP reads every file again, SIGTERM stops; the data plane goes on enforcing.
)";

/// 0 if all files are good, else 1 with every error on standard error.
int check(const config::Config& config) {
  source::StaticFile endpoints(config.endpoints_path,
                               {config.host.addresses, config.endpoints_max, config.file_bytes_max});
  source::PolicyDirectory policies(config.policies_directory, config.file_bytes_max, config.mesh);
  endpoints.reload();
  policies.reload();
  for (const auto* health : {&endpoints.health(), &policies.health()}) {
    for (const auto& error : health->errors) std::cerr << policies::format(error) << "\n";
    for (const auto& warning : health->warnings)
      std::cerr << "warning: " << policies::format(warning) << "\n";
  }
  if (!endpoints.health().errors.empty() || !policies.health().errors.empty()) return 1;
  std::cout << endpoints.snapshot().endpoints.size() << " endpoints, " << policies.policies().policies.size()
            << " policies in " << policies.files() << " files: all good\n";
  return 0;
}

/// Each section of an image is a descriptor, and a new image is whole before the one before goes.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

/// Held as long as it is open.
publish::Fd only_one(const std::string& directory) {
  const std::string path = directory + "/controlplane.lock";
  publish::Fd lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock) throw std::filesystem::filesystem_error(path, std::error_code(errno, std::generic_category()));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0)
    throw std::runtime_error(path + ": another control plane holds it");
  return lock;
}

int run(const config::Config& config) {
  compile::keep_freed_memory();
  raise_descriptor_limit();
  std::filesystem::create_directories(config.run_directory);
  std::filesystem::create_directories(config.state_directory);
  // With one state two control planes would give ports each other's keys; with one data plane, undo each other's images.
  const publish::Fd of_state = only_one(config.state_directory);
  const bool apart = !std::filesystem::equivalent(config.state_directory, config.run_directory);
  const publish::Fd of_data_plane = apart ? only_one(config.run_directory) : publish::Fd();
  reconcile::run(config);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  options::options_description described("Usage: bulkhead-controlplane [option...]");
  described.add_options()  //
      ("config,c", options::value<std::string>()->default_value("/etc/bulkhead/controlplane.yaml"),
       "configuration file")                                           //
      ("check-config", "read every file, report what is wrong, exit")  //
      ("log", options::value<std::string>()->default_value("info"),
       "debug, info, warn or error; to standard error")  //
      ("version", "print the version")                   //
      ("help,h", "print this text");
  options::variables_map given;
  try {
    options::store(
        options::command_line_parser(argc, argv)
            .options(described)
            .positional(options::positional_options_description{})
            .style(options::command_line_style::unix_style & ~options::command_line_style::allow_guessing)
            .run(),
        given);
  } catch (const options::unknown_option& unknown) {
    const std::string typed = unknown.get_option_name();
    static constexpr std::string_view kOptions[] = {"--config", "--check-config", "--log", "--version",
                                                    "--help"};
    std::cerr << "bulkhead-controlplane: there is no option \"" << typed << "\""
              << policies::did_you_mean(typed, kOptions) << " (see --help)\n";
    return 2;
  } catch (const options::too_many_positional_options_error&) {
    std::cerr << "bulkhead-controlplane: takes options only, no operands (see --help)\n";
    return 2;
  } catch (const options::error& error) {
    std::cerr << "bulkhead-controlplane: " << error.what() << " (see --help)\n";
    return 2;
  }
  if (given.contains("help")) {
    std::cout << described << kExamples;
    return 0;
  }
  if (given.contains("version")) {
    std::cout << "bulkhead-controlplane " << reconcile::kVersionText << "\n";
    return 0;
  }
  const std::string level_name = given["log"].as<std::string>();
  const auto level = spdlog::level::from_str(level_name);
  if (level == spdlog::level::off) {
    std::cerr << "bulkhead-controlplane: --log: found \"" << level_name
              << "\", expected debug, info, warn or error\n";
    return 2;
  }
  spdlog::set_default_logger(spdlog::stderr_logger_st("controlplane"));
  spdlog::set_pattern("%^%l%$: %v");  // the journal adds time and name
  spdlog::set_level(level);

  const auto loaded = config::load(given["config"].as<std::string>());
  if (const auto* errors = std::get_if<std::vector<policies::Error>>(&loaded)) {
    for (const auto& error : *errors) std::cerr << policies::format(error) << "\n";
    return 1;
  }
  try {
    const auto& config = std::get<config::Config>(loaded);
    return given.contains("check-config") ? check(config) : run(config);
  } catch (const std::exception& error) {
    std::cerr << "bulkhead-controlplane: " << error.what() << "\n";
    return 1;
  }
}
