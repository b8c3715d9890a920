// SPDX-License-Identifier: Apache-2.0
// tanh_quantize of one element. T is float or double.
#pragma once

// math.h rather than cmath: it brings the float overloads into the global namespace, where nvcc has them too.
#include <math.h>

#include "common/platform.h"
#include "tanh_quantize/tanh_quantize.h"

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
    case Penalty::log_cosh: return tanh(gap);
    case Penalty::cubic: return T(3) * gap * gap;
    default: return gap * T(0);
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
  const TanhParts<T> parts = tanh_parts(sharpness * z);
  const T slope = sharpness * parts.slope;
  const T g = grad_code * slope;
  const T amplified = g * amplifier_factor(g, z, parts.h, parts.slope, rule);
  if (penalty == Penalty::none) return amplified;
  const T outward = z < T(0) ? T(1) : T(-1);  // sign of d penalty / d h, with d|h| / dh = +1 at h = 0
  return amplified + grad_penalty * outward * penalty_pull(parts.gap, penalty) * slope;
}

}  // namespace fasthash
