// SPDX-License-Identifier: Apache-2.0
#include <immintrin.h>

#include "pack_codes/pack_codes_kinds.h"

namespace {

struct Codes {
  static constexpr int bytes = 64;
  __m512i v;
  __m512 f() const { return _mm512_castsi512_ps(v); }
  __m512d d() const { return _mm512_castsi512_pd(v); }
};

inline Codes load_codes(const char* p) { return {_mm512_loadu_si512(p)}; }

template <Dtype dtype>
inline uint64_t sign_bits(Codes x) {
  const __m512i zero = _mm512_setzero_si512();
  if constexpr (dtype == Dtype::float32) return _mm512_cmp_ps_mask(x.f(), _mm512_setzero_ps(), _CMP_GE_OQ);
  if constexpr (dtype == Dtype::float64) return _mm512_cmp_pd_mask(x.d(), _mm512_setzero_pd(), _CMP_GE_OQ);
  if constexpr (dtype == Dtype::int64) return _mm512_cmpge_epi64_mask(x.v, zero);
  if constexpr (dtype == Dtype::int32) return _mm512_cmpge_epi32_mask(x.v, zero);
  if constexpr (dtype == Dtype::int16) return _mm512_cmpge_epi16_mask(x.v, zero);
  if constexpr (dtype == Dtype::int8) return _mm512_cmpge_epi8_mask(x.v, zero);
  if constexpr (dtype == Dtype::boolean) return _mm512_test_epi8_mask(x.v, x.v);
  // A half: the sign bit alone is -0.
  return _mm512_cmpge_epi16_mask(x.v, zero) | _mm512_cmpeq_epi16_mask(x.v, _mm512_set1_epi16(INT16_MIN));
}

template <Dtype dtype>
inline uint64_t nan_bits(Codes x) {
  if constexpr (dtype == Dtype::float32) return _mm512_cmp_ps_mask(x.f(), x.f(), _CMP_UNORD_Q);
  if constexpr (dtype == Dtype::float64) return _mm512_cmp_pd_mask(x.d(), x.d(), _CMP_UNORD_Q);
  const __m512i magnitude = _mm512_and_si512(x.v, _mm512_set1_epi16(INT16_MAX));
  return _mm512_cmpgt_epi16_mask(magnitude, _mm512_set1_epi16(infinity_bits(dtype)));
}

}  // namespace

// The vector type comes first.
#include "pack_codes/pack_codes_vec.h"

namespace fasthash {

int64_t pack_run_avx512(const PackRun& run) { return pack_run(run); }

}  // namespace fasthash
