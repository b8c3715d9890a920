// SPDX-License-Identifier: Apache-2.0
// Element types of the tensors that kernels read and write, and their conversion to the type they compute in.
#pragma once

#include <cstdint>
#include <cstring>

#include "common/platform.h"

namespace fasthash {

enum class Dtype : int32_t { float32, float64, bfloat16, float16, int8, int16, int32, int64, uint8, boolean };

struct bfloat16 {
  uint16_t bits;
};
struct float16 {
  uint16_t bits;
};

// The type a kernel computes in: float64 for float64, float32 for everything else.
template <class T>
struct ComputeType {
  using type = float;
};
template <>
struct ComputeType<double> {
  using type = double;
};
template <class T>
using Compute = typename ComputeType<T>::type;

FH_HD inline float float_from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof(value));
  return value;
}

FH_HD inline uint32_t bits_from_float(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  return bits;
}

FH_HD inline float load(float x) { return x; }
FH_HD inline double load(double x) { return x; }
FH_HD inline float load(bfloat16 x) { return float_from_bits(uint32_t(x.bits) << 16); }

// In integers, for machines without the instruction: a normal half has its exponent rebased by 112; a subnormal one is
// scaled by 2^-24; infinities and NaN keep theirs.
FH_HD inline float load(float16 x) {
#if defined(__CUDA_ARCH__)
  float converted;
  asm("cvt.f32.f16 %0, %1;" : "=f"(converted) : "h"(x.bits));
  return converted;
#else
  const uint32_t sign = uint32_t(x.bits & 0x8000u) << 16;
  const uint32_t magnitude = x.bits & 0x7fffu;
  if (magnitude >= 0x7c00u) return float_from_bits(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  if (magnitude >= 0x0400u) return float_from_bits(sign | ((magnitude << 13) + 0x38000000u));
  const float value = float(magnitude) * 5.9604644775390625e-8f;
  return sign ? -value : value;
#endif
}

template <class T>
struct Store;  // Store<T>::from(x): x rounded to nearest even

template <>
struct Store<float> {
  FH_HD static float from(float x) { return x; }
};
template <>
struct Store<double> {
  FH_HD static double from(double x) { return x; }
};
template <>
struct Store<bfloat16> {
  FH_HD static bfloat16 from(float x) {
#if defined(__CUDA_ARCH__)
    bfloat16 converted;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(converted.bits) : "f"(x));
    return converted;
#else
    const uint32_t bits = bits_from_float(x);
    if (x != x) return {uint16_t(bits >> 16 | 0x40u)};
    return {uint16_t((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
#endif
  }
};
template <>
struct Store<float16> {
  FH_HD static float16 from(float x) {
#if defined(__CUDA_ARCH__)
    float16 converted;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(converted.bits) : "f"(x));
    return converted;
#else
    const uint32_t bits = bits_from_float(x);
    const uint16_t sign = uint16_t(bits >> 16 & 0x8000u);
    const uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return {uint16_t(sign | 0x7e00u)};
    if (magnitude >= 0x477ff000u) return {uint16_t(sign | 0x7c00u)};  // rounds to infinity from 65520 on
    if (magnitude < 0x38800000u) {  // subnormal: adding 0.5 leaves the rounded count of 2^-24 in the low bits
      const uint32_t rounded = bits_from_float(float_from_bits(magnitude) + 0.5f) - 0x3f000000u;
      return {uint16_t(sign | rounded)};
    }
    const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u) - 0x38000000u;
    return {uint16_t(sign | rounded >> 13)};
#endif
  }
};

}  // namespace fasthash
