// SPDX-License-Identifier: Apache-2.0
// Eight 64-bit lanes for files compiled with AVX-512 F, BW, DQ and VL, all with internal linkage; BitSum is the
// including file's own.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "hamming_scan/hamming_scan_seam.h"

namespace {

constexpr int batch = 4, queries_at_once = 4, groups_alone = 1;

struct Lanes {
  __m512i v;
};
inline Lanes load(const void* p) { return {_mm512_loadu_si512(p)}; }
inline Lanes splat(uint64_t x) { return {_mm512_set1_epi64(int64_t(x))}; }
inline Lanes operator^(Lanes a, Lanes b) { return {_mm512_xor_si512(a.v, b.v)}; }
// 32-bit lanes: the minimum of 64-bit ones is slower, and the upper halves are zero.
inline Lanes min(Lanes a, Lanes b) { return {_mm512_min_epu32(a.v, b.v)}; }
inline unsigned lanes_below(Lanes a, Lanes b) { return _mm512_cmplt_epi64_mask(a.v, b.v); }

// A hit is the word place | distance << 32.
inline int64_t put_hits(Lanes distances, unsigned near, int32_t place, fasthash::Hit* hits) {
  const __m512i places = _mm512_add_epi64(_mm512_set1_epi64(place), _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7));
  const __m512i words = _mm512_or_si512(places, _mm512_slli_epi64(distances.v, 32));
  _mm512_storeu_si512(hits, _mm512_maskz_compress_epi64(__mmask8(near), words));
  return __builtin_popcount(near);
}

struct HalfLanes {
  __m512i v;
};
inline HalfLanes load_half(const void* p) { return {_mm512_loadu_si512(p)}; }
inline HalfLanes splat_half(uint32_t x) { return {_mm512_set1_epi32(int32_t(x))}; }
inline HalfLanes operator^(HalfLanes a, HalfLanes b) { return {_mm512_xor_si512(a.v, b.v)}; }
inline HalfLanes min(HalfLanes a, HalfLanes b) { return {_mm512_min_epu32(a.v, b.v)}; }
inline unsigned lanes_below(HalfLanes a, HalfLanes b) { return _mm512_cmplt_epu32_mask(a.v, b.v); }
inline int64_t put_hits(HalfLanes distances, unsigned near, int32_t place, fasthash::Hit* hits) {
  const Lanes low{_mm512_cvtepu32_epi64(_mm512_castsi512_si256(distances.v))};
  const Lanes high{_mm512_cvtepu32_epi64(_mm512_extracti64x4_epi64(distances.v, 1))};
  const int64_t found = put_hits(low, near & 255, place, hits);
  return found + put_hits(high, near >> 8, place + 8, hits + found);
}

inline void put_distances(Lanes distances, int live, int32_t* out) {
  _mm256_mask_storeu_epi32(out, __mmask8((1u << live) - 1), _mm512_cvtepi64_epi32(distances.v));
}

}  // namespace
