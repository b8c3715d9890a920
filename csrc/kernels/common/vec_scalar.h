// SPDX-License-Identifier: Apache-2.0
// One float32 lane, for processors without a vector header of their own. Everything has internal linkage, as in the
// vector headers of machines.
#pragma once

#include <cmath>
#include <cstdint>

namespace {

struct Mask {
  bool m;
};

struct Vec {
  float v;
  static constexpr int lanes = 1, registers = 8;
};

inline Vec broadcast(float x) { return {x}; }
inline Vec operator+(Vec a, Vec b) { return {a.v + b.v}; }
inline Vec operator-(Vec a, Vec b) { return {a.v - b.v}; }
inline Vec operator*(Vec a, Vec b) { return {a.v * b.v}; }
inline Vec operator/(Vec a, Vec b) { return {a.v / b.v}; }
// Rounded twice: where a fused one is no instruction, it is a call.
inline Vec fma(Vec a, Vec b, Vec c) { return {a.v * b.v + c.v}; }
// min and max return b where either is NaN.
inline Vec max(Vec a, Vec b) { return {a.v > b.v ? a.v : b.v}; }
inline Vec abs(Vec a) { return {std::fabs(a.v)}; }
inline Vec round_nearest(Vec a) { return {std::nearbyint(a.v)}; }
// a 2^n for whole n in [-126, 127]
inline Vec times_exp2(Vec a, Vec n) { return {std::ldexp(a.v, int(n.v))}; }
// The whole n with 2^n <= a < 2^(n + 1), for normal a > 0.
inline Vec exponent(Vec a) { return {float(std::ilogb(a.v))}; }
inline Vec reciprocal(Vec a) { return {1.0f / a.v}; }

inline Mask less(Vec a, Vec b) { return {a.v < b.v}; }
inline Mask greater(Vec a, Vec b) { return {a.v > b.v}; }
inline Mask greater_equal(Vec a, Vec b) { return {a.v >= b.v}; }
// where the mask is set a, else b
inline Vec select(Mask mask, Vec a, Vec b) { return mask.m ? a : b; }

// The greatest lane; any of them or NaN where one is NaN.
inline float highest(Vec a) { return a.v; }
inline double sum(Vec a) { return a.v; }

inline Vec load_float32(const void* p) { return {*static_cast<const float*>(p)}; }
inline void store_float32(void* p, Vec a) { *static_cast<float*>(p) = a.v; }

}  // namespace
