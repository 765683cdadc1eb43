#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "dataplane/swap/enforced.h"
#include "tests/unit/image/sample.h"

namespace bulkhead::swap {
namespace {

using image::sample::Image;

const Image& sample_image() {
  static const Image made = image::sample::build(image::sample::make_tables());
  return made;
}

Section section(std::span<const std::byte> bytes) {
  auto copied = Section::copy(bytes);
  if (copied.index() != 0) throw std::runtime_error(std::get<1>(copied));
  return std::move(std::get<0>(copied));
}

std::variant<std::unique_ptr<Enforced>, std::string> try_load(const Image& image, std::uint64_t generation) {
  std::vector<SharedSection> sections;
  const auto add = [&](std::span<const std::byte> bytes) -> std::string {
    auto checked = check(section(bytes));
    if (checked.index() != 0) return std::get<1>(checked);
    sections.push_back(std::get<0>(std::move(checked)));
    return "";
  };
  if (const std::string wrong = add(image.policy); !wrong.empty()) return wrong;
  for (const auto& shard : image.shards)
    if (const std::string wrong = add(shard); !wrong.empty()) return wrong;
  image::ImageDigests digests;
  return load(std::move(sections), generation, digests);
}

std::unique_ptr<Enforced> image_of(std::uint64_t generation) {
  auto loaded = try_load(sample_image(), generation);
  if (loaded.index() != 0) throw std::runtime_error(std::get<1>(loaded));
  return std::move(std::get<0>(loaded));
}

std::ptrdiff_t open_fds() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
}

int memory_file(std::uint64_t bytes, int seals) {
  const int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  EXPECT_EQ(ftruncate(fd, static_cast<off_t>(bytes)), 0);
  EXPECT_EQ(fcntl(fd, F_ADD_SEALS, seals), 0);
  return fd;
}

constexpr int kAllSeals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK;

std::string refusal(int fd) {
  auto mapped = Section::map(fd);
  return mapped.index() == 0 ? "accepted" : std::get<1>(mapped);
}

TEST(Section, only_what_nobody_can_change_any_more_is_mapped) {
  const auto before = open_fds();
  for (const int seals :
       {0, F_SEAL_WRITE, kAllSeals & ~F_SEAL_WRITE, kAllSeals & ~F_SEAL_SHRINK, kAllSeals & ~F_SEAL_GROW})
    EXPECT_EQ(refusal(memory_file(64, seals)),
              "section is not sealed against writing, growing and shrinking");
  EXPECT_EQ(refusal(memory_file(64, kAllSeals)), "accepted");
  EXPECT_EQ(open_fds(), before) << "a refused descriptor is closed like a used one";
}

TEST(Section, what_is_no_memory_file_or_of_a_silly_size_is_refused) {
  char name[] = "/tmp/bulkhead-section-XXXXXX";
  const int file = mkstemp(name);
  unlink(name);
  EXPECT_NE(refusal(file).find("not a sealable memory file"), std::string::npos);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  EXPECT_NE(refusal(ends[0]).find("not a sealable memory file"), std::string::npos);
  close(ends[1]);
  EXPECT_NE(refusal(-1).find("not a sealable memory file"), std::string::npos);
  EXPECT_NE(refusal(memory_file(0, kAllSeals)).find("section of 0 bytes: expected 1 to"), std::string::npos);
  EXPECT_NE(refusal(memory_file(image::kSectionBytesMax + 1, kAllSeals)).find("expected 1 to"),
            std::string::npos);
}

TEST(Section, copy_keeps_the_bytes_and_seals_them) {
  const Section copied = section(sample_image().policy);
  EXPECT_TRUE(std::equal(copied.bytes().begin(), copied.bytes().end(), sample_image().policy.begin(),
                         sample_image().policy.end()));
  EXPECT_EQ(fcntl(copied.fd(), F_GET_SEALS) & kAllSeals, kAllSeals);
  EXPECT_EQ(write(copied.fd(), "x", 1), -1);
}

TEST(Load, damaged_or_mismatched_sections_are_refused_with_a_reason) {
  Image image = sample_image();
  for (const std::size_t at : {std::size_t{0}, std::size_t{40}, image.policy.size() / 2}) {
    Image damaged = image;
    damaged.policy[at] ^= std::byte{1};
    const auto loaded = try_load(damaged, 1);
    ASSERT_EQ(loaded.index(), 1u) << at;
    EXPECT_EQ(std::get<1>(loaded).rfind("image refused: ", 0), 0u);
  }
  const Image swapped{image.shards[0], {image.policy}};
  EXPECT_EQ(try_load(swapped, 1).index(), 1u);
  const Image without{image.policy, {}};
  EXPECT_EQ(try_load(without, 1).index(), 1u);
  const Image twice{image.policy, {image.shards[0], image.shards[0]}};
  EXPECT_EQ(try_load(twice, 1).index(), 1u);
  image.shards[0].resize(image.shards[0].size() - 64);
  EXPECT_EQ(try_load(image, 1).index(), 1u);
}

TEST(Amend, gives_what_loading_every_section_gives_and_shares_the_rest) {
  auto tables = image::sample::make_tables();
  tables.shards = 4;
  const Image before = image::sample::build(tables);
  for (image::sample::Named& endpoint : tables.endpoints) endpoint.name += "-renamed";
  const Image after = image::sample::build(tables);
  auto loaded = try_load(before, 1), wanted = try_load(after, 2);
  ASSERT_EQ(loaded.index(), 0u);
  ASSERT_EQ(wanted.index(), 0u);
  auto& enforced = std::get<0>(loaded);

  std::vector<Amendment> amendments;
  for (std::uint32_t i = 0; i < 4; ++i) {
    if (before.shards[i] == after.shards[i]) continue;
    amendments.push_back({i + 1, std::get<0>(check(section(after.shards[i])))});
  }
  ASSERT_FALSE(amendments.empty());
  image::ImageDigests digests;
  auto amended = amend(*enforced, amendments, 2, digests);
  ASSERT_EQ(amended.index(), 0u) << std::get<1>(amended);
  const auto& next = std::get<0>(amended);
  EXPECT_EQ(next->digest, std::get<0>(wanted)->digest);
  EXPECT_EQ(next->sections[0], enforced->sections[0]);
  for (const Amendment& amendment : amendments) {
    const std::uint32_t shard = amendment.place - 1;
    EXPECT_EQ(next->view.shards[shard].header, std::get<image::Shard>(amendment.section->part).header);
    EXPECT_EQ(next->view.slots[shard].first, std::get<image::Shard>(amendment.section->part).slots.first);
    EXPECT_NE(enforced->view.shards[shard].header, next->view.shards[shard].header) << "what it was stays";
  }
  const SharedSection policy = std::get<0>(check(section(after.policy)));
  amended = amend(*enforced, std::vector<Amendment>{{0, policy}}, 3, digests);
  ASSERT_EQ(amended.index(), 0u) << std::get<1>(amended);
  EXPECT_EQ(std::get<0>(amended)->digest, enforced->digest) << "the same bytes";
  EXPECT_EQ(std::get<0>(amended)->view.policy, std::get<image::View>(policy->part).policy);
}

TEST(Load, generation_that_looks_like_none_to_the_flow_table_is_refused) {
  EXPECT_EQ(try_load(sample_image(), std::uint64_t{1} << 32).index(), 1u);
  EXPECT_EQ(try_load(sample_image(), (std::uint64_t{1} << 32) + 1).index(), 0u);
}

/// Runs publish() on a thread and tells when it is done.
class Publishing {
 public:
  Publishing(Publisher& publisher, std::uint64_t generation)
      : thread_([this, &publisher, next = image_of(generation)]() mutable {
          publisher.publish(std::move(next));
          done_ = true;
        }) {}
  ~Publishing() { thread_.join(); }
  bool done_within(std::chrono::milliseconds limit) const {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (!done_ && std::chrono::steady_clock::now() < end)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return done_;
  }

