// SPDX-License-Identifier: Apache-2.0
#include <immintrin.h>

#include <cstdint>

#include "hamming_scan/hamming_scan_seam.h"

namespace {

constexpr int batch = 2, queries_at_once = 1, groups_alone = 1;

struct Lanes {
  __m256i low, high;
};
inline Lanes load(const void* p) {
  const __m256i* at = static_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(at), _mm256_loadu_si256(at + 1)};
}
inline Lanes splat(uint64_t x) {
  const __m256i v = _mm256_set1_epi64x(int64_t(x));
  return {v, v};
}
inline Lanes operator^(Lanes a, Lanes b) { return {_mm256_xor_si256(a.low, b.low), _mm256_xor_si256(a.high, b.high)}; }
// 32-bit lanes: AVX2 has no minimum of 64-bit ones, and the upper halves are zero.
inline Lanes min(Lanes a, Lanes b) { return {_mm256_min_epu32(a.low, b.low), _mm256_min_epu32(a.high, b.high)}; }
inline unsigned lanes_below(Lanes a, Lanes b) {
  const __m256i low = _mm256_cmpgt_epi64(b.low, a.low), high = _mm256_cmpgt_epi64(b.high, a.high);
  return unsigned(_mm256_movemask_pd(_mm256_castsi256_pd(low)) | _mm256_movemask_pd(_mm256_castsi256_pd(high)) << 4);
}

inline __m256i as_int32(Lanes a) {
  const __m256i even = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
  return _mm256_blend_epi32(_mm256_permutevar8x32_epi32(a.low, even), _mm256_permutevar8x32_epi32(a.high, even), 0xf0);
}

inline void put_distances(Lanes distances, int live, int32_t* out) {
  alignas(32) int32_t lanes[8];
  if (live == 8) return _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), as_int32(distances));
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), as_int32(distances));
  for (int i = 0; i < live; ++i) out[i] = lanes[i];
}

inline int64_t put_hits(Lanes distances, unsigned near, int32_t place, fasthash::Hit* hits) {
  alignas(32) int32_t lanes[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), as_int32(distances));
  int64_t found = 0;
  for (; near; near &= near - 1) {
    const int lane = __builtin_ctz(near);
    hits[found++] = {place + lane, lanes[lane]};
  }
  return found;
}

inline __m256i ones_of_bytes(__m256i x) {
  const __m256i ones = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,  //
                                        0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
  const __m256i low = _mm256_set1_epi8(15);
  const __m256i first = _mm256_shuffle_epi8(ones, _mm256_and_si256(x, low));
  return _mm256_add_epi8(first, _mm256_shuffle_epi8(ones, _mm256_and_si256(_mm256_srli_epi16(x, 4), low)));
}

inline __m256i add_bytes(__m256i sum, __m256i bytes) {
  return _mm256_add_epi64(sum, _mm256_sad_epu8(bytes, _mm256_setzero_si256()));
}

// Ones by table, half a byte at a time; a byte holds the sum of 31 words.
class BitSum {
 public:
  static constexpr int64_t limit = 31;
  void add(Lanes x) {
    bytes_.low = _mm256_add_epi8(bytes_.low, ones_of_bytes(x.low));
    bytes_.high = _mm256_add_epi8(bytes_.high, ones_of_bytes(x.high));
  }
  void flush() {
    sum_ = {add_bytes(sum_.low, bytes_.low), add_bytes(sum_.high, bytes_.high)};
    bytes_ = zero();
  }
  Lanes total() const { return sum_; }

 private:
  static Lanes zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
  Lanes bytes_ = zero(), sum_ = zero();
};

