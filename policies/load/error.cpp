#include "policies/load/error.h"

namespace bulkhead::policies {

std::string format(const Error& error) {
  std::string text = error.origin.file;
  if (error.origin.line != 0) {
    text += ":" + std::to_string(error.origin.line);
    if (error.origin.column != 0) text += ":" + std::to_string(error.origin.column);
  }
  if (!text.empty()) text += ": ";
  if (!error.path.empty()) text += error.path + ": ";
  return text + error.message;
}

void Report::add(std::uint32_t line, std::uint32_t column, std::string path, std::string message) {
  if (errors_.size() < kErrorsMax)
    errors_.push_back({{file_, line, column}, std::move(path), std::move(message)});
  else if (errors_.size() == kErrorsMax)
    errors_.push_back({{file_, line, column}, "", "more errors follow and are not listed"});
}

void Report::warn(std::uint32_t line, std::uint32_t column, std::string path, std::string message) {
  if (warnings_.size() < kErrorsMax)
    warnings_.push_back({{file_, line, column}, std::move(path), std::move(message)});
}

}  // namespace bulkhead::policies
