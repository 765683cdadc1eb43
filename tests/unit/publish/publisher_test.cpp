#include "controlplane/publish/publisher.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "controlplane/compile/compile.h"
#include "tests/unit/publish/fake_dataplane.h"

namespace bulkhead::publish {
namespace {

compile::Output image_of(std::vector<std::string> names) {
  policies::Cluster cluster;
  cluster.namespaces.push_back({"default", {}});
  std::uint8_t last = 1;
  for (const std::string& name : names) {
    policies::Endpoint endpoint;
    endpoint.id = endpoint.name = name;
    endpoint.namespace_name = "default";
    policies::AddressBytes address{};
    address[10] = address[11] = 0xff;
    address[12] = 10;
    address[15] = last++;
    endpoint.addresses.push_back(address);
    cluster.endpoints.push_back(endpoint);
  }
  const policies::PolicySet none;
  auto result = compile::compile({.cluster = cluster, .policies = none});
  EXPECT_TRUE(std::holds_alternative<compile::Output>(result));
  return std::get<compile::Output>(result);
}

class PublisherTest : public ::testing::Test {
 protected:
  std::string path = ::testing::TempDir() + "bulkhead-publisher-" + std::to_string(::getpid()) + ".sock";
  FakeDataplane dataplane{path};
  Channel channel = Channel::connect(path, "test", 5000);
  Publisher publisher;