struct HalfLanes {
  __m256i low, high;
};
inline HalfLanes load_half(const void* p) {
  const Lanes lanes = load(p);
  return {lanes.low, lanes.high};
}
inline HalfLanes splat_half(uint32_t x) {
  const __m256i v = _mm256_set1_epi32(int32_t(x));
  return {v, v};
}
inline HalfLanes operator^(HalfLanes a, HalfLanes b) {
  return {_mm256_xor_si256(a.low, b.low), _mm256_xor_si256(a.high, b.high)};
}
inline HalfLanes min(HalfLanes a, HalfLanes b) {
  return {_mm256_min_epu32(a.low, b.low), _mm256_min_epu32(a.high, b.high)};
}
inline unsigned lanes_below(HalfLanes a, HalfLanes b) {
  const __m256i low = _mm256_cmpgt_epi32(b.low, a.low), high = _mm256_cmpgt_epi32(b.high, a.high);
  return unsigned(_mm256_movemask_ps(_mm256_castsi256_ps(low)) | _mm256_movemask_ps(_mm256_castsi256_ps(high)) << 8);
}
inline int64_t put_hits(HalfLanes distances, unsigned near, int32_t place, fasthash::Hit* hits) {
  alignas(32) int32_t lanes[16];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), distances.low);
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes + 8), distances.high);
  int64_t found = 0;
  for (; near; near &= near - 1) {
    const int lane = __builtin_ctz(near);
    hits[found++] = {place + lane, lanes[lane]};
  }
  return found;
}
inline __m256i add_bytes_of_half(__m256i bytes) {
  return _mm256_madd_epi16(_mm256_maddubs_epi16(bytes, _mm256_set1_epi8(1)), _mm256_set1_epi16(1));
}
inline HalfLanes ones(HalfLanes a) {
  return {add_bytes_of_half(ones_of_bytes(a.low)), add_bytes_of_half(ones_of_bytes(a.high))};
}

}  // namespace

// The vector type comes first.
#include "hamming_scan/hamming_scan_vec.h"

namespace {

// One word of the codes a and b (low half), c and d (high half) is a column of four; the next word is another.
inline void fill_columns(const uint8_t* code, int64_t stride, uint64_t* column) {
  const auto two_words = [&](int i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(code + i * stride)); };
  const __m256i even = _mm256_inserti128_si256(_mm256_castsi128_si256(two_words(0)), two_words(2), 1);
  const __m256i odd = _mm256_inserti128_si256(_mm256_castsi128_si256(two_words(1)), two_words(3), 1);
  _mm256_store_si256(reinterpret_cast<__m256i*>(column), _mm256_unpacklo_epi64(even, odd));
  _mm256_store_si256(reinterpret_cast<__m256i*>(column + 8), _mm256_unpackhi_epi64(even, odd));
}

// So much is asked for ahead of its use: strided reading escapes the processor's own prefetching.
inline void prefetch(const uint8_t* code, int64_t bytes) {
  for (int64_t at = 4096; at < 4096 + bytes; at += 64)
    _mm_prefetch(reinterpret_cast<const char*>(code + at), _MM_HINT_T0);
}

}  // namespace

namespace fasthash {

void fill_groups_avx2(const FillRun& run) {
  if (run.width % 16 != 0) return fill_groups_scalar(run);
  const int64_t whole = run.count / 8 * 8, words = run.width / 8;
  for (int64_t first = 0; first < whole; first += 4) {
    const uint8_t* code = run.codes + first * run.stride;
    uint64_t* column = run.groups + first / 8 * 8 * words + first % 8;
    prefetch(code, 4 * run.stride);
    for (int64_t w = 0; w < words; w += 2) fill_columns(code + w * 8, run.stride, column + w * 8);
  }
  const FillRun rest{run.codes + whole * run.stride, run.count - whole, run.width, run.stride,
                     run.groups + whole * words};
  fill_groups_scalar(rest);
}

int64_t scan_below_avx2(const ScanRun& run, int32_t threshold, Hit* hits) { return scan_below(run, threshold, hits); }
void scan_below_many_avx2(const ScanRun* runs, const int32_t* thresholds, Hit* const* hits, int64_t* found) {
  scan_below_many(runs, thresholds, hits, found);
}
void scan_all_avx2(const ScanRun& run, int32_t* distances) { scan_all(run, distances); }

}  // namespace fasthash
