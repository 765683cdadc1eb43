// Calico's expressions: the selectors that one becomes select exactly whom the expression does.
#include "policies/import/expression.h"

#include "tests/unit/import/shop.h"

namespace bulkhead::policies::imports {
namespace {

Item item(const YamlNode& node) {
  return Item(node, "selector");
}
YamlNode text_node(const std::string& text) {
  YamlNode node;
  node.kind = NodeKind::kScalar;
  node.scalar = text;
  return node;
}

TEST(Expression, becomes_selectors_that_select_the_same) {
  const char* const texts[] = {"all()",
                               "",
                               "a == 'x'",
                               "a != \"x\"",
                               "has(a)",
                               "!has(a)",
                               "! ! has(a)",
                               "a in {'x','y'}",
                               "a not in {'x', 'y'}",
                               "a notin {}",
                               "a in {}",
                               "!(a == 'x' || has(b))",
                               "!(a == 'x' && has(b))",
                               "a == 'x' || b == 'y' && has(c)",
                               "(a == 'x' || b == 'y') && has(c)",
                               "a == 'x' && !(b == 'y' && (c == 'x' || !has(a)))",
                               "!all()",
                               "a == ''",
                               "a != '' && !(b in {'x'} || c not in {'y'})"};
  for (const char* text : texts) {
    const YamlNode node = text_node(text);
    const Expression expression = parse_expression(item(node));
    const Disjunction found = selectors_of(expression, Keys::kEndpoints, false, item(node));
    EXPECT_TRUE(found.unsaid.empty()) << text;
    const char* const values[] = {nullptr, "", "x", "y"};
    for (const char* a : values)
      for (const char* b : values)
        for (const char* c : values) {
          Labels labels;
          if (a != nullptr) labels["a"] = a;
          if (b != nullptr) labels["b"] = b;
          if (c != nullptr) labels["c"] = c;
          bool selected = false;
          for (const auto& selector : found.any) selected = selected || selector.endpoints.matches(labels);
          EXPECT_EQ(selected, expression.matches(labels)) << text;
        }
  }
}

TEST(Expression, tests_of_a_part_of_a_label_hold_for_nobody_or_everybody_as_asked) {
  const YamlNode node = text_node("!(a contains 'x') && b == 'y' || c ends with 'z'");
  const Expression expression = parse_expression(item(node));
  const Disjunction narrow = selectors_of(expression, Keys::kEndpoints, false, item(node));
  EXPECT_EQ(narrow.unsaid.size(), 2u);
  EXPECT_TRUE(narrow.any.empty());
  const Disjunction wide = selectors_of(expression, Keys::kEndpoints, true, item(node));
  ASSERT_EQ(wide.any.size(), 2u);
  EXPECT_TRUE(wide.any[0].endpoints.requirements.empty());
  EXPECT_TRUE(expression.matches({{"a", "ay"}, {"b", "y"}}));
  EXPECT_FALSE(expression.matches({{"a", "axy"}, {"b", "y"}}));
}

TEST(Expression, wrong_ones_are_refused_with_a_place) {
  for (const char* text :
       {"a", "a ==", "a == x", "a == 'x", "(a == 'x'", "a == 'x')", "a in 'x'", "a in {'x' 'y'}", "has(a",
        "has()", "a == 'x' & b == 'y'", "a = 'x'", "&& a == 'x'", "all(", "a like 'x'"}) {
    const YamlNode node = text_node(text);
    try {
      parse_expression(item(node));
      ADD_FAILURE() << text;
    } catch (const Refused& refused) {
      EXPECT_NE(refused.message.find("of the selector, expected"), std::string::npos) << refused.message;
    }
  }
  std::string deep(100, '('), wide;
  for (int i = 0; i < 12; ++i) wide += (i == 0 ? "" : " && ") + std::string("(a == 'x' || b == 'y')");
  for (const std::string& text : {deep, wide}) {
    const YamlNode node = text_node(text);
    EXPECT_THROW(selectors_of(parse_expression(item(node)), Keys::kEndpoints, false, item(node)), Refused);
  }
}

}  // namespace
}  // namespace bulkhead::policies::imports
