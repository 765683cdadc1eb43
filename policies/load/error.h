// What is wrong with a file, for people: where, at which field, what was found, what was expected.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "policies/model/policy.h"

namespace bulkhead::policies {

/// In place of those beyond a bound.
inline constexpr std::string_view kMoreErrors = "more errors follow and are not listed";

struct Error {
  Origin origin;
  std::string path;  // the field: "spec.edges[0].ports[2]"; empty for the file as a whole
  std::string message;
  auto operator<=>(const Error&) const = default;
};

/// "shop.yaml:12:9: spec.edges[0].action: found "alow", expected allow or deny; did you mean "allow"?"
/// Line, column and path are left out where they are unknown.
std::string format(const Error& error);

/// A name that something of another file, or further on in this one, must bear.
struct Reference {
  Origin origin;
  std::string path;
  std::string name;
};

/// Collects the errors of one file, and what is no error but should be known. Bounded: past kErrorsMax only the
/// fact that there are more is kept.
class Report {
 public:
  static constexpr std::size_t kErrorsMax = 200;

  explicit Report(std::string file) : file_(std::move(file)) {}

  const std::string& file() const { return file_; }
  const std::vector<Error>& errors() const { return errors_; }
  bool empty() const { return errors_.empty(); }
  /// Past kErrorsMax: to read on would tell nobody more.
  bool full() const { return errors_.size() > kErrorsMax; }
  void add(std::uint32_t line, std::uint32_t column, std::string path, std::string message);

  const std::vector<Error>& warnings() const { return warnings_; }
  void warn(std::uint32_t line, std::uint32_t column, std::string path, std::string message);

  /// Names to be looked up once everything is read: those of CidrGroups.
  const std::vector<Reference>& references() const { return references_; }
  void refer(Reference reference) { references_.push_back(std::move(reference)); }

 private:
  std::string file_;
  std::vector<Error> errors_, warnings_;
  std::vector<Reference> references_;
};

}  // namespace bulkhead::policies
