#include <csignal>
#include <iostream>

#include "tools/ctl/cli.h"
#include "tools/ctl/print.h"

int main(int argc, char** argv) {
  // A reader that goes away (`bulkheadctl flows | head`) ends the program quietly, whatever was inherited.
  std::signal(SIGPIPE, SIG_DFL);
  return bulkhead::ctl::run({argv + 1, argv + argc}, std::cout, std::cerr, bulkhead::ctl::colour_welcome(1));
}
