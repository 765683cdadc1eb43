#include "policies/import/tree.h"

#include <algorithm>
#include <charconv>

#include "policies/load/fields.h"
#include "policies/load/syntax.h"

namespace bulkhead::policies::imports {

Item Item::operator[](std::string_view name) const {
  Item found;
  found.line_ = line_;
  found.column_ = column_;
  found.path_ = path_.empty() ? std::string(name) : path_ + "." + std::string(name);
  if (node_ == nullptr) return found;
  if (node_->kind != NodeKind::kMapping)
    throw Refused{*this, "found " + describe_found(*node_) + ", expected a mapping"};
  const YamlNode* member = node_->find(name);
  return member == nullptr ? found : Item(*member, found.path_);
}

std::vector<Item> Item::items() const {
  std::vector<Item> items;
  if (node_ == nullptr) return items;
  if (!is_list()) throw Refused{*this, "found " + describe_found(*node_) + ", expected a list"};
  for (std::size_t i = 0; i < node_->items.size(); ++i) {
    items.emplace_back(node_->items[i], path_ + "[" + std::to_string(i) + "]");
    if (!items.back()) throw Refused{items.back(), "found nothing, expected an item of the list"};
  }
  return items;
}

std::vector<std::pair<std::string, Item>> Item::members() const {
  std::vector<std::pair<std::string, Item>> members;
  if (node_ == nullptr) return members;
  if (!is_mapping()) throw Refused{*this, "found " + describe_found(*node_) + ", expected a mapping"};
  for (const auto& [key, value] : node_->members)
    members.emplace_back(key.scalar, Item(value, path_.empty() ? key.scalar : path_ + "." + key.scalar));
  return members;
}

std::vector<Item> Item::besides(std::initializer_list<std::string_view> names) const {
  std::vector<Item> others;
  for (auto& [key, value] : members())
    if (value && std::find(names.begin(), names.end(), key) == names.end()) others.push_back(value);
  return others;
}

void Item::refuse_besides(std::initializer_list<std::string_view> names) const {
  for (const Item& other : besides(names)) {
    const std::string& path = other.path();
    const std::string word = path.substr(path.rfind('.') + 1);
    throw Refused{
        other, "found the unknown field " + quoted(word) + did_you_mean(word, {names.begin(), names.end()})};
  }
}

bool Item::is_odd_number() const {
  return node_ != nullptr && node_->plain && looks_like_number(node_->scalar) &&
         node_->scalar.find_first_not_of("0123456789") != std::string::npos;
}

std::string Item::text() const {
  if (node_ == nullptr) return {};
  if (node_->kind != NodeKind::kScalar)
    throw Refused{*this, "found " + describe_found(*node_) + ", expected a text"};
  return node_->scalar;
}

bool Item::boolean() const {
  const std::string word = text();
  if (word.empty() || word == "false") return false;
  if (word == "true") return true;
  throw Refused{*this, "found " + quoted(word) + ", expected true or false"};
}

std::optional<std::uint32_t> Item::number(std::uint32_t max) const {
  const std::string word = text();
  if (word.empty()) return std::nullopt;
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  const bool octal = word.size() > 1 && word[0] == '0';
  if (error != std::errc{} || end != word.data() + word.size() || octal || value > max)
    throw Refused{*this, "found " + quoted(word) + ", expected a number from 0 to " + std::to_string(max)};
  return value;
}

std::vector<std::string> Item::texts() const {
  std::vector<std::string> texts;
  for (const Item& item : items()) texts.push_back(item.text());
  return texts;
}

}  // namespace bulkhead::policies::imports