 private:
  std::atomic<bool> done_ = false;
  std::thread thread_;
};

TEST(Publisher, old_image_lives_until_every_reader_has_passed) {
  Publisher publisher(2);
  publisher.publish(image_of(1));
  publisher.join(0);
  publisher.join(1);
  const Enforced* held = publisher.current();
  ASSERT_EQ(held->generation, 1u);
  {
    Publishing publishing(publisher, 2);
    EXPECT_FALSE(publishing.done_within(std::chrono::milliseconds(50)));
    publisher.quiescent(1);
    EXPECT_FALSE(publishing.done_within(std::chrono::milliseconds(50)));
    EXPECT_EQ(held->view.policy->magic, image::kMagic);
    EXPECT_EQ(publisher.current()->generation, 2u) << "the new one judges meanwhile";
    publisher.quiescent(0);
    EXPECT_TRUE(publishing.done_within(std::chrono::seconds(5)));
  }
  publisher.offline(0);
  publisher.offline(1);
}

TEST(Publisher, sleeping_reader_is_waited_for_by_nobody) {
  Publisher publisher(2);
  publisher.join(0);
  publisher.offline(0);
  publisher.publish(image_of(1));  // worker 1 has not even begun
  publisher.publish(image_of(2));
  publisher.online(0);
  EXPECT_EQ(publisher.current()->generation, 2u);
  {
    Publishing publishing(publisher, 3);
    EXPECT_FALSE(publishing.done_within(std::chrono::milliseconds(50))) << "awake again, it counts again";
    publisher.offline(0);
    EXPECT_TRUE(publishing.done_within(std::chrono::seconds(5)));
  }
}

TEST(Publisher, grace_period_ends_when_all_have_passed_and_not_before) {
  Publisher publisher(2);
  publisher.join(0);
  publisher.join(1);
  const std::uint64_t token = publisher.grace_start();
  EXPECT_FALSE(publisher.grace_done(token));
  publisher.quiescent(0);
  publisher.quiescent(0);
  EXPECT_FALSE(publisher.grace_done(token));
  publisher.quiescent(1);
  EXPECT_TRUE(publisher.grace_done(token));
}

TEST(Publisher, readers_under_a_storm_of_swaps_always_hold_one_whole_image) {
  constexpr std::uint64_t kSwaps = 150;
  Publisher publisher(2);
  publisher.publish(image_of(1));
  std::atomic<bool> stop = false;
  std::atomic<std::uint64_t> wrong = 0;
  const auto read = [&](std::uint32_t worker) {
    publisher.join(worker);
    std::uint64_t last = 0, rounds = 0;
    while (!stop) {
      const Enforced* now = publisher.current();
      // An unmapped image would be a fault here.
      if (now->generation < last || now->view.policy->magic != image::kMagic ||
          now->view.shards[0].header->magic != image::kMagic)
        ++wrong;
      last = now->generation;
      if (++rounds % 16 == 0) {
        publisher.offline(worker);
        publisher.online(worker);
      }
      publisher.quiescent(worker);
    }
    publisher.offline(worker);
  };
  std::thread first(read, 0), second(read, 1);
  for (std::uint64_t generation = 2; generation <= kSwaps; ++generation)
    publisher.publish(image_of(generation));
  stop = true;
  first.join();
  second.join();
  EXPECT_EQ(wrong, 0u);
}

}  // namespace
}  // namespace bulkhead::swap
