// SPDX-License-Identifier: Apache-2.0
#include "hamming_slices/hamming_slices_avx512.h"

namespace {

constexpr int64_t count_lanes = lanes;
inline void add_ones(uint64_t* counts, Slice a) {
  _mm512_store_si512(counts, _mm512_add_epi64(_mm512_load_si512(counts), _mm512_popcnt_epi64(a.v)));
}

}  // namespace

// The vector type comes first.
#include "hamming_slices/hamming_slices_histogram_vec.h"

FASTHASH_DEFINE_SLICES(avx512_vpopcnt)
