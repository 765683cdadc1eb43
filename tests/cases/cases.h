// Behaviour as data: a case is a directory of tests/cases/ with
//
//   policies.yaml   what is loaded, after a comment that cites the clause of the API that it shows
//   queries.csv     src,dst,proto,port,verdict     an end is namespace/pod or an address; verdict allow or deny
//   cluster.yaml    Kubernetes manifests; absent: tests/cases/cluster.yaml
//   posture         one word, deny (the default), allow or strict: policies::Posture
//
// The oracle, and everything compiled from policies, must answer every query so.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "controlplane/source/manifest.h"
#include "policies/model/address.h"
#include "policies/model/policy.h"

namespace bulkhead::cases {

struct Query {
  std::string where;  // "file:line", for messages
  std::string text;   // as written
  policies::AddressBytes source{};
  policies::AddressBytes destination{};
  policies::Protocol protocol = policies::Protocol::kTcp;
  std::uint16_t port = 0;  // the type of icmp and icmpv6
  bool allow = false;
};

struct Case {
  std::string name;
  policies::Cluster cluster;
  policies::PolicySet policies;
  policies::Posture posture;
  std::vector<Query> queries;
};

/// Every address that the end has; throws where there is none.
inline std::vector<policies::AddressBytes> addresses_of(const policies::Cluster& cluster,
                                                        const std::string& end) {
  if (const auto address = policies::parse_address(end)) return {*address};
  for (const auto& endpoint : cluster.endpoints)
    if (endpoint.namespace_name + "/" + endpoint.name == end && !endpoint.addresses.empty())
      return endpoint.addresses;
  throw std::runtime_error("no such end: " + end);
}

/// The first pair of addresses of one family.
inline void set_ends(const policies::Cluster& cluster, const std::string& source,
                     const std::string& destination, Query& query) {
  for (const auto& from : addresses_of(cluster, source))
    for (const auto& to : addresses_of(cluster, destination))
      if (policies::is_v4(from) == policies::is_v4(to)) {
        query.source = from;
        query.destination = to;
        return;
      }
  throw std::runtime_error("no common family: " + source + " and " + destination);
}

inline policies::Protocol protocol_of(const std::string& word) {
  for (int i = 0; i < policies::kProtocolCount; ++i)
    if (policies::name(static_cast<policies::Protocol>(i)) == word) return static_cast<policies::Protocol>(i);
  throw std::runtime_error("no such protocol: " + word);
}

/// Lines beginning with # and the heading are passed over. Throws, with file and line, at anything unexpected.
inline std::vector<Query> read_queries(const std::filesystem::path& path, const policies::Cluster& cluster) {
  std::vector<Query> queries;
  std::ifstream stream(path);
  if (!stream) throw std::runtime_error("cannot open " + path.string());
  std::string line;
  for (int number = 1; std::getline(stream, line); ++number) {
    if (line.empty() || line[0] == '#' || line == "src,dst,proto,port,verdict") continue;
    Query query;
    query.where = path.string() + ":" + std::to_string(number);
    query.text = line;
    try {
      std::vector<std::string> fields;
      std::istringstream cells(line);
      for (std::string cell; std::getline(cells, cell, ',');) fields.push_back(cell);
      if (fields.size() != 5 || (fields[4] != "allow" && fields[4] != "deny"))
        throw std::runtime_error("expected src,dst,proto,port,verdict");
      set_ends(cluster, fields[0], fields[1], query);
      query.protocol = protocol_of(fields[2]);
      query.port = static_cast<std::uint16_t>(std::stoul(fields[3]));
      query.allow = fields[4] == "allow";
    } catch (const std::exception& error) {
      throw std::runtime_error(query.where + ": " + error.what());
    }
    queries.push_back(std::move(query));
  }
  return queries;
}

inline Case read_case(const std::filesystem::path& directory) {
  const auto own = directory / "cluster.yaml";
  const std::vector<std::string> files = {
      std::filesystem::exists(own) ? own.string() : (directory.parent_path() / "cluster.yaml").string(),
      (directory / "policies.yaml").string()};
  auto read = source::read_manifest_paths(files);
  if (!read.ok()) throw std::runtime_error(policies::format(read.errors.front()));
  Case result{directory.filename().string(), std::move(read.cluster), std::move(read.policies), {}, {}};
  std::string word;
  std::ifstream(directory / "posture") >> word;
  result.posture.strict = word == "strict";
  if (word == "allow") result.posture.action = policies::Action::kAllow;
  result.queries = read_queries(directory / "queries.csv", result.cluster);
  return result;
}

/// Every case under `root`, by name.
inline std::vector<Case> read_cases(const std::filesystem::path& root) {
  std::vector<std::filesystem::path> directories;
  for (const auto& entry : std::filesystem::directory_iterator(root))
    if (std::filesystem::exists(entry.path() / "queries.csv")) directories.push_back(entry.path());
  std::sort(directories.begin(), directories.end());
  std::vector<Case> cases;
  for (const auto& directory : directories) cases.push_back(read_case(directory));
  return cases;
}

}  // namespace bulkhead::cases
