// SPDX-License-Identifier: Apache-2.0
// The vector type of the sliced scan for files compiled with AVX-512 F, BW, DQ and VL, all with internal linkage.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace {

constexpr int64_t lanes = 8;
constexpr int units_at_once = 2;
constexpr int paired_from = 4;

struct Slice {
  __m512i v;
};
inline Slice load(const void* p) { return {_mm512_loadu_si512(p)}; }
inline void store(void* p, Slice a) { _mm512_storeu_si512(p, a.v); }
inline Slice splat(int32_t x) { return {_mm512_set1_epi32(x)}; }
inline Slice splat64(uint64_t x) { return {_mm512_set1_epi64(int64_t(x))}; }
inline Slice operator&(Slice a, Slice b) { return {_mm512_and_si512(a.v, b.v)}; }
inline Slice operator|(Slice a, Slice b) { return {_mm512_or_si512(a.v, b.v)}; }
inline Slice operator^(Slice a, Slice b) { return {_mm512_xor_si512(a.v, b.v)}; }
inline Slice operator~(Slice a) { return {_mm512_ternarylogic_epi64(a.v, a.v, a.v, 0x55)}; }
template <int n>
inline Slice shift_left(Slice a) {
  return {_mm512_slli_epi64(a.v, n)};
}
template <int n>
inline Slice shift_right(Slice a) {
  return {_mm512_srli_epi64(a.v, n)};
}

inline Slice majority(Slice a, Slice b, Slice c) { return {_mm512_ternarylogic_epi64(a.v, b.v, c.v, 0xe8)}; }
inline void full_add(Slice& acc, Slice x, Slice y, Slice& carry) {
  carry = majority(acc, x, y);
  acc = {_mm512_ternarylogic_epi64(acc.v, x.v, y.v, 0x96)};
}
inline bool any_zero(Slice a) { return _mm512_cmpneq_epi64_mask(a.v, _mm512_set1_epi64(-1)) != 0; }

inline bool any_one(Slice a) { return _mm512_test_epi64_mask(a.v, a.v) != 0; }

inline Slice load_half(const void* p) {
  return {_mm512_cvtepu32_epi64(_mm256_loadu_si256(static_cast<const __m256i*>(p)))};
}

// Pairs of lanes, then of halves of 256 bits, then of 256 bits.
inline void transpose(Slice (&v)[lanes]) {
  __m512i a[8], b[8];
  for (int i = 0; i < 8; i += 2) {
    a[i] = _mm512_unpacklo_epi64(v[i].v, v[i + 1].v);
    a[i + 1] = _mm512_unpackhi_epi64(v[i].v, v[i + 1].v);
  }
  for (int i = 0; i < 8; i += 4) {
    for (int j = 0; j < 2; ++j) {
      b[i + j] = _mm512_permutex2var_epi64(a[i + j], _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13), a[i + j + 2]);
      b[i + j + 2] = _mm512_permutex2var_epi64(a[i + j], _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15), a[i + j + 2]);
    }
  }
  for (int i = 0; i < 4; ++i) {
    v[i].v = _mm512_shuffle_i64x2(b[i], b[i + 4], 0x44);
    v[i + 4].v = _mm512_shuffle_i64x2(b[i], b[i + 4], 0xee);
  }
}

inline uint64_t ones(uint64_t x) { return uint64_t(__builtin_popcountll(x)); }

}  // namespace
