#include "tools/ctl/drawing.h"

#include <algorithm>
#include <sstream>

namespace bulkhead::ctl {
namespace {

std::string quoted_for_dot(const std::string& text) {
  std::string out = "\"";
  for (const char c : escape(text)) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

std::string for_xml(const std::string& text) {
  std::string out;
  for (const char c : escape(text)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string cell_words(const Value& cell) {
  const std::string all = plain(cell["ports_text"]), some = plain(cell["some_text"]);
  if (all.empty() && some.empty()) return "nothing";
  if (some.empty()) return all;
  return (all.empty() ? "" : all + "; ") + "some only: " + some;
}

}  // namespace

std::string dot_of(const Value& matrix) {
  std::ostringstream out;
  out << "digraph policy {\n  rankdir=LR;\n  node [shape=box, style=rounded];\n";
  for (const Value& actor : matrix["actors"])
    out << "  a" << plain(actor["number"]) << " [label=" << quoted_for_dot(plain(actor["text"])) << "];\n";
  for (const Value& cell : matrix["cells"])
    out << "  a" << plain(cell["from"]) << " -> a" << plain(cell["to"])
        << " [label=" << quoted_for_dot(cell_words(cell))
        << (plain(cell["some_text"]).empty() ? "" : ", style=dashed") << "];\n";
  out << "}\n";
  return out.str();
}

std::string svg_of(const Value& matrix) {
  constexpr std::size_t kSide = 24, kCharacter = 7, kHead = 32;
  const std::size_t count = matrix["actors"].size();
  std::size_t longest = 0;
  for (const Value& actor : matrix["actors"])
    longest = std::max(longest, width(escape(plain(actor["text"]))));
  const std::size_t left = 48 + longest * kCharacter;
  std::ostringstream out;
  out << "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" << left + count * kSide + 16 << "\" height=\""
      << kHead + count * kSide + 48 << "\" font-family=\"monospace\" font-size=\"12\">\n"
      << "<title>who may talk to whom: senders down, receivers across</title>\n"
      << "<style>.all{fill:#2e7d32}.part{fill:#81c784}.some{fill:#ffb74d}.none{fill:#eeeeee}.self{fill:#"
         "bdbdbd}"
         "</style>\n";
  std::vector<const Value*> cells(count * count, nullptr);
  for (const Value& cell : matrix["cells"])
    cells[(cell["from"].get<std::size_t>() - 1) * count + cell["to"].get<std::size_t>() - 1] = &cell;
  for (std::size_t row = 0; row < count; ++row) {
    const Value& from = matrix["actors"][row];
    const std::size_t y = kHead + row * kSide;
    out << "<text x=\"8\" y=\"" << y + 16 << "\">" << row + 1 << "  " << for_xml(plain(from["text"]))
        << "</text>\n"
        << "<text x=\"" << left + row * kSide + 4 << "\" y=\"" << kHead - 8 << "\">" << row + 1
        << "</text>\n";
    for (std::size_t column = 0; column < count; ++column) {
      const Value* cell = cells[row * count + column];
      const std::string words = cell == nullptr ? "nothing" : cell_words(*cell);
      const char* kind = cell == nullptr                         ? "none"
                         : plain((*cell)["some_text"]) != ""     ? "some"
                         : (*cell)["ports_text"] == "every port" ? "all"
                                                                 : "part";
      if (row == column && from["self_only"] == true) kind = "self";
      out << "<rect class=\"" << kind << "\" x=\"" << left + column * kSide << "\" y=\"" << y << "\" width=\""
          << kSide - 2 << "\" height=\"" << kSide - 2 << "\"><title>" << for_xml(plain(from["text"]))
          << " -&gt; " << for_xml(plain(matrix["actors"][column]["text"])) << ": " << for_xml(words)
          << "</title></rect>\n";
    }
  }
  out << "<text x=\"8\" y=\"" << kHead + count * kSide + 24
      << "\">dark: every port; light: the ports in its title; orange: some addresses only; grey: "
         "nothing</text>\n"
      << "</svg>\n";
  return out.str();
}

}  // namespace bulkhead::ctl
