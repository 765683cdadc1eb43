// Calico's selector expressions.
//
//   expression = and {"||" and}      and = term {"&&" term}      term = {"!"} (test | "(" expression ")")
//   test = k == 'v' | k != 'v' | k in {'a', 'b'} | k not in {...} | has(k) | k contains 'v' | k starts with 'v'
//        | k ends with 'v' | all() | global()
//
// Strings have no escapes; `!=` and `not in` hold where the label is missing (API document of
// GlobalNetworkPolicySpec.Selector). An expression becomes a disjunction of our selectors, which are conjunctions.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policies/import/edges.h"

namespace bulkhead::policies::imports {

struct Expression {
  enum class Op : std::uint8_t { kAnd, kOr, kNot, kAll, kGlobal, kIn, kHas, kContains, kStarts, kEnds };
  Op op = Op::kAll;
  std::vector<Expression> operands;  // of kAnd, kOr and kNot
  std::string key;
  std::vector<std::string> values;  // kIn: any of them; the text tests: one

  /// Over a set of labels that is known: of a network set. kGlobal never holds.
  bool matches(const Labels& labels) const;
};

/// All where the text is empty. Throws Refused at `at`, with what was expected where.
Expression parse_expression(const Item& at);

/// What the keys of an expression mean.
enum class Keys : std::uint8_t { kEndpoints, kNamespaces };

/// The selectors of which one must match. Tests that our selectors cannot say: where `widen`, they count as holding,
/// otherwise as failing; each is told to `unsaid`. Throws Refused at `at` where there are too many.
struct Disjunction {
  std::vector<EndpointSelector> any;
  std::vector<std::string> unsaid;  // what could not be said, in words
};
Disjunction selectors_of(const Expression& expression, Keys keys, bool widen, const Item& at);

/// Each of `a` with each of `b`. Throws Refused at `at` where there are too many.
std::vector<EndpointSelector> each_with_each(const std::vector<EndpointSelector>& a,
                                             const std::vector<EndpointSelector>& b, const Item& at);

}  // namespace bulkhead::policies::imports
