// SPDX-License-Identifier: Apache-2.0
// tanh_quantize of one element. T is float or double.
#pragma once

// math.h rather than cmath: it brings the float overloads into the global namespace, where nvcc has them too.
#include <math.h>

#include "common/platform.h"
#include "tanh_quantize/tanh_quantize.h"

namespace fasthash {

// 1 - tanh(x)^2 = 4 e / (1 + e)^2 with e = exp(-2 |x|): no cancellation, so the slope of a dead bit stays above zero.
template <class T>
FH_HD inline T tanh_slope(T x) {
  const T e = exp(T(-2) * fabs(x));
  return T(4) * e / ((T(1) + e) * (T(1) + e));
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

// d penalty / d h, with d|h| / dh = +1 at h = 0.
template <class T>
FH_HD inline T penalty_slope(T h, Penalty penalty) {
  const T d = fabs(h) - T(1);
  const T sign = h < T(0) ? T(-1) : T(1);
  switch (penalty) {
    case Penalty::l2: return sign * T(2) * d;
    case Penalty::l1: return d < T(0) ? -sign : sign * d;  // 0 at d = 0, NaN for NaN
    case Penalty::log_cosh: return sign * tanh(d);
    case Penalty::cubic: return sign * T(3) * fabs(d) * d;
    default: return d * T(0);
  }
}

// The factor on a gradient g = (dL/dh) * (slope of h) that arrives at logit z.
template <class T>
FH_HD inline T amplifier_factor(T g, T z, T h, T slope, const AmplifierRule& rule) {
  if (!(fabs(h) > T(rule.threshold)) || rule.gate == Amplifier::none) return T(1);
  const bool wrong_side = z < T(0) ? g < T(0) : g > T(0);
  if (rule.gate == Amplifier::wrong_side && !wrong_side) return T(1);
  if (!rule.inverse) return T(rule.amplification);
  return slope * T(rule.amplification) < T(1) ? T(rule.amplification) : T(1) / slope;
}

// The gradient of one logit; `grad_penalty` is already divided by the number of elements.
template <class T>
FH_HD inline T tanh_quantize_gradient(T z, T grad_code, T grad_penalty, T sharpness, Penalty penalty,
                                      const AmplifierRule& rule) {
  const T x = sharpness * z;
  const T h = tanh(x);
  const T slope = tanh_slope(x);
  const T g = grad_code * sharpness * slope;
  const T amplified = g * amplifier_factor(g, z, h, slope, rule);
  if (penalty == Penalty::none) return amplified;
  return amplified + grad_penalty * penalty_slope(h, penalty) * sharpness * slope;
}

}  // namespace fasthash
