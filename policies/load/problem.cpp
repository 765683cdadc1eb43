#include "policies/load/problem.h"

#include <algorithm>
#include <utility>

#include "policies/load/nearest.h"

namespace bulkhead::policies {
namespace {

struct Words {
  std::string_view problem;  // libyaml's
  bool at_context;           // where it began, rather than where it was noticed
  std::string_view found;    // empty: what stands there
  std::string_view expected;
};

constexpr Words kWords[] = {
    {"found unexpected end of stream", true, "a quote that nothing closes", "its partner"},
    {"found unexpected document indicator", true, "a quote that is open where the document ends",
     "its partner"},
    {"did not find expected ',' or ']'", true, "a [ that nothing closes",
     "] or, before a further item, a comma"},
    {"did not find expected ',' or '}'", true, "a { that nothing closes",
     "} or, before a further key, a comma"},
    {"could not find expected ':'", true, "", "a key, a colon and its value"},
    {"mapping values are not allowed in this context", false, "a colon where no key can be",
     "one key a line, indented like its neighbours; a text that holds a colon belongs in quotes"},
    {"did not find expected key", false, "", "a key of the mapping, indented like its neighbours"},
    {"did not find expected '-' indicator", false, "",
     "\"- \" and an item of the list, indented like its neighbours"},
    {"block sequence entries are not allowed in this context", false, "\"- \" where no list can begin",
     "it in a line of its own"},
    {"did not find expected node content", false, "", "a value; a text belongs in quotes"},
    {"did not find expected <document start>", false, "", "--- and a further document"},
    {"did not find expected comment or line break", false, "", "a line break and the block of text"},
    {"found unknown escape character", false, "a backslash before what it cannot stand before",
     "two for a backslash, or single quotes"},
    {"found a tab character where an indentation space is expected", false, "a tab", "indentation by spaces"},
    {"found a tab character that violates indentation", false, "a tab", "indentation by spaces"},
    {"found character that cannot start any token", false, "",
     "a value; a text with this sign belongs in quotes"},
};

/// libyaml counts characters.
std::size_t offset_of(std::string_view text, const yaml_mark_t& mark) {
  std::size_t at = 0;
  for (std::size_t line = 0; line < mark.line && at < text.size(); ++line)
    at = std::min(text.find('\n', at), text.size() - 1) + 1;
  for (std::size_t column = 0; column < mark.column && at < text.size();) {
    ++at;
    const bool within = at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80;
    column += within ? 0 : 1;
  }
  return at;
}

/// From a place to the end of its line.
std::string standing_at(std::string_view text) {
  text = text.substr(0, text.find_first_of("\r\n"));
  return text.empty() ? "nothing" : quoted(text);
}

}  // namespace

Problem problem_of(const yaml_parser_t& parser, std::string_view text) {
  const auto at = [&](const yaml_mark_t& mark, std::string message) {
    return Problem{static_cast<std::uint32_t>(mark.line) + 1, static_cast<std::uint32_t>(mark.column) + 1,
                   offset_of(text, mark), std::move(message)};
  };
  const std::string_view problem = parser.problem == nullptr ? "no reason" : parser.problem;
  const bool has_context = parser.context != nullptr;
  for (const auto& words : kWords)
    if (words.problem == problem) {
      const yaml_mark_t& mark = words.at_context && has_context ? parser.context_mark : parser.problem_mark;
      return at(mark, "found " +
                          (words.found.empty() ? standing_at(text.substr(offset_of(text, mark)))
                                               : std::string(words.found)) +
                          ", expected " + std::string(words.expected));
    }
  if (parser.error == YAML_READER_ERROR) {
    // The reader knows the byte alone.
    const std::string_view before = text.substr(0, parser.problem_offset);
    const std::size_t start = before.rfind('\n') + 1;
    Problem found{1, static_cast<std::uint32_t>(before.size() - start) + 1, before.size(), ""};
    for (const char c : before) found.line += c == '\n';
    found.message = "found a character that text does not hold, expected text";
    return found;
  }
  return at(parser.problem_mark, "found no YAML, expected it: " + std::string(problem));
}

}  // namespace bulkhead::policies
