// The directory of policies: every *.yaml, *.yml and *.json in it, taken as one set or not at all.
//
// Names that start with a dot (editors' swap files, the links of a mounted ConfigMap) and sub-directories are
// passed over. Files are read in the order of their names, so that messages come in one order on every
// machine.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "controlplane/source/source.h"
#include "policies/load/load.h"
#include "policies/model/policy.h"

namespace bulkhead::source {

class PolicyDirectory {
 public:
  PolicyDirectory(std::string path, std::size_t file_bytes_max, policies::Mesh mesh = {})
      : path_(std::move(path)), file_bytes_max_(file_bytes_max), mesh_(std::move(mesh)) {}

  /// Reads everything again. True if there is a new good set. One bad file refuses the whole set.
  bool reload();

  const std::string& path() const { return path_; }
  const policies::PolicySet& policies() const { return policies_; }
  std::size_t files() const { return texts_.size(); }
  const Health& health() const { return health_; }

 private:
  std::string path_;
  std::size_t file_bytes_max_;
  policies::Mesh mesh_;
  std::vector<std::pair<std::string, std::string>> texts_;  // name and bytes of the last good reading
  policies::PolicySet policies_;
  Health health_;
};

}  // namespace bulkhead::source