  void offer(const compile::Output& image) { publisher.offer(image.image); }
};

TEST(SealedMemfd, nobody_can_change_it_any_more) {
  const std::byte bytes[] = {std::byte{1}, std::byte{2}};
  const Fd fd = sealed_memfd("test", bytes);
  EXPECT_EQ(::fcntl(fd.get(), F_GET_SEALS), F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  EXPECT_LT(::write(fd.get(), "x", 1), 0);
  EXPECT_LT(::ftruncate(fd.get(), 100), 0);
}

TEST_F(PublisherTest, an_image_is_delivered_sealed_and_acknowledged) {
  publisher.connected(channel.hello());
  EXPECT_FALSE(publisher.pending());
  offer(image_of({"a"}));
  EXPECT_TRUE(publisher.pending());
  publisher.deliver(channel);
  EXPECT_FALSE(publisher.pending());
  EXPECT_EQ(publisher.enforced(), publisher.wanted());
  EXPECT_EQ(publisher.enforced().number, 1u);
  ASSERT_EQ(dataplane.published().size(), 1u);
  EXPECT_EQ(dataplane.published()[0].seals, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
}

TEST_F(PublisherTest, an_unchanged_policy_section_is_not_sent_again) {
  offer(image_of({"a"}));
  publisher.deliver(channel);
  auto next = image_of({"a"});
  // The same policy with another binding: the endpoint moves to another port.
  policies::Cluster cluster;
  cluster.namespaces.push_back({"default", {}});
  policies::Endpoint endpoint;
  endpoint.id = endpoint.name = "a";
  endpoint.namespace_name = "default";
  endpoint.addresses.push_back({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1});
  cluster.endpoints.push_back(endpoint);
  const policies::PolicySet none;
  next = std::get<compile::Output>(
      compile::compile({.cluster = cluster, .policies = none, .ports = {{"a", 9, 77}}}));
  offer(next);
  const Delivery delivery = publisher.deliver(channel);
  EXPECT_TRUE(delivery.shared_policy);
  EXPECT_FALSE(delivery.whole);
  EXPECT_EQ(delivery.sent, 1u);
  const auto published = dataplane.published();
  ASSERT_EQ(published.size(), 2u);
  EXPECT_FALSE(published[1].sent[0]);
  EXPECT_TRUE(published[1].sent[1]);
  EXPECT_NE(published[0].inodes[1], published[1].inodes[1]);
}

TEST_F(PublisherTest, memory_made_ready_holds_just_the_section_and_is_sealed) {
  offer(image_of({"a"}));
  publisher.make_ready();  // before anything was delivered, too
  publisher.deliver(channel);
  for (std::size_t names = 2; names < 60; names += 19) {
    publisher.make_ready();
    std::vector<std::string> all;
    for (std::size_t i = 0; i < names; ++i) all.push_back("endpoint-" + std::to_string(i));
    const auto image = image_of(all);
    offer(image);
    publisher.deliver(channel);
    const auto published = dataplane.published().back();
    EXPECT_EQ(published.seals, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    const auto bytes = FakeDataplane::Published::bytes(published.sections[1]);
    EXPECT_TRUE(
        std::equal(bytes.begin(), bytes.end(), image.image.shards[0]->begin(), image.image.shards[0]->end()))
        << names;
  }
}

TEST_F(PublisherTest, a_data_plane_that_lost_the_sections_gets_all_of_them) {
  offer(image_of({"a"}));
  publisher.deliver(channel);
  offer(image_of({"a", "b"}));
  dataplane.forget_sections();
  const Delivery delivery = publisher.deliver(channel);
  EXPECT_TRUE(delivery.whole);
  EXPECT_EQ(delivery.sent, 2u);
  EXPECT_FALSE(publisher.pending());
}

TEST_F(PublisherTest, what_is_enforced_already_is_not_sent_again) {
  const auto image = image_of({"a"});
  offer(image);
  publisher.deliver(channel);
  Publisher restarted;
  restarted.connected(channel.hello());
  restarted.offer(image.image);
  EXPECT_FALSE(restarted.pending());
  EXPECT_EQ(restarted.wanted(), restarted.enforced());
  EXPECT_EQ(restarted.wanted().number, 1u);
  restarted.offer(image_of({"a", "b"}).image);
  const Delivery delivery = restarted.deliver(channel);
  EXPECT_FALSE(delivery.whole) << "what is enforced is known section by section";
  EXPECT_FALSE(restarted.pending());
}

TEST_F(PublisherTest, changes_that_were_never_delivered_are_part_of_the_next_delivery) {
  const auto first = image_of({"a"});
  offer(first);
  publisher.deliver(channel);
  offer(image_of({"b"}));
  offer(image_of({"a", "b"}));
  const Delivery delivery = publisher.deliver(channel);
  EXPECT_FALSE(delivery.whole);
  EXPECT_FALSE(publisher.pending());
  offer(image_of({"b"}));
  offer(image_of({"a", "b"}));
  EXPECT_FALSE(publisher.pending()) << "there and back again";
  offer(first);
  publisher.deliver(channel);
  Publisher other;
  other.offer(first.image);
  EXPECT_EQ(publisher.enforced().digest, other.wanted().digest);
}

TEST_F(PublisherTest, generations_go_on_above_what_the_data_plane_enforces) {
  offer(image_of({"a"}));
  dataplane.set_enforced(41, {});
  publisher.connected(channel.hello());
  publisher.deliver(channel);
  EXPECT_EQ(dataplane.generation(), 42u);
}

TEST_F(PublisherTest, a_data_plane_that_starts_anew_gets_the_image_again_with_a_higher_number) {
  offer(image_of({"a"}));
  publisher.deliver(channel);
  offer(image_of({"a", "b"}));
  publisher.deliver(channel);
  dataplane.set_enforced(0, {});
  publisher.connected(channel.hello());
  EXPECT_TRUE(publisher.pending());
  publisher.deliver(channel);
  EXPECT_EQ(dataplane.generation(), 3u);
}

TEST_F(PublisherTest, a_refused_swap_leaves_the_image_pending) {
  offer(image_of({"a"}));
  dataplane.refuse_swaps("no");
  EXPECT_THROW(publisher.deliver(channel), RequestRefused);
  EXPECT_TRUE(publisher.pending());
  EXPECT_EQ(publisher.enforced().number, 0u);
}

}  // namespace
}  // namespace bulkhead::publish
