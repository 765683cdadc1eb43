#include "policies/import/expression.h"

#include <algorithm>

#include "policies/load/fields.h"

namespace bulkhead::policies::imports {
namespace {

constexpr std::size_t kDepthMax = 32, kSelectorsMax = 256;

class Parser {
 public:
  explicit Parser(const Item& at) : at_(at), text_(at.text()) {}

  Expression run() {
    skip();
    if (at_end()) return {};
    Expression expression = any(0);
    if (!at_end()) fail("the end");
    return expression;
  }

 private:
  [[noreturn]] void fail(const std::string& expected) const {
    const std::string found = at_end() ? "the end" : quoted(std::string_view(text_).substr(next_, 12));
    throw Refused{at_, "found " + found + " at character " + std::to_string(next_ + 1) +
                           " of the selector, expected " + expected};
  }

  bool at_end() const { return next_ == text_.size(); }
  void skip() {
    while (!at_end() && (text_[next_] == ' ' || text_[next_] == '\t' || text_[next_] == '\n')) ++next_;
  }
  static bool in_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '/' || c == '-';
  }
  bool take(std::string_view mark) {
    if (text_.compare(next_, mark.size(), mark) != 0) return false;
    next_ += mark.size();
    skip();
    return true;
  }
  std::string word() {
    const std::size_t first = next_;
    while (!at_end() && in_word(text_[next_])) ++next_;
    std::string found = text_.substr(first, next_ - first);
    skip();
    return found;
  }
  std::string literal() {
    const char quote = at_end() ? '\0' : text_[next_];
    const std::size_t end = quote == '\'' || quote == '"' ? text_.find(quote, next_ + 1) : text_.npos;
    if (end == text_.npos) fail("a text in quotes");
    std::string found = text_.substr(next_ + 1, end - next_ - 1);
    next_ = end + 1;
    skip();
    return found;
  }

  Expression any(std::size_t depth) { return several(Expression::Op::kOr, "||", depth); }

  Expression several(Expression::Op op, std::string_view mark, std::size_t depth) {
    if (depth > kDepthMax) fail("fewer parentheses");
    Expression made{op, {}, {}, {}};
    do {
      made.operands.push_back(op == Expression::Op::kOr ? several(Expression::Op::kAnd, "&&", depth)
                                                        : term(depth));
    } while (take(mark));
    if (made.operands.size() > 1) return made;
    Expression only = std::move(made.operands[0]);
    return only;
  }

  Expression term(std::size_t depth) {
    bool negated = false;
    while (!at_end() && text_[next_] == '!') {
      negated = !negated;
      ++next_;
      skip();
    }
    Expression made = test(depth);
    return negated ? Expression{Expression::Op::kNot, {std::move(made)}, {}, {}} : made;
  }

  Expression test(std::size_t depth) {
    using Op = Expression::Op;
    if (take("(")) {
      Expression inner = any(depth + 1);
      if (!take(")")) fail("&&, || or )");
      return inner;
    }
    const std::string key = word();
    if (key.empty()) fail("a label, has(), all() or (");
    if (key == "has" && take("(")) {
      Expression made{Op::kHas, {}, word(), {}};
      if (made.key.empty()) fail("a label");
      if (!take(")")) fail(")");
      return made;
    }
    if ((key == "all" || key == "global") && take("(")) {
      if (!take(")")) fail(")");
      return {key == "all" ? Op::kAll : Op::kGlobal, {}, {}, {}};
    }
    if (take("==")) return {Op::kIn, {}, key, {literal()}};
    if (take("!=")) return {Op::kNot, {{Op::kIn, {}, key, {literal()}}}, {}, {}};
    std::string op = word();
    if (op == "not" || op == "starts" || op == "ends") op += word();
    if (op == "contains") return {Op::kContains, {}, key, {literal()}};
    if (op == "startswith") return {Op::kStarts, {}, key, {literal()}};
    if (op == "endswith") return {Op::kEnds, {}, key, {literal()}};
    if (op != "in" && op != "notin") fail("==, !=, in, not in, contains, starts with or ends with");
    Expression made{Op::kIn, {}, key, {}};
    if (!take("{")) fail("{");
    while (!take("}")) {
      made.values.push_back(literal());
      if (!take(",") && (at_end() || text_[next_] != '}')) fail(", or }");
    }
    return op == "in" ? made : Expression{Op::kNot, {std::move(made)}, {}, {}};
  }

  const Item& at_;
  const std::string text_;
  std::size_t next_ = 0;
};

class Builder {
 public:
  Builder(Keys keys, bool widen, const Item& at, std::vector<std::string>& unsaid)
      : keys_(keys), widen_(widen), at_(at), unsaid_(unsaid) {}

