// SPDX-License-Identifier: Apache-2.0
#include <immintrin.h>

#include <cstdint>

namespace {

struct Codes {
  static constexpr int bytes = 64;
  __m512i v;
};

inline void store(char* p, Codes x) { _mm512_storeu_si512(p, x.v); }

template <int size>
inline Codes splat(uint64_t x) {
  if constexpr (size == 8) return {_mm512_set1_epi64(int64_t(x))};
  if constexpr (size == 4) return {_mm512_set1_epi32(int32_t(x))};
  if constexpr (size == 2) return {_mm512_set1_epi16(int16_t(x))};
  return {_mm512_set1_epi8(int8_t(x))};
}

template <int size>
inline Codes choose(uint64_t mask, Codes a, Codes b) {
  if constexpr (size == 8) return {_mm512_mask_blend_epi64(__mmask8(mask), b.v, a.v)};
  if constexpr (size == 4) return {_mm512_mask_blend_epi32(__mmask16(mask), b.v, a.v)};
  if constexpr (size == 2) return {_mm512_mask_blend_epi16(__mmask32(mask), b.v, a.v)};
  return {_mm512_mask_blend_epi8(__mmask64(mask), b.v, a.v)};
}

}  // namespace

// The vector type comes first.
#include "unpack_codes/unpack_codes_vec.h"

namespace fasthash {

void unpack_run_avx512(const UnpackRun& run) { unpack_run(run); }

}  // namespace fasthash
