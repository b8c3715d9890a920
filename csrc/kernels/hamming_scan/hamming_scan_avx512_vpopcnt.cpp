// SPDX-License-Identifier: Apache-2.0
#include "hamming_scan/lanes_avx512.h"

namespace {

class BitSum {
 public:
  static constexpr int64_t limit = INT64_MAX;
  void add(Lanes x) { sum_ = _mm512_add_epi64(sum_, _mm512_popcnt_epi64(x.v)); }
  void flush() {}
  Lanes total() const { return {sum_}; }

 private:
  __m512i sum_ = _mm512_setzero_si512();
};

inline HalfLanes ones(HalfLanes a) { return {_mm512_popcnt_epi32(a.v)}; }

}  // namespace

// The vector type comes first.
#include "hamming_scan/hamming_scan_vec.h"

namespace fasthash {

int64_t scan_below_avx512_vpopcnt(const ScanRun& run, int32_t threshold, Hit* hits) {
  return scan_below(run, threshold, hits);
}
void scan_below_many_avx512_vpopcnt(const ScanRun* runs, const int32_t* thresholds, Hit* const* hits, int64_t* found) {
  scan_below_many(runs, thresholds, hits, found);
}
void scan_all_avx512_vpopcnt(const ScanRun& run, int32_t* distances) { scan_all(run, distances); }

}  // namespace fasthash
