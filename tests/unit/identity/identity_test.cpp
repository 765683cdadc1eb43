#include "controlplane/identity/identity.h"

#include <gtest/gtest.h>

namespace bulkhead::identity {
namespace {

TEST(Identity, number_is_the_same_on_every_machine) {
  // printf '\x04\x00\x00\x00shop\x03\x00\x00\x00app\x03\x00\x00\x00web' | sha256sum
  EXPECT_EQ(hex(identify(encode("shop", {{"app", "web"}}))), "59c74ef8f59293ad213109ab3c0583f4");
}

TEST(Identity, encoding_is_injective_where_joined_texts_are_not) {
  EXPECT_EQ(text({{"a", "b,c=d"}}), text({{"a", "b"}, {"c", "d"}}));
  EXPECT_NE(encode("", {{"a", "b,c=d"}}), encode("", {{"a", "b"}, {"c", "d"}}));
  EXPECT_NE(encode("a", {{"b", ""}}), encode("", {{"a", "b"}}));
  EXPECT_NE(encode("ab", {}), encode("a", {{"b", ""}}));
  EXPECT_NE(encode("", {{"a", ""}}), encode("", {}));
  EXPECT_NE(encode("", {}, "a"), encode("", {}));
  EXPECT_NE(encode("", {{"a", "b"}}, "c"), encode("", {{"a", "b"}, {"c", ""}}));
}

TEST(Identity, equal_label_sets_share_one_entry) {
  Table table;
  const auto web = table.intern(encode("shop", {{"app", "web"}}));
  const auto api = table.intern(encode("shop", {{"app", "api"}}));
  EXPECT_EQ(table.intern(encode("shop", {{"app", "web"}})).index, web.index);
  EXPECT_NE(api.index, web.index);
  EXPECT_EQ(table.entries().size(), 2u);
}

TEST(Identity, collision_is_reported_and_never_merged) {
  Table table([](std::string_view encoding) {
    Id id;
    id.bytes[0] = static_cast<std::uint8_t>(encoding.size());
    return id;
  });
  ASSERT_FALSE(table.intern("aa").collision);
  for (int attempt = 0; attempt < 2; ++attempt) {
    const auto collided = table.intern("bb");
    ASSERT_TRUE(collided.collision);
    EXPECT_EQ(*collided.collision, 0u);
  }
  EXPECT_EQ(table.entries().size(), 1u);
  EXPECT_FALSE(table.intern("c").collision);
}

TEST(Identity, text_reads_like_labels) {
  EXPECT_EQ(text({{"tier", "front"}, {"app", "web"}}), "app=web,tier=front");
  EXPECT_EQ(text({}), "");
}

}  // namespace
}  // namespace bulkhead::identity
