// SPDX-License-Identifier: Apache-2.0
// Sixteen float32 lanes for files compiled with -mavx512f -mavx512bw -mavx512dq -mavx512vl. Everything has internal
// linkage: no function compiled for this machine may reach the linker under a name that another file shares.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace {

struct Mask {
  __mmask16 m;
  unsigned bits() const { return m; }
  int count() const { return __builtin_popcount(bits()); }
};

struct Vec {
  __m512 v;
  static constexpr int lanes = 16, registers = 32;
};

inline Vec broadcast(float x) { return {_mm512_set1_ps(x)}; }
inline Vec operator+(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Vec operator-(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Vec operator*(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Vec operator/(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
inline Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
// min and max return b where either is NaN.
inline Vec min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
inline Vec max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
inline Vec abs(Vec a) { return {_mm512_andnot_ps(_mm512_set1_ps(-0.0f), a.v)}; }
inline Vec copy_sign(Vec magnitude, Vec sign) {
  const __m512 mask = _mm512_set1_ps(-0.0f);
  return {_mm512_or_ps(_mm512_andnot_ps(mask, magnitude.v), _mm512_and_ps(mask, sign.v))};
}
inline Vec round_nearest(Vec a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
// 2^n for whole n in [-126, 127]
inline Vec exp2_whole(Vec n) {
  const __m512i shifted = _mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(shifted, 23))};
}
// a 2^n for whole n in [-126, 127]
inline Vec times_exp2(Vec a, Vec n) { return {_mm512_scalef_ps(a.v, n.v)}; }
// The whole n with 2^n <= a < 2^(n + 1), for normal a > 0.
inline Vec exponent(Vec a) { return {_mm512_getexp_ps(a.v)}; }
// 1 / a within an ulp, for a and 1 / a far from overflow: the approximation has 14 bits, a step of Newton's doubles
// them.
inline Vec reciprocal(Vec a) {
  const Vec r = {_mm512_rcp14_ps(a.v)};
  return fma(r, Vec{_mm512_fnmadd_ps(a.v, r.v, _mm512_set1_ps(1.0f))}, r);
}

inline Mask less(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
inline Mask greater(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ)}; }
inline Mask greater_equal(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GE_OQ)}; }
inline Mask equal(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
// Lanes of words that have a bit in common with `word`.
inline Mask in_common(const uint32_t* words, uint32_t word) {
  return {_mm512_test_epi32_mask(_mm512_loadu_si512(words), _mm512_set1_epi32(int(word)))};
}
inline Mask operator&(Mask a, Mask b) { return {__mmask16(a.m & b.m)}; }
inline Mask operator|(Mask a, Mask b) { return {__mmask16(a.m | b.m)}; }
inline Mask operator~(Mask a) { return {__mmask16(~a.m)}; }
// where the mask is set a, else b
inline Vec select(Mask mask, Vec a, Vec b) { return {_mm512_mask_blend_ps(mask.m, b.v, a.v)}; }

// counts[lane] += mask[lane]
inline void count_lanes(int32_t* counts, Mask mask) {
  const __m512i old = _mm512_loadu_si512(counts);
  _mm512_storeu_si512(counts, _mm512_mask_add_epi32(old, mask.m, old, _mm512_set1_epi32(1)));
}

// The greatest lane; any of them or NaN where one is NaN.
inline float highest(Vec a) { return _mm512_reduce_max_ps(a.v); }
inline double sum(Vec a) {
  const __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(a.v));
  const __m512d high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(a.v, 1));
  return _mm512_reduce_add_pd(_mm512_add_pd(low, high));
}

inline Vec load_float32(const void* p) { return {_mm512_loadu_ps(p)}; }
inline Vec load_bfloat16(const void* p) {
  const __m256i raw = _mm256_loadu_si256(static_cast<const __m256i*>(p));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(raw), 16))};
}
inline Vec load_float16(const void* p) { return {_mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)))}; }
inline void store_float32(void* p, Vec a) { _mm512_storeu_ps(p, a.v); }
inline void store_bfloat16(void* p, Vec a) {
  const __m512i bits = _mm512_castps_si512(a.v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 nan = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
  const __m512i kept = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x400000));
  _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_cvtepi32_epi16(_mm512_srli_epi32(kept, 16)));
}
inline void store_float16(void* p, Vec a) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT));
}

}  // namespace
