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

// Differences lane by lane, then the sums of eight at a time.
template <int bins>
void add_values(const Ones* counts, int64_t* out) {
  constexpr int rows = (bins + 7) / 8 * 8;
  Slice at[rows];
  for (int set = 0; set < rows; ++set) at[set] = {set < bins ? counts[set].lanes : _mm512_setzero_si512()};
#pragma GCC unroll 8
  for (int bit = 1; bit < rows; bit *= 2)
#pragma GCC unroll 32
    for (int set = 0; set < rows; ++set)
      if (!(set & bit) && (set | bit) < rows) at[set].v = _mm512_sub_epi64(at[set].v, at[set | bit].v);
#pragma GCC unroll 4
  for (int first = 0; first < rows; first += 8) {
    Slice eight[8];
    for (int i = 0; i < 8; ++i) eight[i] = at[first + i];
    transpose(eight);
    __m512i sum = eight[0].v;
    for (int i = 1; i < 8; ++i) sum = _mm512_add_epi64(sum, eight[i].v);
    const __mmask8 mask = first + 8 <= bins ? 0xff : (1 << (bins - first)) - 1;
    _mm512_mask_storeu_epi64(out + first, mask, _mm512_add_epi64(sum, _mm512_maskz_loadu_epi64(mask, out + first)));
  }
}

}  // namespace

// The vector type comes first.
#include "hamming_slices/hamming_slices_histogram_vec.h"

FASTHASH_DEFINE_SLICES(avx512_vpopcnt)
