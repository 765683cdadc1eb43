// `policy matrix`: who may talk to whom.
#include <map>

#include "controlplane/analysis/matrix.h"
#include "dataplane/image/validate.h"
#include "tools/ctl/candidate.h"
#include "tools/ctl/drawing.h"
#include "tools/ctl/parties.h"

namespace bulkhead::ctl {
namespace {

constexpr std::size_t kPartiesInName = 3;
constexpr std::size_t kColumnsMax = 40;

Value matrix_value(const analysis::Space& space, const analysis::Matrix& matrix) {
  Value actors = Value::array(), cells = Value::array();
  for (std::size_t i = 0; i < matrix.actors.size(); ++i) {
    const auto parties = analysis::parties(space, matrix.actors[i]);
    actors.push_back({{"number", i + 1},
                      {"text", analysis::line(analysis::summary(space, parties), kPartiesInName)},
                      {"self_only", matrix.cell(i, i).self_only},
                      {"parties", parties_value(space, parties)}});
  }
  for (std::size_t from = 0; from < matrix.actors.size(); ++from)
    for (std::size_t to = 0; to < matrix.actors.size(); ++to) {
      const analysis::Cell& cell = matrix.cell(from, to);
      if (cell.empty()) continue;
      cells.push_back({{"from", from + 1},
                       {"to", to + 1},
                       {"ports_text", analysis::ports_text(cell.all)},
                       {"some_text", analysis::ports_text(cell.some)},
                       {"ports", ports_value(cell.all)},
                       {"some", ports_value(cell.some)}});
    }
  return {{"actors", std::move(actors)}, {"cells", std::move(cells)}};
}

/// a, b, ..., z, aa, ab, ...
std::string letter(std::size_t number) {
  std::string name;
  for (++number; number > 0; number = (number - 1) / 26)
    name.insert(name.begin(), static_cast<char>('a' + (number - 1) % 26));
  return name;
}

void say_list(const Value& value, Terminal& terminal) {
  Table table({{"FROM"}, {"TO"}, {"PORTS"}, {"SOME ONLY"}});
  const auto name = [&](const Value& number) {
    return plain(value["actors"][number.get<std::size_t>() - 1]["text"]);
  };
  for (const Value& cell : value["cells"])
    table.row({name(cell["from"]), name(cell["to"]), plain(cell["ports_text"]), plain(cell["some_text"])});
  table.print(terminal);
}

void say(const Value& value, Terminal& terminal) {
  const std::size_t count = value["actors"].size();
  if (count > kColumnsMax) return say_list(value, terminal);
  std::vector<std::string> marks(count * count, ".");
  std::vector<std::string> legend;
  std::map<std::pair<std::string, std::string>, std::string> known;
  for (const Value& cell : value["cells"]) {
    const std::string all = plain(cell["ports_text"]), some = plain(cell["some_text"]);
    std::string& mark =
        marks[(cell["from"].get<std::size_t>() - 1) * count + cell["to"].get<std::size_t>() - 1];
    if (all == "every port" && some.empty()) {
      mark = "*";
      continue;
    }
    const auto [place, is_new] = known.try_emplace({all, some}, letter(known.size()));
    mark = place->second;
    if (is_new)
      legend.push_back(
          mark + "  " + all +
          (some.empty() ? "" : (all.empty() ? "" : "; ") + ("between some addresses only: " + some)));
  }
  std::vector<Table::Column> columns = {{"", true}, {"FROM \\ TO"}};
  for (std::size_t i = 0; i < count; ++i) columns.push_back({std::to_string(i + 1)});
  Table table(columns);
  for (std::size_t i = 0; i < count; ++i) {
    const Value& actor = value["actors"][i];
    std::vector<std::string> row = {std::to_string(i + 1), plain(actor["text"])};
    for (std::size_t k = 0; k < count; ++k)
      row.push_back(i == k && actor["self_only"] == true ? "=" : marks[i * count + k]);
    table.row(row);
  }
  table.print(terminal);
  terminal.out() << "\n*  every port   .  nothing   =  itself\n";
  for (const std::string& line : legend) terminal.out() << escape(line) << '\n';
}

Answer matrix(const Invocation& invocation) {
  const bool dot = invocation.has("dot"), svg = invocation.has("svg");
  if (dot && svg) throw Failure(kExitUsage, "policy matrix: --dot or --svg, not both");
  const Candidate candidate = candidate_of(invocation, "policy matrix");
  const analysis::Space space(candidate.view, candidate.view);
  const std::string home = invocation.text("namespace");
  const auto chosen = [&](std::uint32_t number) {
    if (home.empty()) return true;
    const image::Record record = candidate.view.record(space.addresses()[number].record[analysis::kAfter]);
    return record.identity == 0 || candidate.view.namespace_of_identity(record.identity) == home;
  };
  const analysis::Matrix matrix = analysis::matrix(space, chosen);
  if (matrix.cells.empty())
    throw Failure(kExitRefused, "policy tells " + std::to_string(matrix.actors.size()) +
                                    " actors apart, more than a matrix can show (" +
                                    std::to_string(analysis::kActorsMax) + "); choose with --namespace");
  Value value = {{"from", candidate.from}, {"digest", image::hex(image::image_digest(candidate.view))}};
  value.update(matrix_value(space, matrix));
  if (!dot && !svg) return {std::move(value), say};
  // The picture itself, whatever would print it.
  return {{{"format", dot ? "dot" : "svg"}, {"picture", dot ? dot_of(value) : svg_of(value)}},
          [](const Value& picture, Terminal& terminal) {
            terminal.out() << picture["picture"].get<std::string>();
          }};
}

}  // namespace

Command policy_matrix_command() {
  std::vector<Option> options = {
      {"namespace,n", "NAME", "the endpoints of one namespace, nodes and world", false, Completes::kNothing},
      {"dot", nullptr, "a graph, for graphviz", false, Completes::kNothing},
      {"svg", nullptr, "a picture", false, Completes::kNothing}};
  const std::vector<Option> more = candidate_options();
  options.insert(options.end(), more.begin(), more.end());
  return {
      "policy matrix",
      "",
      "who may talk to whom, and on which ports",
      "A row for each sender and a column for each receiver: label sets, nodes and the parts of the world\n"
      "that policies name. Those that no one tells apart are one row and one column. A letter stands for\n"
      "ports, explained below the matrix; = is an endpoint and itself. More than 40 are listed instead.\n"
      "Reads the enforced image, an image file, or policy files in a cluster.",
      "  bulkheadctl policy matrix\n"
      "  bulkheadctl policy matrix --namespace shop -o json | jq '.cells[]'\n"
      "  bulkheadctl policy matrix --policies new/ --cluster cluster.yaml --svg > matrix.svg\n"
      "  bulkheadctl policy matrix --image node.image --dot | dot -Tpdf > matrix.pdf",
      options,
      nullptr,
      matrix};
}

}  // namespace bulkhead::ctl
