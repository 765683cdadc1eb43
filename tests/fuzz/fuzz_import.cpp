// Arbitrary bytes as policies of other systems: whatever is made of them, load/ reads, and its report has places.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "policies/import/import.h"
#include "policies/load/load.h"

using namespace bulkhead::policies;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::vector<File> files = {{"f.yaml", std::string(reinterpret_cast<const char*>(data), size)}};
  const imports::Imported imported = imports::import_files(files, {});
  for (const auto& loss : imported.losses)
    if (loss.message.empty() || imports::format(loss).empty()) std::abort();
  if (imported.objects.empty()) return 0;
  const std::vector<File> results = {{"out.yaml", imports::to_yaml(imported)}};
  const Loaded loaded = load(results);
  for (const auto& error : loaded.errors) std::fprintf(stderr, "%s\n", format(error).c_str());
  if (!loaded.ok() || loaded.policies.policies.size() != imported.objects.size()) {
    std::fprintf(stderr, "%s\n", results[0].text.c_str());
    std::abort();
  }
  return 0;
}
