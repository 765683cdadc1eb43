#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "dataplane/flow/memory.h"
#include "tests/unit/flow/room.h"

namespace bulkhead::flow {
namespace {

TEST(Adoption, a_table_is_taken_up_with_all_its_flows_to_be_judged_again) {
  Room room(2000);
  TakeUp report;
  {
    Table table(room.bytes(), options_of(2000), report);
    EXPECT_FALSE(report.adopted);
    EXPECT_EQ(report.reason, "no flow table was there");
    for (std::uint32_t n = 0; n < 2000; ++n) insert(table, key_number(n), 77);
    const Key touched = key_number(3);
    table.touch(table.look_up(&touched, 77).slot, 0, 5, 500, 1);
  }
  TableOptions options = options_of(2000);
  options.hash_seed[0] = 1;  // the table keeps the seed that it was made with
  options.boottime_s += 50;
  Table table(room.bytes(), options, report);
  EXPECT_TRUE(report.adopted);
  EXPECT_EQ(report.restored, 2000u);
  EXPECT_EQ(report.discarded, 0u);
  EXPECT_EQ(table.live(), 2000u);
  EXPECT_EQ(table.clock_s(1050), 50);
  for (std::uint32_t n = 0; n < 2000; ++n) {
    const Key key = key_number(n);
    const Probe probe = table.look_up(&key, 77);
    ASSERT_EQ(probe.found, Found::kStale)
        << "even for the same generation: another process may have meant another";
    ASSERT_EQ(probe.out_port, 20);
    EXPECT_EQ(table.entry(probe.slot).count[0].packets, n == 3 ? 5u : 0u);
  }
  EXPECT_EQ(insert(table, key_number(5000)).outcome, Outcome::kInserted) << "by evicting a half-open one";
}

TEST(Adoption, what_a_death_left_half_done_is_cleared) {
  Room room(500);
  TakeUp report;
  std::uint32_t slots[6];
  {
    Table table(room.bytes(), options_of(500), report);
    for (std::uint32_t n = 0; n < 300; ++n) {
      const std::uint32_t slot = insert(table, key_number(n)).slot;
      if (n < 6) slots[n] = slot;
    }
    room.tags(table)[slots[0]] = abi::kFlowTagClaimed;
    table.remove(0, slots[1]);
    table.entry(slots[2]).state = static_cast<abi::FlowState>(9);
    room.tags(table)[slots[3]] ^= 0x100;
    table.entry(slots[4]).source_port ^= 1;
    // A double of slot 5 further down in the same bucket, or before it.
    const std::uint32_t bucket = slots[5] / 16;
    for (std::uint32_t slot = bucket * 16; slot < bucket * 16 + 16; ++slot) {
      if (room.tags(table)[slot] != abi::kFlowTagFree) continue;
      table.entry(slot) = table.entry(slots[5]);
      table.detail(slot) = table.detail(slots[5]);
      room.tags(table)[slot] = room.tags(table)[slots[5]];
      break;
    }
  }
  Table table(room.bytes(), options_of(500), report);
  EXPECT_TRUE(report.adopted);
  EXPECT_EQ(report.restored, 295u);
  EXPECT_EQ(report.discarded, 5u) << "the retired one had ended in good order";
  EXPECT_EQ(table.live(), 295u);
  for (std::uint32_t n = 0; n < 300; ++n) {
    const Key key = key_number(n);
    EXPECT_EQ(table.look_up(&key, 1).found, n < 5 ? Found::kMiss : Found::kStale) << n;
  }
}

TEST(Adoption, another_size_version_or_boot_begins_anew) {
  Room room(500);
  TakeUp report;
  const auto begin = [&](const TableOptions& options) {
    Table table(room.bytes(), options, report);
    insert(table, key_number(1));
    return report.reason;
  };
  auto* header = reinterpret_cast<abi::FlowTableHeader*>(room.bytes().data());
  begin(options_of(500));
  EXPECT_EQ(begin(options_of(500)), "");
  EXPECT_EQ(begin(options_of(400)), "the flow table there is of another size");
  EXPECT_EQ(begin(options_of(400)), "");
  header->version = 99;
  EXPECT_EQ(begin(options_of(400)), "the flow table there is of another version");
  TableOptions rebooted = options_of(400);
  rebooted.boot_id[15] = 1;
  EXPECT_EQ(begin(rebooted), "the flow table there is from before a reboot");
  EXPECT_EQ(begin(rebooted), "");
  Table table(room.bytes(), options_of(400), report);
  EXPECT_EQ(table.live(), 0u);
  const Key key = key_number(1);
  EXPECT_EQ(table.look_up(&key, 1).found, Found::kMiss);
}

TEST(Adoption, overflowed_chains_are_counted_again) {
  Room room(1000);
  TakeUp report;
  std::vector<Key> keys;
  {
    Table table(room.bytes(), options_of(1000), report);
    for (std::uint32_t n = 0; keys.size() < 40; ++n) {
      const Key key = key_number(n);
      if ((table.hasher()(&key) & (table.buckets() - 1)) == 9) keys.push_back(key);
    }
    for (const Key& key : keys) insert(table, key);
  }
  Table table(room.bytes(), options_of(1000), report);
  EXPECT_EQ(report.restored, 40u);
  for (const Key& key : keys) {
    const Probe probe = table.look_up(&key, 1);
    ASSERT_EQ(probe.found, Found::kStale);
    EXPECT_TRUE(table.remove(0, probe.slot));
  }
  EXPECT_EQ(table.live(), 0u);
}

/// A directory of its own, removed afterwards.
struct RunDirectory {
  std::string path;
  RunDirectory() {
    char name[] = "/tmp/bulkhead-flow-XXXXXX";
    path = mkdtemp(name);
  }
  ~RunDirectory() { std::filesystem::remove_all(path); }
};

TEST(Memory, survives_a_killed_process_and_lets_one_writer_in) {
  RunDirectory run;
  const MemoryOptions where{run.path, "", 1000};
  const pid_t child = fork();
  if (child == 0) {
    auto opened = open_memory(where);
    if (!std::holds_alternative<Memory>(opened)) _exit(1);
    TakeUp report;
    Table table(std::get<Memory>(opened).bytes(), table_options(1000, 1), report);
    for (std::uint32_t n = 0; n < 500; ++n) insert(table, key_number(n));
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));

