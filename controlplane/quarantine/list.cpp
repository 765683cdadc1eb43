#include "controlplane/quarantine/list.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <tuple>

#include "policies/load/fields.h"

namespace bulkhead::quarantine {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr int kFileVersion = 1;
constexpr std::size_t kFileBytesMax = std::size_t{64} << 20;
constexpr char kDamagedSuffix[] = ".damaged";

auto key_of(const Entry& entry) {
  return std::tie(entry.what.namespace_name, entry.what.name);
}

/// Every byte of the file; nothing where there is none. Throws std::runtime_error.
std::optional<std::string> read_whole(const std::string& path) {
  const auto fail = [&](const char* what) -> std::runtime_error {
    return std::runtime_error(path + ": " + what);
  };
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0 && errno == ENOENT) return std::nullopt;
  if (fd < 0) throw fail(std::strerror(errno));
  std::string text;
  struct stat status {};
  int reason = ::fstat(fd, &status) != 0 ? errno : 0;
  const bool regular = reason == 0 && S_ISREG(status.st_mode);
  while (regular && reason == 0 && text.size() <= kFileBytesMax) {
    char part[65536];
    const ssize_t got = ::read(fd, part, sizeof part);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) reason = errno;
    if (got <= 0) break;
    text.append(part, static_cast<std::size_t>(got));
  }
  ::close(fd);
  if (reason != 0) throw fail(std::strerror(reason));
  if (!regular) throw fail("not a regular file");
  if (text.size() > kFileBytesMax) throw fail("larger than a list of quarantines can be");
  return text;
}

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

/// A new file by that name, on disk with its name. Why not, or nothing.
std::optional<std::string> replace_file(const std::string& path, std::string_view text) {
  const std::string temporary = path + ".new";
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const bool written = fd >= 0 && write_all(fd, text) && ::fsync(fd) == 0;
  const int reason = errno;
  if (fd >= 0) ::close(fd);
  if (!written) return temporary + ": " + std::strerror(reason);
  if (::rename(temporary.c_str(), path.c_str()) != 0) return path + ": " + std::strerror(errno);
  const std::string directory = std::filesystem::path(path).parent_path().string();
  const int parent = ::open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool named = parent >= 0 && ::fsync(parent) == 0;
  const int why = errno;
  if (parent >= 0) ::close(parent);
  if (!named) return directory + ": " + std::strerror(why);
  return std::nullopt;
}

/// The text of a field; throws std::runtime_error. nlohmann's own errors never leave this file.
std::string text_of(const json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end()) throw std::runtime_error(std::string("expected the field ") + name);
  if (!found->is_string()) throw std::runtime_error(std::string("expected a text as ") + name);
  return found->get<std::string>();
}

Entry parse_entry(std::string_view line) {
  const json object = json::parse(line, nullptr, false);
  if (!object.is_object()) throw std::runtime_error("expected an entry, a JSON object");
  Entry entry;
  entry.what = {text_of(object, "namespace"), text_of(object, "name"), text_of(object, "reason"),
                text_of(object, "author")};
  const auto since = object.find("since_ms");
  if (since == object.end() || !since->is_number_integer() || *since < 0)
    throw std::runtime_error("expected a time as since_ms");
  entry.since_ms = since->get<std::int64_t>();
  if (object.size() != 5) throw std::runtime_error("found unknown fields");
  if (const auto why = wrong(entry.what)) throw std::runtime_error(*why);
  return entry;
}

/// How many entries the head announces.
std::size_t parse_head(std::string_view line) {
  const json object = json::parse(line, nullptr, false);
  if (!object.is_object() || object.value("bulkhead", json()) != "quarantine")
    throw std::runtime_error("expected the head of a list of quarantines");
  if (object.value("version", json()) != kFileVersion)
    throw std::runtime_error("found another version, expected " + std::to_string(kFileVersion));
  const auto entries = object.find("entries");
  if (entries == object.end() || !entries->is_number_unsigned() || *entries > kEntriesMax)
    throw std::runtime_error("expected the number of entries");
  return entries->get<std::size_t>();
}

/// Every entry that can be read, and all that is wrong, a line each.
std::vector<Entry> parse(const std::string& path, std::string_view text, std::vector<std::string>& wrongs) {
  std::vector<Entry> entries;
  std::optional<std::size_t> announced;
  std::size_t number = 0;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    ++number;
    try {
      if (end == std::string_view::npos) throw std::runtime_error("the line has no end");
      if (number == 1) {
        announced = parse_head(line);
      } else {
        Entry entry = parse_entry(line);
        const bool again = std::any_of(entries.begin(), entries.end(),
                                       [&](const Entry& known) { return key_of(known) == key_of(entry); });
        if (again)
          throw std::runtime_error("found " + entry.what.namespace_name + "/" + entry.what.name + " again");
        entries.push_back(std::move(entry));
      }
    } catch (const std::exception& error) {
      wrongs.push_back(path + ":" + std::to_string(number) + ": " + error.what());
    }
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  if (number == 0) wrongs.push_back(path + ": the file is empty");
  if (announced && *announced != entries.size())
    wrongs.push_back(path + ": found " + std::to_string(entries.size()) +
                     " entries that can be read, expected " + std::to_string(*announced));
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return key_of(a) < key_of(b); });
  return entries;
}

