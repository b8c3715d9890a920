// SPDX-License-Identifier: Apache-2.0
// unpack_codes in steps of one vector, all with internal linkage. The including file provides
//   Codes                        a vector of `Codes::bytes` bytes; store(p, codes)
//   splat<size>(x)               x in every element of `size` bytes
//   choose<size>(mask, a, b)     element i of a where bit i of the mask is set, else of b
#pragma once

#include <cstring>

#include "common/bit_order.h"
#include "unpack_codes/unpack_codes_seam.h"

namespace {

using fasthash::UnpackRun;

template <int size>
void unpack_run_of(const UnpackRun& run) {
  constexpr int lanes = Codes::bytes / size;
  const Codes set = splat<size>(run.set), clear = splat<size>(run.clear);
  char* out = static_cast<char*>(run.codes);
  for (int64_t first = 0; first < run.count; first += 64) {
    const int64_t live = run.count - first < 64 ? run.count - first : 64;
    uint64_t bits = 0;
    std::memcpy(&bits, run.packed + first / 8, size_t((live + 7) / 8));
    bits = bytes_reversed(bits);
    for (int64_t i = 0; i < live; i += lanes) {
      const Codes codes = choose<size>(bits >> i, set, clear);
      char* at = out + (first + i) * size;
      if (i + lanes <= live) {
        store(at, codes);
      } else {
        alignas(64) char whole[Codes::bytes];
        store(whole, codes);
        std::memcpy(at, whole, size_t((live - i) * size));
      }
    }
  }
}

inline void unpack_run(const UnpackRun& run) {
  switch (run.size) {
    case 8: return unpack_run_of<8>(run);
    case 4: return unpack_run_of<4>(run);
    case 2: return unpack_run_of<2>(run);
    default: return unpack_run_of<1>(run);
  }
}

}  // namespace
