// SPDX-License-Identifier: Apache-2.0
#include "hamming_scan/lanes_avx512.h"

namespace {

inline __m512i ones_of_bytes(__m512i x) {
  const __m512i ones = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
  const __m512i low = _mm512_set1_epi8(15);
  const __m512i first = _mm512_shuffle_epi8(ones, _mm512_and_si512(x, low));
  return _mm512_add_epi8(first, _mm512_shuffle_epi8(ones, _mm512_and_si512(_mm512_srli_epi16(x, 4), low)));
}

// Ones by table, half a byte at a time; a byte holds the sum of 31 words.
class BitSum {
 public:
  static constexpr int64_t limit = 31;
  void add(Lanes x) { bytes_ = _mm512_add_epi8(bytes_, ones_of_bytes(x.v)); }
  void flush() {
    sum_ = _mm512_add_epi64(sum_, _mm512_sad_epu8(bytes_, _mm512_setzero_si512()));
    bytes_ = _mm512_setzero_si512();
  }
  Lanes total() const { return {sum_}; }

 private:
  __m512i bytes_ = _mm512_setzero_si512(), sum_ = _mm512_setzero_si512();
};

inline HalfLanes ones(HalfLanes a) {
  const __m512i pairs = _mm512_maddubs_epi16(ones_of_bytes(a.v), _mm512_set1_epi8(1));
  return {_mm512_madd_epi16(pairs, _mm512_set1_epi16(1))};
}

}  // namespace

// The vector type comes first.
#include "hamming_scan/hamming_scan_vec.h"

namespace fasthash {

int64_t scan_below_avx512(const ScanRun& run, int32_t threshold, Hit* hits) { return scan_below(run, threshold, hits); }
void scan_below_many_avx512(const ScanRun* runs, const int32_t* thresholds, Hit* const* hits, int64_t* found) {
  scan_below_many(runs, thresholds, hits, found);
}
void scan_all_avx512(const ScanRun& run, int32_t* distances) { scan_all(run, distances); }

}  // namespace fasthash
