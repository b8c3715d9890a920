// SPDX-License-Identifier: Apache-2.0
#include <immintrin.h>

#include <cstdint>

#include "hamming_slices/hamming_slices_seam.h"

namespace {

constexpr int64_t lanes = 4;
constexpr int units_at_once = 2;
constexpr int paired_from = 0;

struct Slice {
  __m256i v;
};
inline Slice load(const void* p) { return {_mm256_loadu_si256(static_cast<const __m256i*>(p))}; }
inline void store(void* p, Slice a) { _mm256_storeu_si256(static_cast<__m256i*>(p), a.v); }
inline Slice splat(int32_t x) { return {_mm256_set1_epi32(x)}; }
inline Slice splat64(uint64_t x) { return {_mm256_set1_epi64x(int64_t(x))}; }
inline Slice operator&(Slice a, Slice b) { return {_mm256_and_si256(a.v, b.v)}; }
inline Slice operator|(Slice a, Slice b) { return {_mm256_or_si256(a.v, b.v)}; }
inline Slice operator^(Slice a, Slice b) { return {_mm256_xor_si256(a.v, b.v)}; }
inline Slice operator~(Slice a) { return {_mm256_xor_si256(a.v, _mm256_set1_epi32(-1))}; }
template <int n>
inline Slice shift_left(Slice a) {
  return {_mm256_slli_epi64(a.v, n)};
}
template <int n>
inline Slice shift_right(Slice a) {
  return {_mm256_srli_epi64(a.v, n)};
}

inline Slice majority(Slice a, Slice b, Slice c) { return (a & b) | ((a | b) & c); }
inline void full_add(Slice& acc, Slice x, Slice y, Slice& carry) {
  const Slice either = acc ^ x;
  carry = (acc & x) | (either & y);
  acc = either ^ y;
}
inline bool any_zero(Slice a) { return !_mm256_testc_si256(a.v, _mm256_set1_epi32(-1)); }

inline bool any_one(Slice a) { return !_mm256_testz_si256(a.v, a.v); }

inline Slice load_half(const void* p) {
  return {_mm256_cvtepu32_epi64(_mm_loadu_si128(static_cast<const __m128i*>(p)))};
}

inline void transpose(Slice (&v)[lanes]) {
  const __m256i a = _mm256_unpacklo_epi64(v[0].v, v[1].v), b = _mm256_unpackhi_epi64(v[0].v, v[1].v);
  const __m256i c = _mm256_unpacklo_epi64(v[2].v, v[3].v), d = _mm256_unpackhi_epi64(v[2].v, v[3].v);
  v[0].v = _mm256_permute2x128_si256(a, c, 0x20);
  v[1].v = _mm256_permute2x128_si256(b, d, 0x20);
  v[2].v = _mm256_permute2x128_si256(a, c, 0x31);
  v[3].v = _mm256_permute2x128_si256(b, d, 0x31);
}

inline uint64_t ones(uint64_t x) { return uint64_t(__builtin_popcountll(x)); }

// Words are counted one by one, so pairs are added up first.
struct Ones {
  Slice odd = splat(0);
  int64_t pairs = 0;

  void add(Slice v, Slice w) {
    Slice carry;
    full_add(odd, v, w, carry);
    pairs += count(carry);
  }
  int64_t total() const { return 2 * pairs + count(odd); }

  static int64_t count(Slice v) {
    uint64_t words[lanes];
    store(words, v);
    int64_t sum = 0;
    for (uint64_t word : words) sum += int64_t(ones(word));
    return sum;
  }
};

template <int bins>
void add_values(const Ones* counts, int64_t* out) {
  fasthash::add_differences<bins>([&](int set) { return counts[set].total(); }, out);
}

}  // namespace

// The vector type comes first.
#include "hamming_slices/hamming_slices_histogram_vec.h"

FASTHASH_DEFINE_SLICES(avx2)
