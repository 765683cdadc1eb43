#include "controlplane/source/policy_directory.h"

#include <algorithm>
#include <filesystem>

namespace bulkhead::source {

namespace fs = std::filesystem;

bool PolicyDirectory::reload() {
  policies::Report report(path_);
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(path_, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    if (!policies::is_read_in_directories(entry->path().filename().string())) continue;
    if (!entry->is_directory(ignored)) names.push_back(entry->path().string());
  }
  if (error) {
    report.add(0, 0, "", "cannot list the policies: " + error.message());
    health_.errors = report.errors();
    return false;
  }
  std::sort(names.begin(), names.end());

  std::vector<policies::File> files;
  std::vector<policies::Error> errors;
  policies::LoadOptions options;
  options.limits.file_bytes_max = file_bytes_max_;
  options.mesh = mesh_;
  for (const std::string& name : names) {
    policies::Report file_report(name);
    auto text = policies::read_file(name, file_report, options.limits);
    if (text) files.push_back({name, std::move(*text)});
    errors.insert(errors.end(), file_report.errors().begin(), file_report.errors().end());
  }
  if (!errors.empty()) {
    health_.errors = std::move(errors);
    return false;
  }
  const bool same = health_.synced && std::equal(files.begin(), files.end(), texts_.begin(), texts_.end(),
                                                 [](const policies::File& file, const auto& text) {
                                                   return file.name == text.first && file.text == text.second;
                                                 });
  if (!same) {
    policies::Loaded loaded = policies::load(files, options);
    if (!loaded.ok()) {
      health_.errors = std::move(loaded.errors);
      return false;
    }
    policies_ = std::move(loaded.policies);
    health_.warnings = std::move(loaded.warnings);
    texts_.clear();
    for (policies::File& file : files) texts_.emplace_back(std::move(file.name), std::move(file.text));
  }
  health_.synced = true;
  health_.read_at = std::chrono::steady_clock::now();
  health_.errors.clear();
  return !same;
}

}  // namespace bulkhead::source
