#include "policies/load/error.h"

#include <cstdio>

namespace bulkhead::policies {
namespace {

/// A key may hold what would end the line.
std::string on_one_line(const std::string& path) {
  std::string text;
  for (const char c : path) {
    char escape[5] = {c, '\0'};
    if (static_cast<unsigned char>(c) < 0x20)
      std::snprintf(escape, sizeof escape, "\\x%02x", static_cast<unsigned>(c));
    text += escape;
  }
  return text;
}

}  // namespace

std::string format(const Error& error) {
  std::string text = error.origin.file;
  if (error.origin.line != 0) {
    text += ":" + std::to_string(error.origin.line);
    if (error.origin.column != 0) text += ":" + std::to_string(error.origin.column);
  }
  if (!text.empty()) text += ": ";
  if (!error.path.empty()) text += on_one_line(error.path) + ": ";
  return text + error.message;
}

void Report::add(std::uint32_t line, std::uint32_t column, std::string path, std::string message) {
  if (errors_.size() < kErrorsMax)
    errors_.push_back({{file_, line, column}, std::move(path), std::move(message)});
  else if (errors_.size() == kErrorsMax)
    errors_.push_back({{file_, line, column}, "", std::string(kMoreErrors)});
}

void Report::warn(std::uint32_t line, std::uint32_t column, std::string path, std::string message) {
  if (warnings_.size() < kErrorsMax)
    warnings_.push_back({{file_, line, column}, std::move(path), std::move(message)});
}

}  // namespace bulkhead::policies
