// Who is quarantined on this node, kept over restarts.
//
// One file in the state directory, replaced by rename with its bytes and its name on disk before anybody is
// told. Each entry is a line of its own, so that damage to one says nothing about the others:
//
//   {"bulkhead":"quarantine","version":1,"entries":2}
//   {"namespace":"shop","name":"web","reason":"beacons to 198.51.100.7","author":"alice","since_ms":1764000000000}
//   {"namespace":"lab","name":"ci","reason":"...","author":"bob","since_ms":1764000000001}
//
// Read once, strictly. What can be read of a damaged file holds; the file is kept beside as FILE.damaged, and
// damage() says what is wrong with it until somebody has taken that away: an entry that cannot be read any
// more is never gone in silence. A file that is there and cannot be read at all throws: whoever would go on
// without it would lift everything.
//
// A list whose file cannot be written holds all the same; unsaved() says why, and save() tries again.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policies/model/quarantine.h"

namespace bulkhead::quarantine {

inline constexpr std::size_t kEntriesMax = 10'000;
inline constexpr std::size_t kReasonBytesMax = 512, kAuthorBytesMax = 128;

struct Entry {
  policies::Quarantine what;
  std::int64_t since_ms = 0;  // Unix time
  bool operator==(const Entry&) const = default;
};

/// Why nobody can be quarantined so: a name that no endpoint can have, no reason, no author, text that is too
/// long, no UTF-8, or has control characters; nothing if it is right.
std::optional<std::string> wrong(const policies::Quarantine& what);

class List {
 public:
  /// Throws std::runtime_error where the file is there and cannot be read.
  explicit List(std::string path);

  /// By namespace and name, one each.
  const std::vector<Entry>& entries() const { return entries_; }
  std::vector<policies::Quarantine> quarantines() const;
  const Entry* find(std::string_view namespace_name, std::string_view name) const;

  /// Of a right one (`wrong`). Reason and author of one that is there already are replaced, since when stays.
  /// False where there are kEntriesMax.
  bool add(const policies::Quarantine& what, std::int64_t now_ms);
  /// False where there is none of that name.
  bool lift(std::string_view namespace_name, std::string_view name);

  /// Writes what is not written yet.
  void save();
  const std::string& unsaved() const { return unsaved_; }  // why not; empty: all is on disk

  /// Lines for people: file, line, what is wrong. Looked up again by each call, because people mend it.
  std::vector<std::string> damage() const;

 private:
  std::string path_;
  std::vector<Entry> entries_;
  bool changed_ = false;
  std::string unsaved_;
};

}  // namespace bulkhead::quarantine