  auto opened = open_memory(where);
  ASSERT_TRUE(std::holds_alternative<Memory>(opened)) << std::get<MemoryError>(opened).reason;
  const Memory& memory = std::get<Memory>(opened);
  EXPECT_FALSE(memory.hugepages());
  EXPECT_EQ(memory.path(), run.path + "/flows");
  TakeUp report;
  Table table(memory.bytes(), table_options(1000, 1), report);
  EXPECT_TRUE(report.adopted) << report.reason;
  EXPECT_EQ(report.restored, 500u);

  auto second = open_memory(where);
  ASSERT_TRUE(std::holds_alternative<MemoryError>(second));
  EXPECT_NE(std::get<MemoryError>(second).reason.find("another data plane"), std::string::npos);

  // Tools map the read-only descriptor, and cannot write through it.
  const std::size_t bytes = memory.bytes().size();
  void* seen = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, memory.read_only_fd(), 0);
  ASSERT_NE(seen, MAP_FAILED);
  EXPECT_EQ(static_cast<abi::FlowTableHeader*>(seen)->flows_max, 1000u);
  munmap(seen, bytes);
  EXPECT_EQ(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory.read_only_fd(), 0), MAP_FAILED);
}

TEST(Memory, another_size_is_a_new_file_and_a_wrong_hugepage_directory_only_a_notice) {
  RunDirectory run;
  {
    auto opened = open_memory({run.path, "", 1000});
    ASSERT_TRUE(std::holds_alternative<Memory>(opened));
    std::get<Memory>(opened).bytes()[5000] = std::byte{1};
  }
  auto opened = open_memory({run.path, run.path, 5000});
  ASSERT_TRUE(std::holds_alternative<Memory>(opened));
  const Memory& memory = std::get<Memory>(opened);
  EXPECT_EQ(memory.notice(), run.path + ": not a hugetlbfs mount");
  EXPECT_EQ(memory.bytes().size(), geometry(5000).bytes);
  EXPECT_EQ(memory.bytes()[5000], std::byte{0});
}

TEST(Memory, a_missing_directory_is_named) {
  auto opened = open_memory({"/nonexistent/run", "", 1000});
  ASSERT_TRUE(std::holds_alternative<MemoryError>(opened));
  EXPECT_EQ(std::get<MemoryError>(opened).reason,
            "/nonexistent/run/flows: cannot open the flow table's file: No such file or directory");
}

}  // namespace
}  // namespace bulkhead::flow
