// Envoy's RBAC network filter, by the API documents of envoy.config.rbac.v3 (RBAC, Policy, Permission, Principal) and
// type.v3.Int32Range.
#include "tests/unit/import/shop.h"

namespace bulkhead::policies::imports {
namespace {

Options guarding_web() {
  return {"shop", {{"app", "web"}}, 100, {}};
}
std::string filter(const std::string& action, const std::string& permissions, const std::string& principals,
                   const std::string& field = "rules") {
  return "name: envoy.filters.network.rbac\ntyped_config:\n"
         "  \"@type\": type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC\n  stat_prefix: "
         "tcp\n  " +
         field + ":\n    action: " + action +
         "\n    policies:\n      \"p\":\n        permissions: " + permissions +
         "\n        principals: " + principals + "\n";
}
constexpr char kApi[] =
    "[{authenticated: {principal_name: {exact: \"spiffe://cluster.local/ns/shop/sa/api-sa\"}}}]";

// "ALLOW: allows the request if and only if there is a policy that matches the request."
TEST(Envoy, allow_lets_through_what_some_policy_matches_and_nothing_else) {
  const Shop shop(
      filter("ALLOW", "[{destination_port: 80}, {destination_port_range: {start: 8000, end: 8002}}]", kApi),
      guarding_web());
  EXPECT_EQ(shop.losses(), "");
  EXPECT_TRUE(shop.passes("api", "web", 80));
  EXPECT_TRUE(shop.passes("api", "web", 8001));
  EXPECT_FALSE(shop.passes("api", "web", 8002));  // Int32Range: "end of the range (exclusive)"
  EXPECT_FALSE(shop.passes("db", "web", 80));
  EXPECT_FALSE(shop.passes("203.0.113.9", "web", 80));
  EXPECT_FALSE(shop.passes("own", "web", 80));
  EXPECT_TRUE(shop.passes("db", "api", 80));
}

TEST(Envoy, deny_denies_what_some_policy_matches_and_log_nothing) {
  const Shop shop(filter("DENY", "[{any: true}]", kApi), guarding_web());
  EXPECT_FALSE(shop.passes("api", "web", 80));
  EXPECT_TRUE(shop.passes("db", "web", 80));
  EXPECT_TRUE(Shop(filter("LOG", "[{any: true}]", kApi), guarding_web()).passes("api", "web", 80));
  EXPECT_TRUE(
      Shop(filter("DENY", "[{any: true}]", kApi, "shadow_rules"), guarding_web()).passes("api", "web", 80));
  const Shop nothing("rules: {action: ALLOW}\n", guarding_web());
  EXPECT_FALSE(nothing.passes("api", "web", 80));
}

TEST(Envoy, a_principal_stays_one_principal_whatever_its_characters) {
  const Shop shop(
      filter("ALLOW", "[{any: true}]",
             R"([{authenticated: {principal_name: {exact: 'spiffe://cluster.local/ns/shop/sa/nobody", )"
             R"("cluster.local/ns/shop/sa/api-sa'}}}])"),
      guarding_web());
  EXPECT_FALSE(shop.passes("api", "web", 80));
}

TEST(Envoy, conditions_nest) {
  const Shop shop(
      filter(
          "ALLOW",
          "[{and_rules: {rules: [{not_rule: {destination_port: 22}}, {destination_port_range: {start: 20, "
          "end: 25}}]}}]",
          R"([{and_ids: {ids: [{authenticated: {principal_name: {prefix: "spiffe://cluster.local/ns/shop/"}}},
                {not_id: {or_ids: {ids: [{direct_remote_ip: {address_prefix: 10.0.0.3, prefix_len: 32}},
                {authenticated: {principal_name: {suffix: "/sa/nobody"}}}]}}}]}},
                {remote_ip: {address_prefix: 203.0.113.0, prefix_len: 24}}])"),
      guarding_web());
  EXPECT_EQ(shop.losses(), "");
  EXPECT_TRUE(shop.passes("api", "web", 21));
  EXPECT_FALSE(shop.passes("api", "web", 22));
  EXPECT_FALSE(shop.passes("api", "web", 25));
  EXPECT_FALSE(shop.passes("db", "web", 21));
  EXPECT_FALSE(shop.passes("prom", "web", 21));
  EXPECT_TRUE(shop.passes("203.0.113.9", "web", 21));
}

