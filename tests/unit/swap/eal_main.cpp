// main() of the tests that need DPDK: one EAL a process, in ordinary memory, without devices of the machine.
#include <gtest/gtest.h>
#include <rte_eal.h>
#include <sched.h>

#include <cstdio>
#include <string>

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (GTEST_FLAG_GET(list_tests)) return RUN_ALL_TESTS();
  cpu_set_t allowed;
  sched_getaffinity(0, sizeof allowed, &allowed);
  int first = 0;
  while (!CPU_ISSET(first, &allowed)) ++first;
  std::string words[] = {
      "test",           "--no-huge", "--no-shconf",         "--no-pci",    "-m",        "256",
      "--no-telemetry", "-l",        std::to_string(first), "--log-level", "*:warning", "--log-level",
      "lib.eal:error"};
  char* arguments[std::size(words)];
  for (std::size_t i = 0; i < std::size(words); ++i) arguments[i] = words[i].data();
  if (rte_eal_init(static_cast<int>(std::size(words)), arguments) < 0) {
    std::fprintf(stderr, "DPDK does not start\n");
    return 1;
  }
  // EAL ties this thread to its lcore's processor, and threads that tests start would inherit that.
  sched_setaffinity(0, sizeof allowed, &allowed);
  const int result = RUN_ALL_TESTS();
  rte_eal_cleanup();
  return result;
}
