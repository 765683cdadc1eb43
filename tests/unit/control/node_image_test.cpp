// Images: how they are swapped, amended, offered and read. A refused one leaves the one before it.
#include "tests/unit/control/node_fixture.h"

namespace bulkhead::control {
namespace {

TEST_F(NodeTest, image_that_is_not_right_in_everything_changes_nothing) {
  ASSERT_EQ(swap(5), "");
  EXPECT_EQ(swap(5), "generation 5 is not newer than the enforced 5");
  EXPECT_EQ(swap(0), "generation 0 is not newer than the enforced 5");
  EXPECT_NE(swap(6, sealed(sample().policy, F_SEAL_GROW), sealed(sample().shards[0])).find("not sealed"),
            std::string::npos);
  EXPECT_NE(swap(6, Fd(open("/proc/self/status", O_RDONLY)), sealed(sample().shards[0])).find("memory file"),
            std::string::npos);
  EXPECT_NE(swap(6, sealed(sample().shards[0]), sealed(sample().policy)).find("image refused"),
            std::string::npos);
  const std::vector<std::byte> garbage(4096, std::byte{0xa5});
  EXPECT_NE(swap(6, sealed(garbage), sealed(sample().shards[0])).find("image refused"), std::string::npos);
  EXPECT_NE(swap(std::uint64_t{1} << 32).find("image refused"), std::string::npos);
  image::sample::Shape other;
  other.seed = 2;
  const auto stranger = image::sample::build(image::sample::make_tables(other));
  EXPECT_NE(swap(6, sealed(stranger.policy), sealed(sample().shards[0])).find("announced was"),
            std::string::npos);
  EXPECT_EQ(hello().generation, 5u);
  EXPECT_EQ(swap(6), "");
  EXPECT_EQ(hello().generation, 6u);
}

TEST_F(NodeTest, sections_of_the_enforced_image_need_not_be_sent_again) {
  EXPECT_NE(swap(5, sealed(sample().policy), Fd()).find("section 1, "), std::string::npos);
  ASSERT_EQ(swap(5), "");
  EXPECT_EQ(swap(6, Fd(), Fd()), "");
  EXPECT_EQ(swap(7, Fd(), sealed(sample().shards[0])), "");
  const auto before = files();
  std::ofstream(options_.run_dir + "/image/" + std::string(64, 'a')) << "left by one who was killed";
  start();
  EXPECT_EQ(hello().generation, 7u) << "what was saved is whole";
  EXPECT_EQ(files(), before) << "what nobody names is gone";
  EXPECT_EQ(swap(8, Fd(), Fd()), "");
}

TEST_F(NodeTest, descriptors_and_new_sections_must_be_as_many) {
  abi::Swap message{};
  message.generation = 5;
  message.sections = 2;
  message.is_new[0] = message.is_new[1] = 1;
  abi::SwapReply reply;
  EXPECT_EQ(ask(abi::MessageType::kSwap, message, reply), "fewer descriptors than new sections");
  message.sections = 0;
  std::vector<Fd> fds;
  fds.push_back(sealed(sample().policy));
  EXPECT_EQ(ask(abi::MessageType::kSwap, message, reply, std::move(fds)),
            "more descriptors than new sections");
  EXPECT_EQ(ask(abi::MessageType::kSwap, message, reply), "image refused: it has no section");
  message.sections = abi::kSectionsMax + 1;
  EXPECT_EQ(ask(abi::MessageType::kSwap, message, reply), "514 sections, expected at most 513");
}

TEST_F(NodeTest, an_amendment_names_what_changes_and_the_images_before_and_after) {
  auto tables = image::sample::make_tables();
  tables.endpoints[0].name = "renamed";
  const auto renamed = image::sample::build(tables);
  ASSERT_EQ(renamed.policy, sample().policy);
  ASSERT_NE(renamed.shards[0], sample().shards[0]);
  const auto digest = [](const image::sample::Image& image) {
    return image::image_digest(std::get<image::View>(image::validate(image.sections())));
  };
  abi::Amend message{};
  message.generation = 8;
  message.count = 1;
  message.places[0] = 1;
  std::memcpy(message.base, digest(sample()).bytes, sizeof message.base);
  std::memcpy(message.digest, digest(renamed).bytes, sizeof message.digest);
  const auto amend = [&](const abi::Amend& asked, std::span<const std::byte> section) {
    std::vector<Fd> fds;
    fds.push_back(sealed(section));
    abi::SwapReply reply;
    return ask(abi::MessageType::kAmend, asked, reply, std::move(fds));
  };
  const auto with = [&](auto change) {
    abi::Amend changed = message;
    change(changed);
    return changed;
  };
  EXPECT_EQ(amend(message, renamed.shards[0]), "the image to be amended is not the enforced one");
  ASSERT_EQ(swap(7), "");
  EXPECT_EQ(amend(with([](auto& m) { m.generation = 7; }), renamed.shards[0]),
            "generation 7 is not newer than the enforced 7");
  EXPECT_EQ(amend(with([](auto& m) { m.base[0] ^= 1; }), renamed.shards[0]),
            "the image to be amended is not the enforced one");
  EXPECT_EQ(amend(with([](auto& m) { m.count = 2; }), renamed.shards[0]), "2 sections with 1 descriptors");
  EXPECT_EQ(amend(with([](auto& m) { m.places[0] = 0; }), renamed.shards[0]),
            "image refused: a section that does not belong in place 0");
  std::vector<Fd> twice;
  for (int i = 0; i < 2; ++i) twice.push_back(sealed(renamed.shards[0]));
  abi::SwapReply unused;
  EXPECT_EQ(ask(abi::MessageType::kAmend, with([](auto& m) { m.count = 2, m.places[1] = 1; }), unused,
                std::move(twice)),
            "place 1 behind place 1, expected them to rise");
  EXPECT_EQ(amend(message, sample().policy), "image refused: a section that does not belong in place 1");
  EXPECT_EQ(amend(with([](auto& m) { m.places[0] = 2; }), renamed.shards[0]),
            "image refused: a section for place 2 of 2");
  EXPECT_NE(
      amend(with([](auto& m) { m.digest[0] ^= 1; }), renamed.shards[0]).find("another one was announced"),
      std::string::npos);
  std::vector<std::byte> damaged = renamed.shards[0];
  damaged.back() ^= std::byte{1};
  EXPECT_NE(amend(message, damaged).find("image refused"), std::string::npos);
  EXPECT_EQ(hello().generation, 7u) << "nothing of that is enforced";
  EXPECT_EQ(amend(message, renamed.shards[0]), "");
  EXPECT_EQ(hello().generation, 8u);
  EXPECT_EQ(std::memcmp(hello().digest, message.digest, sizeof message.digest), 0);
  start();
  EXPECT_EQ(hello().generation, 8u) << "and it is what comes back";
}

TEST_F(NodeTest, sections_may_be_offered_ahead_of_their_swap) {
  const auto offer = [this](const std::vector<std::byte>& section, bool is_first) {
    abi::Offer message{};
    message.is_first = is_first ? 1 : 0;
    std::vector<Fd> fds;
    fds.push_back(sealed(section));
    abi::Empty answer;
    return ask(abi::MessageType::kOffer, message, answer, std::move(fds));
  };
  EXPECT_EQ(offer(sample().policy, true), "");
  EXPECT_EQ(offer(sample().shards[0], false), "");
  EXPECT_EQ(swap(7, Fd(), Fd()), "");
  EXPECT_EQ(hello().generation, 7u);
  start_anew();
  EXPECT_EQ(offer(sample().policy, true), "");
  EXPECT_EQ(offer(sample().shards[0], false), "");
  EXPECT_NE(swap(0, Fd(), Fd()).find("not newer"), std::string::npos);
  EXPECT_NE(swap(7, Fd(), Fd()).find("was not offered"), std::string::npos) << "nor for the next";
  EXPECT_EQ(offer(sample().policy, true), "");
  EXPECT_EQ(offer(sample().shards[0], true), "") << "the one before goes";
  EXPECT_NE(swap(7, Fd(), Fd()).find("was not offered"), std::string::npos);
  EXPECT_NE(swap(7, sealed(sample().policy), Fd()).find("was not offered"), std::string::npos)
      << "an offer is for one swap";
  std::vector<std::byte> broken = sample().policy;
  broken.back() ^= std::byte{1};
  EXPECT_NE(offer(broken, true).find("image refused"), std::string::npos);
  for (std::uint32_t i = 0; i < abi::kSectionsMax; ++i) ASSERT_EQ(offer(sample().shards[0], i == 0), "");
  EXPECT_EQ(offer(sample().shards[0], false), "more than 513 sections offered");
}

TEST_F(NodeTest, image_is_read_from_any_section_on) {
  EXPECT_EQ(swap(7, sealed(sample().policy), sealed(sample().shards[0])), "");
  for (const std::uint32_t from : {0u, 1u, 2u, 0xffff'ffffu}) {
    abi::ImageRequest request{};
    request.from = from;
    abi::ImageReply reply;
    EXPECT_EQ(ask(abi::MessageType::kImage, request, reply), "");
    EXPECT_EQ(reply.sections, 2u);
    EXPECT_EQ(reply.count, from < 2 ? 2 - from : 0);
    EXPECT_EQ(reply.bytes[0], from == 0 ? sample().policy.size() : from == 1 ? sample().shards[0].size() : 0);
  }
}

TEST_F(NodeTest, without_an_image_there_is_none_to_show) {
  abi::ImageReply reply;
  EXPECT_EQ(ask(abi::MessageType::kImage, abi::ImageRequest{}, reply),
            "no image is enforced: nothing is forwarded");
  EXPECT_EQ(hello().generation, 0u);
}

}  // namespace
}  // namespace bulkhead::control
