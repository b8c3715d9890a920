// SPDX-License-Identifier: Apache-2.0
// Four float32 lanes for aarch64, whose every processor has them. Everything has internal linkage, as in the vector
// headers of other machines.
#pragma once

#include <arm_neon.h>

#include <cstdint>

namespace {

struct Mask {
  uint32x4_t m;
  unsigned bits() const {
    constexpr uint32_t lane_bits[4] = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(m, vld1q_u32(lane_bits)));
  }
  int count() const { return -vaddvq_s32(vreinterpretq_s32_u32(m)); }
};

struct Vec {
  float32x4_t v;
  static constexpr int lanes = 4, registers = 32;
};

inline Vec broadcast(float x) { return {vdupq_n_f32(x)}; }
inline Vec operator+(Vec a, Vec b) { return {vaddq_f32(a.v, b.v)}; }
inline Vec operator-(Vec a, Vec b) { return {vsubq_f32(a.v, b.v)}; }
inline Vec operator*(Vec a, Vec b) { return {vmulq_f32(a.v, b.v)}; }
inline Vec operator/(Vec a, Vec b) { return {vdivq_f32(a.v, b.v)}; }
inline Vec fma(Vec a, Vec b, Vec c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
// min and max return b where either is NaN; the instructions of these names return NaN.
inline Vec min(Vec a, Vec b) { return {vbslq_f32(vcltq_f32(a.v, b.v), a.v, b.v)}; }
inline Vec max(Vec a, Vec b) { return {vbslq_f32(vcgtq_f32(a.v, b.v), a.v, b.v)}; }
inline Vec abs(Vec a) { return {vabsq_f32(a.v)}; }
inline Vec copy_sign(Vec magnitude, Vec sign) { return {vbslq_f32(vdupq_n_u32(0x80000000u), sign.v, magnitude.v)}; }
inline Vec round_nearest(Vec a) { return {vrndnq_f32(a.v)}; }
// 2^n for whole n in [-126, 127]
inline Vec exp2_whole(Vec n) {
  const int32x4_t shifted = vaddq_s32(vcvtq_s32_f32(n.v), vdupq_n_s32(127));
  return {vreinterpretq_f32_s32(vshlq_n_s32(shifted, 23))};
}
// a 2^n for whole n in [-126, 127]
inline Vec times_exp2(Vec a, Vec n) { return a * exp2_whole(n); }
// The whole n with 2^n <= a < 2^(n + 1), for normal a > 0.
inline Vec exponent(Vec a) {
  const int32x4_t biased = vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_f32(a.v), 23));
  return {vcvtq_f32_s32(vsubq_s32(biased, vdupq_n_s32(127)))};
}
// 1 / a within an ulp, for a and 1 / a far from overflow
inline Vec reciprocal(Vec a) { return broadcast(1.0f) / a; }

inline Mask less(Vec a, Vec b) { return {vcltq_f32(a.v, b.v)}; }
inline Mask greater(Vec a, Vec b) { return {vcgtq_f32(a.v, b.v)}; }
inline Mask greater_equal(Vec a, Vec b) { return {vcgeq_f32(a.v, b.v)}; }
inline Mask equal(Vec a, Vec b) { return {vceqq_f32(a.v, b.v)}; }
// Lanes of words that have a bit in common with `word`.
inline Mask in_common(const uint32_t* words, uint32_t word) { return {vtstq_u32(vld1q_u32(words), vdupq_n_u32(word))}; }
inline Mask operator&(Mask a, Mask b) { return {vandq_u32(a.m, b.m)}; }
inline Mask operator|(Mask a, Mask b) { return {vorrq_u32(a.m, b.m)}; }
inline Mask operator~(Mask a) { return {vmvnq_u32(a.m)}; }
// where the mask is set a, else b
inline Vec select(Mask mask, Vec a, Vec b) { return {vbslq_f32(mask.m, a.v, b.v)}; }

// counts[lane] += mask[lane]
inline void count_lanes(int32_t* counts, Mask mask) {
  vst1q_s32(counts, vsubq_s32(vld1q_s32(counts), vreinterpretq_s32_u32(mask.m)));
}

// The greatest lane; any of them or NaN where one is NaN.
inline float highest(Vec a) { return vmaxvq_f32(a.v); }
inline double sum(Vec a) { return vaddvq_f64(vaddq_f64(vcvt_f64_f32(vget_low_f32(a.v)), vcvt_high_f64_f32(a.v))); }

inline uint16x4_t load_halves(const void* p) { return vld1_u16(static_cast<const uint16_t*>(p)); }
inline void store_halves(void* p, uint16x4_t bits) { vst1_u16(static_cast<uint16_t*>(p), bits); }

inline Vec load_float32(const void* p) { return {vld1q_f32(static_cast<const float*>(p))}; }
inline Vec load_bfloat16(const void* p) { return {vreinterpretq_f32_u32(vshlq_n_u32(vmovl_u16(load_halves(p)), 16))}; }
inline Vec load_float16(const void* p) { return {vcvt_f32_f16(vreinterpret_f16_u16(load_halves(p)))}; }
inline void store_float32(void* p, Vec a) { vst1q_f32(static_cast<float*>(p), a.v); }
inline void store_bfloat16(void* p, Vec a) {
  const uint32x4_t bits = vreinterpretq_u32_f32(a.v);
  const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
  const uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
  const uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
  store_halves(p, vshrn_n_u32(vbslq_u32(vceqq_f32(a.v, a.v), rounded, quiet), 16));
}
inline void store_float16(void* p, Vec a) { store_halves(p, vreinterpret_u16_f16(vcvt_f16_f32(a.v))); }

}  // namespace
