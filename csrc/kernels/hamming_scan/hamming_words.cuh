// SPDX-License-Identifier: Apache-2.0
// Packed codes on a device, read in words as wide as their address, width and stride allow.
#pragma once

#include <cstdint>

#include "common/cuda.h"
#include "hamming_scan/hamming_math.h"
#include "hamming_scan/hamming_scan.h"

namespace fasthash {

template <class Word>
__device__ inline const Word* code_words(const CodeRows& rows, int64_t row) {
  return reinterpret_cast<const Word*>(rows.data + row * rows.stride);
}

// Calls f with a value of the widest type in which both sides can be read.
template <class F>
auto for_word(const CodeRows& queries, const CodeRows& database, F&& f) {
  uint64_t all = 0;
  for (const CodeRows* rows : {&queries, &database})
    all |= reinterpret_cast<uintptr_t>(rows->data) | uint64_t(rows->stride) | uint64_t(rows->width);
  if (all % 8 == 0) return f(uint64_t{});
  if (all % 4 == 0) return f(uint32_t{});
  return f(uint8_t{});
}

}  // namespace fasthash
