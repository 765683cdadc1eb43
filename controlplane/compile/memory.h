// For a process that compiles again and again.
#pragma once

#include <malloc.h>

namespace bulkhead::compile {

/// Up to 64 MB that a compile frees stay with the process, for the next one: pages given back to the kernel are cleared
/// and faulted in again (mallopt(3)). Before the first thread.
inline void keep_freed_memory() {
  constexpr int kMegabyte = 1 << 20;
  mallopt(M_MMAP_THRESHOLD, 32 * kMegabyte);
  mallopt(M_TRIM_THRESHOLD, 64 * kMegabyte);
}

}  // namespace bulkhead::compile
