#include "controlplane/identity/identity.h"

#include <openssl/evp.h>

#include <cstring>
#include <memory>
#include <stdexcept>

namespace bulkhead::identity {
namespace {

void append_sized(std::string_view part, std::string& out) {
  const auto bytes = static_cast<std::uint32_t>(part.size());
  for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<char>(bytes >> shift & 0xff));
  out.append(part);
}

}  // namespace

void encode(std::string_view namespace_name, const policies::Labels& labels, std::string_view service_account,
            std::string& out) {
  append_sized(namespace_name, out);
  for (const auto& [key, value] : labels) {
    append_sized(key, out);
    append_sized(value, out);
  }
  if (!service_account.empty()) append_sized(service_account, out);
}

std::string encode(std::string_view namespace_name, const policies::Labels& labels,
                   std::string_view service_account) {
  std::string out;
  encode(namespace_name, labels, service_account, out);
  return out;
}

Id identify(std::string_view encoding) {
  // Fetched once: an implicit fetch per call costs more than hashing a label set.
  static const std::unique_ptr<EVP_MD, decltype(&EVP_MD_free)> sha256(
      EVP_MD_fetch(nullptr, "SHA256", nullptr), EVP_MD_free);
  unsigned char digest[EVP_MAX_MD_SIZE];
  if (!sha256 || EVP_Digest(encoding.data(), encoding.size(), digest, nullptr, sha256.get(), nullptr) != 1)
    throw std::runtime_error("libcrypto cannot compute SHA-256");
  Id id;
  std::memcpy(id.bytes.data(), digest, id.bytes.size());
  return id;
}

std::string text(const policies::Labels& labels) {
  std::string out;
  for (const auto& [key, value] : labels) {
    if (!out.empty()) out += ',';
    out += key;
    out += '=';
    out += value;
  }
  return out;
}

std::string hex(const Id& id) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const std::uint8_t byte : id.bytes) {
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

std::size_t IdHash::operator()(const Id& id) const {
  std::size_t hash;
  std::memcpy(&hash, id.bytes.data(), sizeof hash);
  return hash;
}

Table::Result Table::intern(std::string_view encoding) {
  const auto index = static_cast<std::uint32_t>(entries_.size());
  const auto [known, is_new] = by_encoding_.try_emplace(std::string(encoding), index);
  if (!is_new) return {known->second, std::nullopt};
  const Id id = hash_(encoding);
  const auto [owner, is_free] = by_id_.try_emplace(id, index);
  if (!is_free) {
    by_encoding_.erase(known);
    return {owner->second, owner->second};
  }
  entries_.push_back({id, std::string(encoding)});
  return {index, std::nullopt};
}

}  // namespace bulkhead::identity
