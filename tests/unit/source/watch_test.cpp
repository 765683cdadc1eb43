#include "controlplane/source/watch.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace bulkhead::source {
namespace {

class WatchTest : public ::testing::Test {
 protected:
  WatchTest() {
    std::filesystem::create_directories(base + "/policies");
    std::ofstream(base + "/endpoints.yaml") << "a";
  }
  ~WatchTest() override { std::filesystem::remove_all(base); }
  std::string base = ::testing::TempDir() + "bulkhead-watch-" + std::to_string(::getpid());
};

TEST_F(WatchTest, an_editor_that_renames_into_place_is_seen_every_time) {
  Watch watch({base + "/endpoints.yaml", base + "/policies"});
  EXPECT_FALSE(watch.drain());
  for (int i = 0; i < 3; ++i) {
    std::ofstream(base + "/new") << i;
    watch.drain();
    std::filesystem::rename(base + "/new", base + "/endpoints.yaml");
    EXPECT_TRUE(watch.drain()) << i;
    EXPECT_FALSE(watch.busy());
  }
}

TEST_F(WatchTest, a_file_that_is_being_written_makes_the_watch_busy) {
  Watch watch({base + "/endpoints.yaml", base + "/policies"});
  const int fd = ::open((base + "/policies/a.yaml").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_GE(fd, 0);
  EXPECT_TRUE(watch.drain());
  EXPECT_TRUE(watch.busy());
  ASSERT_EQ(::write(fd, "half", 4), 4);
  EXPECT_TRUE(watch.drain());
  EXPECT_TRUE(watch.busy());
  ::close(fd);
  EXPECT_TRUE(watch.drain());
  EXPECT_FALSE(watch.busy());
}

TEST_F(WatchTest, other_files_beside_a_watched_one_do_not_matter) {
  Watch watch({base + "/endpoints.yaml", base + "/policies"});
  std::ofstream(base + "/log") << "x";
  EXPECT_FALSE(watch.drain());
  EXPECT_FALSE(watch.busy());
  std::ofstream(base + "/policies/.swap") << "x";
  EXPECT_FALSE(watch.drain());
}

TEST_F(WatchTest, a_directory_that_is_made_anew_is_watched_again) {
  Watch watch({base + "/endpoints.yaml", base + "/policies"});
  std::filesystem::remove_all(base + "/policies");
  EXPECT_TRUE(watch.drain());
  std::filesystem::create_directory(base + "/policies");
  EXPECT_TRUE(watch.drain());
  std::ofstream(base + "/policies/a.yaml") << "x";
  EXPECT_TRUE(watch.drain());
}

TEST_F(WatchTest, a_path_that_appears_later_is_taken_up) {
  Watch watch({base + "/later/endpoints.yaml"});
  std::filesystem::create_directory(base + "/later");
  EXPECT_TRUE(watch.rearm());
  EXPECT_FALSE(watch.rearm());
  std::ofstream(base + "/later/endpoints.yaml") << "x";
  EXPECT_TRUE(watch.drain());
}

TEST_F(WatchTest, the_switched_link_of_a_mounted_directory_is_seen) {
  std::filesystem::create_directory(base + "/policies/..1");
  std::filesystem::create_directory_symlink("..1", base + "/policies/..data");
  Watch watch({base + "/policies"});
  std::filesystem::create_directory_symlink("..2", base + "/policies/..tmp");
  std::filesystem::rename(base + "/policies/..tmp", base + "/policies/..data");
  EXPECT_TRUE(watch.drain());
}

}  // namespace
}  // namespace bulkhead::source
