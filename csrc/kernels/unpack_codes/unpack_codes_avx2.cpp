// SPDX-License-Identifier: Apache-2.0
#include <immintrin.h>

#include <cstdint>

namespace {

struct Codes {
  static constexpr int bytes = 32;
  __m256i v;
};

inline void store(char* p, Codes x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x.v); }

template <int size>
inline Codes splat(uint64_t x) {
  if constexpr (size == 8) return {_mm256_set1_epi64x(int64_t(x))};
  if constexpr (size == 4) return {_mm256_set1_epi32(int32_t(x))};
  if constexpr (size == 2) return {_mm256_set1_epi16(int16_t(x))};
  return {_mm256_set1_epi8(int8_t(x))};
}

// All ones in the elements whose bit of the mask is set.
template <int size>
inline __m256i widen(uint64_t mask) {
  if constexpr (size == 8) {
    const __m256i bit = _mm256_setr_epi64x(1, 2, 4, 8);
    return _mm256_cmpeq_epi64(_mm256_and_si256(_mm256_set1_epi64x(int64_t(mask)), bit), bit);
  }
  if constexpr (size == 4) {
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    return _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(int32_t(mask)), bit), bit);
  }
  if constexpr (size == 2) {
    const __m256i bit = _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, -32768);
    return _mm256_cmpeq_epi16(_mm256_and_si256(_mm256_set1_epi16(int16_t(mask)), bit), bit);
  }
  // Byte i of the vector first gets byte i / 8 of the mask.
  const __m256i spread = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
  const __m256i bit = _mm256_set1_epi64x(int64_t(0x8040201008040201u));
  const __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(int32_t(mask)), spread);
  return _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit);
}

template <int size>
inline Codes choose(uint64_t mask, Codes a, Codes b) {
  return {_mm256_blendv_epi8(b.v, a.v, widen<size>(mask))};
}

}  // namespace

// The vector type comes first.
#include "unpack_codes/unpack_codes_vec.h"

namespace fasthash {

void unpack_run_avx2(const UnpackRun& run) { unpack_run(run); }

}  // namespace fasthash