TEST(Envoy, namespaces_as_istio_writes_them_and_who_has_no_identity) {
  constexpr char kShop[] = R"({authenticated: {principalName: {safeRegex: {regex: ".*/ns/shop/.*"}}}})";
  const Shop in(filter("ALLOW", "[{any: true}]", std::string("[") + kShop + "]"), guarding_web());
  EXPECT_EQ(in.losses(), "");
  EXPECT_TRUE(in.passes("api", "web", 80));
  EXPECT_FALSE(in.passes("prom", "web", 80));
  EXPECT_FALSE(in.passes("203.0.113.9", "web", 80));
  const Shop out(filter("ALLOW", "[{any: true}]", std::string("[{notId: ") + kShop + "}]"), guarding_web());
  EXPECT_FALSE(out.passes("api", "web", 80));
  EXPECT_TRUE(out.passes("prom", "web", 80));
  EXPECT_TRUE(out.passes("203.0.113.9", "web", 80));
  EXPECT_FALSE(
      Shop(filter("DENY", "[{any: true}]", "[{authenticated: {}}]"), guarding_web()).passes("db", "web", 1));
}

TEST(Envoy, what_packets_do_not_show_narrows_an_allow_and_widens_a_deny) {
  const std::string both =
      "[{and_rules: {rules: [{destination_port: 80}, {requested_server_name: {exact: a}}]}}, "
      "{destination_port: 81}]";
  const Shop allow(filter("ALLOW", both, "[{any: true}]"), guarding_web());
  EXPECT_EQ(allow.imported.losses.size(), 1u);
  EXPECT_FALSE(allow.passes("api", "web", 80));
  EXPECT_TRUE(allow.passes("api", "web", 81));
  const Shop deny(filter("DENY", both, "[{any: true}]"), guarding_web());
  EXPECT_EQ(deny.imported.losses.size(), 1u);
  EXPECT_FALSE(deny.passes("api", "web", 80));
  EXPECT_TRUE(deny.passes("api", "web", 82));
  const Shop inverted(filter("ALLOW", "[{not_rule: {header: {name: a}}}]", "[{any: true}]"), guarding_web());
  EXPECT_FALSE(inverted.passes("api", "web", 80));
  for (const char* text :
       {"rules: {action: PERHAPS}\n", "rules: {}\nmatcher: {a: b}\n",
        "rules: {policies: {p: {permissions: [{any: true, destination_port: 1}], principals: [{any: "
        "true}]}}}\n",
        "\"@type\": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC\nrules: {}\n"}) {
    const Shop refused(text, guarding_web());
    EXPECT_TRUE(refused.imported.objects.empty()) << text;
    ASSERT_EQ(refused.imported.losses.size(), 1u) << text;
    EXPECT_EQ(refused.imported.losses[0].effect, Effect::kRefused);
  }
}

// Each would otherwise hold for more than was meant: of no rules all hold, without a length a block is everybody.
TEST(Envoy, what_is_misspelt_or_empty_in_a_condition_refuses_the_filter) {
  const auto refused = [](const std::string& permissions, const std::string& principals) {
    const Shop shop(filter("ALLOW", permissions, principals), guarding_web());
    EXPECT_TRUE(shop.imported.objects.empty()) << shop.yaml;
    return shop.imported.losses.empty() ? "" : format(shop.imported.losses[0]).substr(8);
  };
  EXPECT_EQ(refused("[{and_rules: {rles: [{destination_port: 80}]}}]", kApi),
            "9:42: RBAC filter: typed_config.rules.policies.p.permissions[0].and_rules.rles: refused: found "
            "the unknown "
            "field \"rles\"; did you mean \"rules\"?");
  EXPECT_NE(refused("[{and_rules: {}}]", kApi), "");
  EXPECT_NE(refused("[{or_rules: {rules: []}}]", kApi), "");
  EXPECT_NE(refused("[{not_rule: {destination_port_range: {strat: 80, end: 90}}}]", kApi), "");
  EXPECT_NE(refused("[{not_rule: {destination_port_range: {start: 90, end: 90}}}]", kApi), "");
  EXPECT_NE(refused("[{any: true}]", "[{authenticated: {pincipal_name: {exact: a}}}]"), "");
  EXPECT_NE(refused("[{any: true}]", "[{authenticated: {principal_name: {suffix: a, sufix: b}}}]"), "");
  EXPECT_NE(refused("[{any: true}]", "[{and_ids: {}}]"), "");
  EXPECT_NE(refused("[{any: true}]", "[{or_ids: {id: [{any: true}]}}]"), "");
  EXPECT_NE(refused("[{any: true}]", "[{direct_remote_ip: {address_prefix: 10.0.0.0, prefix_length: 8}}]"),
            "");
  EXPECT_NE(refused("[{any: true}]", "[{direct_remote_ip: {address_prefix: 10.0.0.0, prefix_len: {}}}]"), "");
}

}  // namespace
}  // namespace bulkhead::policies::imports
