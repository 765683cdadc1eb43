#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "tests/unit/policies/texts.h"

namespace bulkhead::policies {
namespace {

TEST(Examples, every_example_loads_with_all_the_others) {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(POLICIES_DIRECTORY "/examples"))
    paths.push_back(entry.path());
  ASSERT_GE(paths.size(), 5u);
  const Loaded loaded = load_paths(paths);
  for (const auto& error : loaded.errors) ADD_FAILURE() << format(error);
  EXPECT_EQ(loaded.policies.policies.size(), 12u);
  EXPECT_EQ(loaded.policies.invariants.size(), 1u);
}

/// "a, b or c" of an object's keys, as the loader lists the fields it knows.
std::string names_of(const YamlNode& properties) {
  std::vector<std::string_view> names;
  for (const auto& member : properties.members) names.push_back(member.key.scalar);
  std::sort(names.begin(), names.end());
  return one_of(names);
}

TEST(Schema, knows_the_fields_that_the_loader_knows) {
  Report report("schema");
  const auto text = read_file(POLICIES_DIRECTORY "/schema/segmentationpolicy.schema.json", report);
  const auto documents = parse_documents(text.value_or(""), report);
  ASSERT_TRUE(report.empty()) << format(report.errors().front());
  const YamlNode& definitions = *documents.at(0).find("$defs");

  const YamlNode& spec = *documents.at(0).find("properties")->find("spec");
  const std::string unknown = refusal(segmentation_policy("    []\n  qqqqqqqqqqqq: 1\n"));
  EXPECT_NE(unknown.find("expected " + names_of(*spec.find("properties"))), std::string::npos) << unknown;

  const std::string edge = refusal(segmentation_policy("  - {qqqqqqqqqqqq: 1}\n"));
  EXPECT_NE(edge.find("expected " + names_of(*definitions.find("edge")->find("properties"))),
            std::string::npos)
      << edge;

  const std::string end =
      refusal(segmentation_policy("  - {name: e, from: {qqqqqqqqqqqq: 1}, to: {any: {}}, ports: [any]}\n"));
  YamlNode forms;
  for (const auto& form : definitions.find("end")->find("oneOf")->items)
    for (const auto& member : form.find("properties")->members)
      if (member.key.scalar != "except") forms.members.push_back(member);
  EXPECT_NE(end.find("expected " + names_of(forms)), std::string::npos) << end;
}

TEST(Schema, of_an_invariant_knows_the_fields_that_the_loader_knows) {
  Report report("schema");
  const auto text = read_file(POLICIES_DIRECTORY "/schema/invariant.schema.json", report);
  const auto of_edges = read_file(POLICIES_DIRECTORY "/schema/segmentationpolicy.schema.json", report);
  const auto documents = parse_documents(text.value_or(""), report);
  const auto edges = parse_documents(of_edges.value_or(""), report);
  ASSERT_TRUE(report.empty()) << format(report.errors().front());
  const YamlNode& definitions = *documents.at(0).find("$defs");
  const YamlNode& spec = *documents.at(0).find("properties")->find("spec");
  const std::string unknown = refusal(invariant("  never: []\n  qqqqqqqqqqqq: 1\n"));
  EXPECT_NE(unknown.find("expected " + names_of(*spec.find("properties"))), std::string::npos) << unknown;
  const std::string demand = refusal(invariant("  never: [{qqqqqqqqqqqq: 1}]\n"));
  EXPECT_NE(demand.find("expected " + names_of(*definitions.find("demand")->find("properties"))),
            std::string::npos)
      << demand;
  // Ends and ports are said as edges say them.
  const auto forms = [](const YamlNode& document) {
    std::string all;
    for (const auto& form : document.find("$defs")->find("end")->find("oneOf")->items)
      if (form.find("properties")->find("nobody") == nullptr) all += names_of(*form.find("properties")) + ";";
    return all + document.find("$defs")->find("port")->find("pattern")->scalar;
  };
  EXPECT_EQ(forms(documents.at(0)), forms(edges.at(0)));
}

/// Equal but for words for people.
TEST(Schema, of_the_api_server_agrees_with_that_of_editors) {
  Report report("schema");
  const auto parse = [&](const char* file) {
    const auto text = read_file(std::string(POLICIES_DIRECTORY "/schema/") + file, report);
    return parse_documents(text.value_or(""), report);
  };
  const auto expect_equal = [](const YamlNode& a, const YamlNode& b) {
    const YamlNode &all = *a.find("properties"), &others = *b.find("properties");
    EXPECT_EQ(names_of(all), names_of(others));
    for (const auto& member : all.members)
      if (const YamlNode* words = member.value.find("enum")) {
        const YamlNode* other = others.find(member.key.scalar)->find("enum");
        ASSERT_NE(other, nullptr) << member.key.scalar;
        ASSERT_EQ(words->items.size(), other->items.size()) << member.key.scalar;
        for (std::size_t i = 0; i < words->items.size(); ++i)
          EXPECT_EQ(words->items[i].scalar, other->items[i].scalar);
      }
  };
  const auto agree = [&](const std::string& kind, std::initializer_list<const char*> lists,
                         const char* item) {
    const auto editors = parse((kind + ".schema.json").c_str());
    const auto servers = parse(("crd-" + kind + ".yaml").c_str());
    ASSERT_TRUE(report.empty()) << format(report.errors().front());
    const YamlNode& version = servers.at(0).find("spec")->find("versions")->items.at(0);
    const YamlNode& served =
        *version.find("schema")->find("openAPIV3Schema")->find("properties")->find("spec");
    EXPECT_EQ("bulkhead.io/" + version.find("name")->scalar,
              editors.at(0).find("properties")->find("apiVersion")->find("const")->scalar);
    expect_equal(served, *editors.at(0).find("properties")->find("spec"));
    for (const char* list : lists)
      expect_equal(*served.find("properties")->find(list)->find("items"),
                   *editors.at(0).find("$defs")->find(item));
  };
  agree("segmentationpolicy", {"edges"}, "edge");
  agree("invariant", {"never", "always"}, "demand");
  agree("cidrgroup", {"blocks"}, "entry");
}

}  // namespace
}  // namespace bulkhead::policies