  std::vector<EndpointSelector> build(const Expression& e, bool negated) {
    using Op = Expression::Op;
    switch (e.op) {
      case Op::kNot:
        return build(e.operands[0], !negated);
      case Op::kAnd:
      case Op::kOr: {
        const bool all = (e.op == Op::kAnd) != negated;
        std::vector<EndpointSelector> made;
        if (all) made.emplace_back();
        for (const auto& operand : e.operands) {
          const auto more = build(operand, negated);
          if (all)
            made = each_with_each(made, more, at_);
          else
            made.insert(made.end(), more.begin(), more.end());
        }
        return made;
      }
      case Op::kAll:
      case Op::kGlobal: {
        const bool holds = (e.op == Op::kAll) != negated;
        return holds ? std::vector<EndpointSelector>{{}} : std::vector<EndpointSelector>{};
      }
      case Op::kHas:
        return test(e, negated ? Operator::kDoesNotExist : Operator::kExists);
      case Op::kIn:
        if (e.values.empty())
          return negated ? std::vector<EndpointSelector>{{}} : std::vector<EndpointSelector>{};
        return test(e, negated ? Operator::kNotIn : Operator::kIn);
      case Op::kContains:
      case Op::kStarts:
      case Op::kEnds:
        return cannot("a test of a part of the label " + quoted(e.key));
    }
    return {};
  }

 private:
  std::vector<EndpointSelector> cannot(std::string what) {
    unsaid_.push_back(std::move(what));
    return widen_ ? std::vector<EndpointSelector>{{}} : std::vector<EndpointSelector>{};
  }

  std::vector<EndpointSelector> test(const Expression& e, Operator op) {
    Requirement made{e.key, op, e.values};
    bool of_namespace = keys_ == Keys::kNamespaces;
    if (e.key == "projectcalico.org/namespace" || (of_namespace && e.key == "projectcalico.org/name")) {
      made.key = kNamespaceName;
      of_namespace = true;
    } else if (e.key.starts_with("projectcalico.org/") || e.key.starts_with("pcns.") ||
               e.key.starts_with("pcsa.")) {
      return cannot("the label " + quoted(e.key) + ", which Calico makes");
    }
    if (wrong_label_key(made.key))
      return cannot("the key " + quoted(e.key) + ", which is no label of Kubernetes");
    for (const auto& value : made.values)
      if (wrong_label_value(value))
        return cannot("the value " + quoted(value) + ", which is no label value of Kubernetes");
    std::sort(made.values.begin(), made.values.end());
    made.values.erase(std::unique(made.values.begin(), made.values.end()), made.values.end());
    EndpointSelector selector;
    (of_namespace ? selector.namespaces : selector.endpoints).requirements.push_back(std::move(made));
    return {selector};
  }

  const Keys keys_;
  const bool widen_;
  const Item& at_;
  std::vector<std::string>& unsaid_;
};

}  // namespace

bool Expression::matches(const Labels& labels) const {
  const auto holds = [&](const Expression& operand) { return operand.matches(labels); };
  const auto label = labels.find(key);
  const bool has = label != labels.end();
  switch (op) {
    case Op::kAnd:
      return std::all_of(operands.begin(), operands.end(), holds);
    case Op::kOr:
      return std::any_of(operands.begin(), operands.end(), holds);
    case Op::kNot:
      return !operands[0].matches(labels);
    case Op::kAll:
      return true;
    case Op::kGlobal:
      return false;
    case Op::kHas:
      return has;
    case Op::kIn:
      return has && std::find(values.begin(), values.end(), label->second) != values.end();
    case Op::kContains:
      return has && label->second.find(values[0]) != std::string::npos;
    case Op::kStarts:
      return has && label->second.starts_with(values[0]);
    case Op::kEnds:
      return has && label->second.ends_with(values[0]);
  }
  return false;
}

Expression parse_expression(const Item& at) {
  return Parser(at).run();
}

std::vector<EndpointSelector> each_with_each(const std::vector<EndpointSelector>& a,
                                             const std::vector<EndpointSelector>& b, const Item& at) {
  if (a.size() * b.size() > kSelectorsMax)
    throw Refused{at, "found more than " + std::to_string(kSelectorsMax) + " alternatives in a selector"};
  std::vector<EndpointSelector> made;
  for (const auto& x : a)
    for (const auto& y : b) made.push_back(both(x, y));
  return made;
}

Disjunction selectors_of(const Expression& expression, Keys keys, bool widen, const Item& at) {
  Disjunction made;
  made.any = Builder(keys, widen, at, made.unsaid).build(expression, false);
  for (auto& selector : made.any) selector = both(selector, {});
  std::sort(made.any.begin(), made.any.end());
  made.any.erase(std::unique(made.any.begin(), made.any.end()), made.any.end());
  if (made.any.size() > kSelectorsMax)
    throw Refused{at, "found more than " + std::to_string(kSelectorsMax) + " alternatives in a selector"};
  return made;
}

}  // namespace bulkhead::policies::imports
