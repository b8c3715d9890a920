// SPDX-License-Identifier: Apache-2.0
// tanh_quantize of one element. T is float or double.
#pragma once

// math.h rather than cmath: it brings the float overloads into the global namespace, where nvcc has them too.
#include <math.h>

#include "common/dtype.h"
#include "common/platform.h"
#include "tanh_quantize/tanh_quantize.h"
#include "tanh_quantize/tanh_terms.h"

namespace fasthash {

// tanh and its distance from saturation. With e = exp(-2 |x|): 1 - |h| = 2 e / (1 + e) and 1 - h^2 = 4 e / (1 + e)^2,
// without cancellation, so the slope of a dead bit stays above zero.
template <class T>
struct TanhParts {
  T h, gap, slope;
};
template <class T>
FH_HD inline TanhParts<T> tanh_parts(T x) {
  const T e = exp(T(-2) * fabs(x));
  const T gap = T(2) * e / (T(1) + e);
  return {T(tanh(x)), gap, T(2) * gap / (T(1) + e)};
}

// 1 / d for d far from overflow: on a device the approximation and one step of Newton's, without the branches of a
// division.
FH_HD inline double reciprocal(double d) { return 1.0 / d; }
FH_HD inline float reciprocal(float d) {
#if defined(__CUDA_ARCH__)
  const float r = __fdividef(1.0f, d);
  return r + r * (1.0f - d * r);
#else
  return 1.0f / d;
#endif
}

// exp(-2 x) for x >= 0 as 2^n 2^f with t = n + f = -2 x / ln 2. Rounding t costs as much as rounding x did before.
// Adding 1.5 * 2^23 rounds to a whole number and leaves it in the low bits.
FH_HD inline float exp_minus_twice(float x) {
  const float scaled = x * (-2 * log2_of_e), t = scaled < -126.0f ? -126.0f : scaled;
  const float shifted = t + 12582912.0f, f = t - (shifted - 12582912.0f);
  const float p = exp2_0 + f * (exp2_1 + f * (exp2_2 + f * (exp2_3 + f * (exp2_4 + f * exp2_5))));
  const float scale = float_from_bits((bits_from_float(shifted) << 23) + 0x3f800000u);
  return (1.0f + f * p) * scale;
}

// float32 within 2 ulp, on every machine and device, and without a call: see tanh_terms.h.
template <>
FH_HD inline TanhParts<float> tanh_parts(float x) {
  const float e = exp_minus_twice(fabsf(x)), s = x * x;
  const float inverse = reciprocal(1.0f + e), gap = 2.0f * e * inverse;
  const float near_zero = x + x * s * (tanh_0 + s * (tanh_1 + s * (tanh_2 + s * (tanh_3 + s * tanh_4))));
  const float h = fabsf(x) < tanh_cut ? near_zero : copysignf(1.0f - gap, x);
  return {h, gap, 2.0f * gap * inverse};
}

// log cosh(x) = |x| + log1p(exp(-2 |x|)) - log 2
template <class T>
FH_HD inline T log_cosh(T x) {
  return fabs(x) + log1p(exp(T(-2) * fabs(x))) - T(0.69314718055994530942);
}

// The penalty of one relaxed code, a function of d = |h| - 1 in [-1, 0].
template <class T>
FH_HD inline T penalty_value(T h, Penalty penalty) {
  const T d = fabs(h) - T(1);
  switch (penalty) {
    case Penalty::l2: return d * d;
    case Penalty::l1: return fabs(d);
    case Penalty::log_cosh: return log_cosh(d);
    case Penalty::cubic: return fabs(d) * d * d;
    default: return d * T(0);
  }
}

// -d penalty / d|h| as a function of gap = 1 - |h|.
template <class T>
FH_HD inline T penalty_pull(T gap, Penalty penalty) {
  switch (penalty) {
    case Penalty::l2: return T(2) * gap;
    case Penalty::l1: return T(1) + gap * T(0);
    case Penalty::log_cosh: return tanh_parts(gap).h;
    case Penalty::cubic: return T(3) * gap * gap;
    default: return gap * T(0);
  }
}

// The rule with its numbers as T, converted once rather than for each element.
template <class T>
struct RuleOf {
  Amplifier gate;
  bool inverse;
  T amplification, threshold;
};
template <class T>
FH_HD inline RuleOf<T> rule_of(const AmplifierRule& rule) {
  return {rule.gate, rule.inverse, T(rule.amplification), T(rule.threshold)};
}

// The factor on a gradient g = (dL/dh) * (slope of h) that arrives at logit z.
template <class T>
FH_HD inline T amplifier_factor(T g, T z, T h, T slope, const RuleOf<T>& rule) {
  const bool wrong_side = z < T(0) ? g < T(0) : g > T(0);
  const bool open = rule.gate == Amplifier::magnitude || (rule.gate == Amplifier::wrong_side && wrong_side);
  T factor = rule.amplification;
  if (rule.inverse) factor = slope * factor < T(1) ? factor : reciprocal(slope);
  return open && fabs(h) > rule.threshold ? factor : T(1);
}

// The gradient of one logit; `grad_penalty` is already divided by the number of elements.
template <class T>
FH_HD inline T tanh_quantize_gradient(T z, T grad_code, T grad_penalty, T sharpness, Penalty penalty,
                                      const RuleOf<T>& rule) {
  const TanhParts<T> parts = tanh_parts(sharpness * z);
  const T slope = sharpness * parts.slope;
  const T g = grad_code * slope;
  const T amplified = g * amplifier_factor(g, z, parts.h, parts.slope, rule);
  if (penalty == Penalty::none) return amplified;
  const T outward = z < T(0) ? T(1) : T(-1);  // sign of d penalty / d h, with d|h| / dh = +1 at h = 0
  return amplified + grad_penalty * outward * penalty_pull(parts.gap, penalty) * slope;
}

}  // namespace fasthash
