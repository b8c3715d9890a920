// SPDX-License-Identifier: Apache-2.0
#include "hamming_slices/hamming_slices_avx512.h"

namespace {

struct Ones {
  __m512i lanes = _mm512_setzero_si512();

  void add(Slice v, Slice w) {
    lanes = _mm512_add_epi64(lanes, _mm512_popcnt_epi64(v.v));
    lanes = _mm512_add_epi64(lanes, _mm512_popcnt_epi64(w.v));
  }
};

// Eight at a time.
inline void totals(const Ones* counts, int n, int64_t* out) {
  for (int first = 0; first < n; first += 8) {
    Slice rows[8];
    for (int i = 0; i < 8; ++i) rows[i] = {first + i < n ? counts[first + i].lanes : _mm512_setzero_si512()};
    transpose(rows);
    __m512i sum = rows[0].v;
    for (int i = 1; i < 8; ++i) sum = _mm512_add_epi64(sum, rows[i].v);
    _mm512_mask_storeu_epi64(out + first, __mmask8(n - first < 8 ? (1 << (n - first)) - 1 : 255), sum);
  }
}

}  // namespace

// The vector type comes first.
#include "hamming_slices/hamming_slices_histogram_vec.h"

FASTHASH_DEFINE_SLICES(avx512_vpopcnt)
