// SPDX-License-Identifier: Apache-2.0
#include "hamming_slices/hamming_slices_avx512.h"

namespace {

constexpr int64_t count_lanes = 1;
inline void add_ones(uint64_t* counts, Slice a) {
  uint64_t words[lanes];
  store(words, a);
  for (uint64_t word : words) *counts += ones(word);
}

}  // namespace

// The vector type comes first.
#include "hamming_slices/hamming_slices_histogram_vec.h"

FASTHASH_DEFINE_SLICES(avx512)
