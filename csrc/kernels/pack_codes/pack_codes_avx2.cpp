// SPDX-License-Identifier: Apache-2.0
#include <immintrin.h>

#include "pack_codes/pack_codes_kinds.h"

namespace {

struct Codes {
  static constexpr int bytes = 32;
  __m256i v;
  __m256 f() const { return _mm256_castsi256_ps(v); }
  __m256d d() const { return _mm256_castsi256_pd(v); }
};

inline Codes load_codes(const char* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }

inline uint32_t bits_of_floats(__m256 x) { return uint32_t(_mm256_movemask_ps(x)); }
inline uint32_t bits_of_doubles(__m256d x) { return uint32_t(_mm256_movemask_pd(x)); }
inline uint32_t bits_of_bytes(__m256i x) { return uint32_t(_mm256_movemask_epi8(x)); }
inline uint32_t bits_of_words(__m256i x) {
  const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  return uint32_t(_mm_movemask_epi8(bytes));
}

template <Dtype dtype>
inline uint32_t sign_bits(Codes x) {
  const __m256i minus_one = _mm256_set1_epi8(-1);
  if constexpr (dtype == Dtype::float32) return bits_of_floats(_mm256_cmp_ps(x.f(), _mm256_setzero_ps(), _CMP_GE_OQ));
  if constexpr (dtype == Dtype::float64) return bits_of_doubles(_mm256_cmp_pd(x.d(), _mm256_setzero_pd(), _CMP_GE_OQ));
  if constexpr (dtype == Dtype::int64) return bits_of_doubles(x.d()) ^ 0xfu;
  if constexpr (dtype == Dtype::int32) return bits_of_floats(x.f()) ^ 0xffu;
  if constexpr (dtype == Dtype::int16) return bits_of_words(x.v) ^ 0xffffu;
  if constexpr (dtype == Dtype::int8) return ~bits_of_bytes(x.v);
  if constexpr (dtype == Dtype::boolean) return ~bits_of_bytes(_mm256_cmpeq_epi8(x.v, _mm256_setzero_si256()));
  // A half: the sign bit alone is -0.
  const __m256i negative_zero = _mm256_cmpeq_epi16(x.v, _mm256_set1_epi16(INT16_MIN));
  return bits_of_words(_mm256_or_si256(_mm256_cmpgt_epi16(x.v, minus_one), negative_zero));
}

template <Dtype dtype>
inline uint32_t nan_bits(Codes x) {
  if constexpr (dtype == Dtype::float32) return bits_of_floats(_mm256_cmp_ps(x.f(), x.f(), _CMP_UNORD_Q));
  if constexpr (dtype == Dtype::float64) return bits_of_doubles(_mm256_cmp_pd(x.d(), x.d(), _CMP_UNORD_Q));
  const __m256i magnitude = _mm256_and_si256(x.v, _mm256_set1_epi16(INT16_MAX));
  return bits_of_words(_mm256_cmpgt_epi16(magnitude, _mm256_set1_epi16(infinity_bits(dtype))));
}

}  // namespace

// The vector type comes first.
#include "pack_codes/pack_codes_vec.h"

namespace fasthash {

int64_t pack_run_avx2(const PackRun& run) { return pack_run(run); }

}  // namespace fasthash
