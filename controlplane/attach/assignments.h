// Which port number and key belongs to which endpoint, for as long as both live, across restarts.
//
// A *place* is where a port physically is: the interface and the very namespace (by inode), so a namespace that
// was deleted and made again under the same name is another place. An endpoint keeps its number; its key is new
// whenever its place is, so a port never opens for whoever came there later.
//
//   key = first 8 bytes of SHA-256(endpoint id, sequence);   sequences rise and are never used twice
//
// Kept in one JSON file, replaced atomically. A file that is missing or damaged costs new keys, nothing else.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

namespace bulkhead::attach {

inline constexpr std::uint32_t kHostPort = 1;
inline constexpr std::uint32_t kUplinkPort = 2;
inline constexpr std::uint32_t kFirstEndpointPort = 3;

/// Never 0: that means "no key" to the data plane.
std::uint64_t port_key(std::string_view endpoint_id, std::uint64_t sequence);

struct Assignment {
  std::uint32_t port = 0;
  std::uint64_t sequence = 0;
  std::uint64_t key = 0;
  std::string place;
};

class Assignments {
 public:
  /// Reads the file if there is one. Never fails: `warning()` says what was wrong with it.
  explicit Assignments(std::string path);

  const std::string& warning() const { return warning_; }

  /// nullptr if the endpoint has none.
  const Assignment* find(const std::string& endpoint_id) const;

  /// The endpoint's assignment at this place: the present one, or its number with a new key, or the lowest free
  /// number that is not in `taken`. nullptr where no number is left.
  const Assignment* at(const std::string& endpoint_id, const std::string& place,
                       const std::set<std::uint32_t>& taken);

  /// The same place, but what was there is lost: a new key.
  void renew(const std::string& endpoint_id);

  /// After the file was lost: if `key` is one that this endpoint may have been given, it is given again.
  bool adopt(const std::string& endpoint_id, const std::string& place, std::uint32_t port, std::uint64_t key);

  void release(const std::string& endpoint_id);
  const std::map<std::string, Assignment>& all() const { return assignments_; }

  /// Writes what changed since the last save. Why not, or nothing.
  std::optional<std::string> save();

 private:
  void load(const std::string& text);

  std::string path_;
  std::string warning_;
  std::map<std::string, Assignment> assignments_;
  std::uint64_t last_sequence_ = 0;
  bool changed_ = false;
};

}  // namespace bulkhead::attach
