// Behaviour as data: a case is a directory of tests/cases/ with
//
//   policies.yaml   what is loaded, after a comment that cites the clause of the API that it shows
//   queries.csv     src,dst,proto,port,verdict     an end is namespace/pod or an address; verdict allow or deny
//   cluster.yaml    Kubernetes manifests; absent: tests/cases/cluster.yaml
//   posture         one word, deny (the default), allow or strict: policies::Posture
//
// and, where something happens afterwards, for N from 1 on, without a gap:
//
//   step-N.yaml     objects that come, or are others now: each takes the place of that of its kind, namespace and name
//   step-N.gone     objects that go, one a line: KIND NAMESPACE/NAME, or KIND NAME
//   step-N.csv      queries once all this is so
//
// The oracle, and everything compiled from policies, must answer every query so; whoever compiled the moment before and is
// told of the next one, too.
#pragma once

#include <algorithm>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <span>
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

/// What there is at one time.
struct Moment {
  policies::Cluster cluster;
  policies::PolicySet policies;
  std::vector<Query> queries;
};

struct Case {
  std::string name;
  policies::Posture posture;
  std::vector<Moment> moments;  // the first, then each step's
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

/// All objects there are, in the order in which they came.
class Objects {
 public:
  void add(const std::filesystem::path& path) {
    std::ifstream stream(path);
    if (!stream) throw std::runtime_error("cannot open " + path.string());
    const std::string text{std::istreambuf_iterator<char>(stream), {}};
    policies::Report report(path.string());
    for (auto& document : policies::parse_documents(text, report)) {
      const policies::YamlNode& kept = trees_.emplace_back(std::move(document));
      for (const auto& object : policies::objects_of(kept, report)) {
        const auto [place, is_new] = places_.emplace(key_of(object), nodes_.size());
        if (is_new)
          nodes_.push_back(object.value.node());
        else
          nodes_[place->second] = object.value.node();
      }
    }
    if (!report.empty()) throw std::runtime_error(policies::format(report.errors().front()));
  }

  /// Those named in the file, if there is one.
  void remove(const std::filesystem::path& path) {
    std::ifstream stream(path);
    for (std::string line; std::getline(stream, line);) {
      const auto found = places_.find(line);
      if (found == places_.end()) throw std::runtime_error(path.string() + ": nobody is " + line);
      nodes_[found->second] = nullptr;
      places_.erase(found);
    }
  }

  std::string text() const {
    std::string text;
    for (const policies::YamlNode* node : nodes_) {
      if (node == nullptr) continue;
      write(*node, text);
      text += "\n---\n";
    }
    return text;
  }

 private:
  static std::string key_of(const policies::Object& object) {
    const policies::YamlNode* metadata = object.value.node()->find("metadata");
    const auto field = [&](std::string_view name) {
      const policies::YamlNode* value = metadata == nullptr ? nullptr : metadata->find(name);
      return value == nullptr ? std::string() : value->scalar;
    };
    const std::string home = field("namespace");
    return object.kind + " " + (home.empty() ? "" : home + "/") + field("name");
  }

  /// As YAML in one line, each scalar quoted where it was.
  static void write(const policies::YamlNode& node, std::string& text) {
    const char* separator = "";
    switch (node.kind) {
      case policies::NodeKind::kNull:
        text += "null";
        return;
      case policies::NodeKind::kScalar:
        text += node.plain ? node.scalar : "'" + node.scalar + "'";
        return;
      case policies::NodeKind::kSequence:
        text += "[";
        for (const auto& item : node.items) {
          text += separator;
          write(item, text);
          separator = ", ";
        }
        text += "]";
        return;
      case policies::NodeKind::kMapping:
        text += "{";
        for (const auto& [key, value] : node.members) {
          text += separator;
          write(key, text);
          text += ": ";
          write(value, text);
          separator = ", ";
        }
        text += "}";
        return;
    }
  }

  std::deque<policies::YamlNode> trees_;
  std::vector<const policies::YamlNode*> nodes_;  // nullptr: it went
  std::map<std::string, std::size_t> places_;
};

inline Moment read_moment(std::span<const policies::File> files, const std::filesystem::path& queries) {
  auto read = source::read_manifests(files);
  if (!read.ok()) throw std::runtime_error(policies::format(read.errors.front()));
  Moment moment{std::move(read.cluster), std::move(read.policies), {}};
  moment.queries = read_queries(queries, moment.cluster);
  return moment;
}

inline Case read_case(const std::filesystem::path& directory) {
  namespace fs = std::filesystem;
  const fs::path own = directory / "cluster.yaml";
  const fs::path files[] = {fs::exists(own) ? own : directory.parent_path() / "cluster.yaml",
                            directory / "policies.yaml"};
  Case result{directory.filename().string(), {}, {}};
  std::string word;
  std::ifstream(directory / "posture") >> word;
  result.posture.strict = word == "strict";
  if (word == "allow") result.posture.action = policies::Action::kAllow;

  Objects objects;
  std::vector<policies::File> read;
  for (const auto& file : files) {
    objects.add(file);
    std::ifstream stream(file);
    read.push_back({file.string(), {std::istreambuf_iterator<char>(stream), {}}});
  }
  result.moments.push_back(read_moment(read, directory / "queries.csv"));
  for (int number = 1;; ++number) {
    const std::string step = "step-" + std::to_string(number);
    if (!fs::exists(directory / (step + ".csv"))) break;
    objects.remove(directory / (step + ".gone"));
    if (fs::exists(directory / (step + ".yaml"))) objects.add(directory / (step + ".yaml"));
    const policies::File all[] = {{(directory / step).string(), objects.text()}};
    result.moments.push_back(read_moment(all, directory / (step + ".csv")));
  }
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