std::optional<std::string> wrong_text(const std::string& text, const char* what, std::size_t bytes_max) {
  if (text.empty()) return std::string("found no ") + what + ", expected one";
  if (text.size() > bytes_max)
    return std::string("found a ") + what + " of " + std::to_string(text.size()) +
           " bytes, expected at most " + std::to_string(bytes_max);
  if (std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }))
    return std::string("found a control character in the ") + what + ", expected one line of text";
  // It ends up in strings that are UTF-8.
  if (json(text).dump(-1, ' ', false, json::error_handler_t::ignore).size() !=
      json(text).dump(-1, ' ', false, json::error_handler_t::replace).size())
    return std::string("found a ") + what + " that is no UTF-8";
  return std::nullopt;
}

}  // namespace

std::optional<std::string> wrong(const policies::Quarantine& what) {
  if (const auto why = policies::wrong_dns_label(what.namespace_name))
    return "found the namespace " + policies::quoted(what.namespace_name) + ", expected " + *why;
  if (const auto why = policies::wrong_dns_subdomain(what.name))
    return "found the name " + policies::quoted(what.name) + ", expected " + *why;
  if (auto why = wrong_text(what.reason, "reason", kReasonBytesMax)) return why;
  return wrong_text(what.author, "author", kAuthorBytesMax);
}

List::List(std::string path) : path_(std::move(path)) {
  const auto text = read_whole(path_);
  if (!text) return;
  std::vector<std::string> wrongs;
  entries_ = parse(path_, *text, wrongs);
  if (wrongs.empty()) return;
  // What is damaged already stays the evidence; a second damage would hide the first.
  const std::string kept = path_ + kDamagedSuffix;
  if (!std::filesystem::exists(kept))
    if (const auto why = replace_file(kept, *text)) throw std::runtime_error(*why);
  changed_ = true;
  save();
}

std::vector<policies::Quarantine> List::quarantines() const {
  std::vector<policies::Quarantine> all;
  for (const Entry& entry : entries_) all.push_back(entry.what);
  return all;
}

const Entry* List::find(std::string_view namespace_name, std::string_view name) const {
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) {
    return entry.what.namespace_name == namespace_name && entry.what.name == name;
  });
  return found != entries_.end() ? &*found : nullptr;
}

bool List::add(const policies::Quarantine& what, std::int64_t now_ms) {
  const Entry made{what, now_ms};
  const auto at = std::lower_bound(entries_.begin(), entries_.end(), made,
                                   [](const Entry& a, const Entry& b) { return key_of(a) < key_of(b); });
  if (at != entries_.end() && key_of(*at) == key_of(made)) {
    at->what = what;
  } else {
    if (entries_.size() >= kEntriesMax) return false;
    entries_.insert(at, made);
  }
  changed_ = true;
  save();
  return true;
}

bool List::lift(std::string_view namespace_name, std::string_view name) {
  const Entry* found = find(namespace_name, name);
  if (found == nullptr) return false;
  entries_.erase(entries_.begin() + (found - entries_.data()));
  changed_ = true;
  save();
  return true;
}

void List::save() {
  if (!changed_) return;
  std::string text =
      ordered_json{{"bulkhead", "quarantine"}, {"version", kFileVersion}, {"entries", entries_.size()}}
          .dump() +
      "\n";
  for (const Entry& entry : entries_)
    text += ordered_json{{"namespace", entry.what.namespace_name},
                         {"name", entry.what.name},
                         {"reason", entry.what.reason},
                         {"author", entry.what.author},
                         {"since_ms", entry.since_ms}}
                .dump() +
            "\n";
  unsaved_ = replace_file(path_, text).value_or("");
  changed_ = !unsaved_.empty();
}

std::vector<std::string> List::damage() const {
  const std::string kept = path_ + kDamagedSuffix;
  std::vector<std::string> wrongs;
  try {
    if (const auto text = read_whole(kept)) parse(kept, *text, wrongs);
  } catch (const std::exception& error) {
    wrongs.push_back(error.what());
  }
  return wrongs;
}

}  // namespace bulkhead::quarantine
