// SPDX-License-Identifier: Apache-2.0
#include <arm_neon.h>

#include "pack_codes/pack_codes_kinds.h"

namespace {

// Four registers, because the bits of a comparison are gathered from four at the cost of one.
struct Codes {
  static constexpr int bytes = 64;
  uint8x16_t v[4];
};

inline Codes load_codes(const char* p) {
  const auto* at = reinterpret_cast<const uint8_t*>(p);
  return {{vld1q_u8(at), vld1q_u8(at + 16), vld1q_u8(at + 32), vld1q_u8(at + 48)}};
}

template <class F>
inline Codes each(const Codes& x, const F& f) {
  return {{f(x.v[0]), f(x.v[1]), f(x.v[2]), f(x.v[3])}};
}

// The even elements of `size` bytes of a, then those of b.
template <int size>
inline uint8x16_t evens(uint8x16_t a, uint8x16_t b) {
  if constexpr (size == 4)
    return vreinterpretq_u8_u32(vuzp1q_u32(vreinterpretq_u32_u8(a), vreinterpretq_u32_u8(b)));
  else if constexpr (size == 2)
    return vreinterpretq_u8_u16(vuzp1q_u16(vreinterpretq_u16_u8(a), vreinterpretq_u16_u8(b)));
  else
    return vuzp1q_u8(a, b);
}

// Bit i for element i of `size` bytes, each all ones or all zeros: elements are halved until they are bytes.
template <int size>
inline uint64_t bits_of(const Codes& x) {
  if constexpr (size > 1) {
    const uint8x16_t none = vdupq_n_u8(0);
    return bits_of<size / 2>({{evens<size / 2>(x.v[0], x.v[1]), evens<size / 2>(x.v[2], x.v[3]), none, none}});
  } else {
    const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201u));
    const uint8x16_t low = vpaddq_u8(vandq_u8(x.v[0], bit), vandq_u8(x.v[1], bit));
    const uint8x16_t high = vpaddq_u8(vandq_u8(x.v[2], bit), vandq_u8(x.v[3], bit));
    const uint8x16_t both = vpaddq_u8(low, high);
    return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(both, both)), 0);
  }
}

template <Dtype dtype>
inline uint8x16_t not_negative(uint8x16_t x) {
  if constexpr (dtype == Dtype::float32) return vreinterpretq_u8_u32(vcgezq_f32(vreinterpretq_f32_u8(x)));
  if constexpr (dtype == Dtype::float64) return vreinterpretq_u8_u64(vcgezq_f64(vreinterpretq_f64_u8(x)));
  if constexpr (dtype == Dtype::int64) return vreinterpretq_u8_u64(vcgezq_s64(vreinterpretq_s64_u8(x)));
  if constexpr (dtype == Dtype::int32) return vreinterpretq_u8_u32(vcgezq_s32(vreinterpretq_s32_u8(x)));
  if constexpr (dtype == Dtype::int16) return vreinterpretq_u8_u16(vcgezq_s16(vreinterpretq_s16_u8(x)));
  if constexpr (dtype == Dtype::int8) return vcgezq_s8(vreinterpretq_s8_u8(x));
  if constexpr (dtype == Dtype::boolean) return vtstq_u8(x, x);
  // A half: the sign bit alone is -0.
  const int16x8_t half = vreinterpretq_s16_u8(x);
  return vreinterpretq_u8_u16(vorrq_u16(vcgezq_s16(half), vceqq_s16(half, vdupq_n_s16(INT16_MIN))));
}

template <Dtype dtype>
inline uint8x16_t not_a_number(uint8x16_t x) {
  const float32x4_t f = vreinterpretq_f32_u8(x);
  const float64x2_t d = vreinterpretq_f64_u8(x);
  if constexpr (dtype == Dtype::float32) return vmvnq_u8(vreinterpretq_u8_u32(vceqq_f32(f, f)));
  if constexpr (dtype == Dtype::float64) return vmvnq_u8(vreinterpretq_u8_u64(vceqq_f64(d, d)));
  const int16x8_t magnitude = vandq_s16(vreinterpretq_s16_u8(x), vdupq_n_s16(INT16_MAX));
  return vreinterpretq_u8_u16(vcgtq_s16(magnitude, vdupq_n_s16(infinity_bits(dtype))));
}

template <Dtype dtype>
inline uint64_t sign_bits(const Codes& x) {
  return bits_of<size_of(dtype)>(each(x, not_negative<dtype>));
}

template <Dtype dtype>
inline uint64_t nan_bits(const Codes& x) {
  return bits_of<size_of(dtype)>(each(x, not_a_number<dtype>));
}

}  // namespace

// The vector type comes first.
#include "pack_codes/pack_codes_vec.h"

namespace fasthash {

int64_t pack_run_neon(const PackRun& run) { return pack_run(run); }

}  // namespace fasthash
