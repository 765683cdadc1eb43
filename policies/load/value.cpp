#include <algorithm>
#include <charconv>

#include "policies/load/fields.h"
#include "policies/load/syntax.h"

namespace bulkhead::policies {
namespace {

template <class T>
bool parse_whole(std::string_view text, T& result) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), result);
  return error == std::errc{} && end == text.data() + text.size();
}

/// Decimal without leading zeros: 010 is 8 to some readers.
bool is_decimal(std::string_view text) {
  if (!text.empty() && text[0] == '-') text.remove_prefix(1);
  if (text.empty() || (text.size() > 1 && text[0] == '0')) return false;
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

/// "250ms" -> 250 times the factor of "ms". Fails on overflow.
std::optional<std::uint64_t> with_unit(std::string_view text, std::span<const Unit> units) {
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  std::uint64_t count = 0;
  if (!is_decimal(text.substr(0, digits)) || !parse_whole(text.substr(0, digits), count)) return std::nullopt;
  for (const auto& unit : units) {
    if (text.substr(digits) != unit.name) continue;
    std::uint64_t product = 0;
    if (__builtin_mul_overflow(count, unit.factor, &product)) return std::nullopt;
    return product;
  }
  return std::nullopt;
}

constexpr Unit kTimeUnits[] = {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}};
constexpr Unit kSizeUnits[] = {{"", 1},
                               {"KiB", std::uint64_t{1} << 10},
                               {"MiB", std::uint64_t{1} << 20},
                               {"GiB", std::uint64_t{1} << 30}};

/// In the largest unit that divides it.
std::string in_units(std::uint64_t count, std::span<const Unit> units) {
  const Unit* best = &units[0];
  for (const auto& unit : units)
    if (count != 0 && count % unit.factor == 0 && unit.factor >= best->factor) best = &unit;
  return std::to_string(count / best->factor) + std::string(best->name);
}

}  // namespace

std::string describe_found(const YamlNode& node) {
  switch (node.kind) {
    case NodeKind::kNull:
      return "nothing";
    case NodeKind::kSequence:
      return "a list";
    case NodeKind::kMapping:
      return "a mapping";
    case NodeKind::kScalar:
      break;
  }
  if (node.plain && looks_like_number(node.scalar)) return "the number " + node.scalar.substr(0, 60);
  if (node.plain && looks_like_boolean(node.scalar)) return "the unquoted word " + node.scalar;
  return quoted(node.scalar);
}

Origin Value::origin() const {
  if (report_ == nullptr) return {};
  const YamlNode* place = written_ != nullptr ? written_ : around_;
  if (place == nullptr) return {report_->file(), 0, 0};
  return {report_->file(), place->line, place->column};
}

void Value::fail(std::string message) const {
  if (report_ == nullptr) return;
  const Origin at = origin();
  report_->add(at.line, at.column, path_, std::move(message));
}

void Value::warn(std::string message) const {
  if (report_ == nullptr) return;
  const Origin at = origin();
  report_->warn(at.line, at.column, path_, std::move(message));
}

void Value::refer(std::string name) const {
  if (report_ != nullptr) report_->refer({origin(), path_, std::move(name)});
}

void Value::fail_expected(std::string_view expected) const {
  fail("found " + (written_ != nullptr ? describe_found(*written_) : "nothing") + ", expected " +
       std::string(expected));
}

void Value::fail_spelling(std::string_view word, std::span<const std::string_view> words) const {
  fail("found " + quoted(word) + ", expected " + one_of(words) + did_you_mean(word, words));
}

/// Any scalar, plain or quoted: for syntaxes of their own.
const std::string* Value::scalar_for(std::string_view expected) const {
  if (node_ == nullptr) return nullptr;
  if (node_->kind == NodeKind::kScalar) return &node_->scalar;
  fail_expected(expected);
  return nullptr;
}

std::optional<std::string> Value::choice_text() const {
  const std::string* text = scalar_for("a word");
  return text != nullptr ? std::optional(*text) : std::nullopt;
}

std::optional<std::string> Value::text() const {
  const std::string* text = scalar_for("a string");
  if (text == nullptr) return std::nullopt;
  const bool boolean = looks_like_boolean(*text) && !bare_letter(*text);
  if (node_->plain && (boolean || looks_like_number(*text))) {
    fail_expected("a string; write " + quoted(*text) + " in quotes");
    return std::nullopt;
  }
  return *text;
}

std::optional<std::string> Value::nonempty_text() const {
  auto result = text();
  if (result && result->empty()) {
    fail_expected("a string that is not empty");
    return std::nullopt;
  }
  return result;
}

std::optional<bool> Value::boolean() const {
  if (node_ == nullptr) return std::nullopt;
  if (node_->kind == NodeKind::kScalar && node_->plain) {
    if (node_->scalar == "true") return true;
    if (node_->scalar == "false") return false;
  }
  fail_expected("true or false");
  return std::nullopt;
}

std::optional<std::int64_t> Value::integer(std::int64_t min, std::int64_t max) const {
  if (node_ == nullptr) return std::nullopt;
  std::int64_t result = 0;
  if (node_->kind == NodeKind::kScalar && node_->plain && is_decimal(node_->scalar) &&
      parse_whole(node_->scalar, result) && result >= min && result <= max)
    return result;
  fail_expected("a whole number from " + std::to_string(min) + " to " + std::to_string(max));
  return std::nullopt;
}

std::optional<std::uint16_t> Value::port() const {
  const auto number = integer(1, 65535);
  return number ? std::optional(static_cast<std::uint16_t>(*number)) : std::nullopt;
}

std::optional<std::chrono::milliseconds> Value::duration(std::chrono::milliseconds min,
                                                         std::chrono::milliseconds max) const {
  const std::string* text = scalar_for("a duration");
  if (text == nullptr) return std::nullopt;
  const auto count = with_unit(*text, kTimeUnits);
  if (count && *count >= static_cast<std::uint64_t>(min.count()) &&
      *count <= static_cast<std::uint64_t>(max.count()))
    return std::chrono::milliseconds(*count);
  fail_expected("a duration from " + in_units(static_cast<std::uint64_t>(min.count()), kTimeUnits) + " to " +
                in_units(static_cast<std::uint64_t>(max.count()), kTimeUnits) +
                ", a whole number with ms, s, m or h");
  return std::nullopt;
}

std::optional<Time> Value::time() const {
  const std::string* text = scalar_for("a moment");
  if (text == nullptr) return std::nullopt;
  const auto result = parse_time(*text);
  if (!result)
    fail_expected(
        "a moment with its zone, to the second, such as 2026-12-01T08:00:00Z or 2026-12-01T09:00:00+01:00");
  return result;
}

std::optional<std::uint64_t> Value::bytes(std::uint64_t min, std::uint64_t max) const {
  const std::string* text = scalar_for("a size");
  if (text == nullptr) return std::nullopt;
  const auto count = with_unit(*text, kSizeUnits);
  if (count && *count >= min && *count <= max) return count;
  fail_expected("a size from " + in_units(min, kSizeUnits) + " to " + in_units(max, kSizeUnits) +
                ", a whole number of bytes, KiB, MiB or GiB");
  return std::nullopt;
}

std::optional<AddressBytes> Value::address() const {
  const std::string* text = scalar_for("an address");
  if (text == nullptr) return std::nullopt;
  const auto address = parse_address(*text);
  if (!address) fail_expected("an IPv4 or IPv6 address");
  return address;
}

std::optional<AddressBlock> Value::block() const {
  const std::string* text = scalar_for("an address block");
  if (text == nullptr) return std::nullopt;
  bool host_bits = false;
  const auto block = parse_block(*text, &host_bits);
  if (!block) {
    fail_expected("an address block such as 10.0.0.0/8 or 2001:db8::/32");
  } else if (host_bits) {
    fail_expected("a block whose bits after the prefix are zero; did you mean " + quoted(format(*block)) +
                  "?");
    return std::nullopt;
  }
  return block;
}

std::optional<MacBytes> Value::mac() const {
  const std::string* text = scalar_for("a MAC address");
  if (text == nullptr) return std::nullopt;
  const auto mac = parse_mac(*text);
  if (!mac) fail_expected("a MAC address such as 02:00:00:00:00:01");
  return mac;
}

std::optional<Labels> Value::labels() const {
  if (node_ == nullptr) return std::nullopt;
  if (!is_mapping()) {
    fail_expected("a mapping of labels");
    return std::nullopt;
  }
  Labels labels;
  bool good = true;
  const auto check = [&good](const Value& value, std::optional<std::string> wrong) {
    if (wrong) value.fail_expected(*wrong);
    good = good && !wrong;
  };
  for (const auto& entry : entries()) {
    const auto key = entry.key_value.text();
    const auto value = entry.value.text();
    if (!entry.value) entry.value.fail_expected("a label value; write \"\" for an empty one");
    good = good && key && value;
    if (key) check(entry.key_value, wrong_label_key(*key));
    // As a key, kubectl makes "true" or "false" of it.
    if (key && entry.key_value.node_->plain && bare_letter(*key))
      check(entry.key_value, "a string; write " + quoted(*key) + " in quotes");
    if (value) check(entry.value, wrong_label_value(*value));
    if (key && value) labels.emplace(*key, *value);
  }
  return good ? std::optional(std::move(labels)) : std::nullopt;
}

std::optional<std::vector<NamedPort>> Value::named_ports() const {
  if (node_ == nullptr) return std::nullopt;
  std::vector<NamedPort> ports;
  const std::size_t errors = report_->errors().size();
  for (const auto& item : list()) {
    Fields fields = item.fields();
    NamedPort port;
    const Value name = fields.required("name");
    port.name = name.text().value_or("");
    if (const auto wrong = wrong_port_name(port.name); wrong && name.text()) name.fail_expected(*wrong);
    port.port = fields.required("port").port().value_or(0);
    port.protocol =
        fields.optional("protocol")
            .choice<Protocol>({{"TCP", Protocol::kTcp}, {"UDP", Protocol::kUdp}, {"SCTP", Protocol::kSctp}})
            .value_or(Protocol::kTcp);
    fields.finish();
    ports.push_back(std::move(port));
  }
  return report_->errors().size() == errors && is_list() ? std::optional(std::move(ports)) : std::nullopt;
}

std::vector<Value> Value::list() const {
  std::vector<Value> items;
  if (node_ == nullptr) return items;
  if (!is_list()) {
    fail_expected("a list");
    return items;
  }
  items.reserve(node_->items.size());
  for (std::size_t i = 0; i < node_->items.size(); ++i) {
    Value item(node_->items[i], *report_, path_ + "[" + std::to_string(i) + "]");
    if (item)
      items.push_back(std::move(item));
    else
      item.fail("found nothing, expected an item of the list");
  }
  return items;
}

std::vector<Entry> Value::entries() const {
  std::vector<Entry> entries;
  if (node_ == nullptr) return entries;
  if (!is_mapping()) {
    fail_expected("a mapping");
    return entries;
  }
  entries.reserve(node_->members.size());
  for (const auto& [key, value] : node_->members) {
    const std::string path = path_.empty() ? key.scalar : path_ + "." + key.scalar;
    entries.push_back({key.scalar, Value(key, *report_, path), Value(value, *report_, path)});
  }
  return entries;
}

Fields Value::fields() const {
  return Fields(*this);
}

}  // namespace bulkhead::policies
