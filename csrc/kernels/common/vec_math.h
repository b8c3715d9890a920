// SPDX-License-Identifier: Apache-2.0
// Functions over the vector type Vec of the including file (common/vec_<machine>.h), all with internal linkage and
// within a few ulp. NaN passes.
#pragma once

#include "tanh_quantize/tanh_terms.h"

namespace {

// exp(x) for x <= 0 as 2^n 2^f with t = n + f = x / ln 2; 0 below the least normal number.
inline Vec exp_vec(Vec x) {
  const Vec least = broadcast(-126.0f), t = max(least, x * broadcast(fasthash::log2_of_e));
  const Vec n = round_nearest(t), f = t - n;
  Vec p = fma(f, broadcast(fasthash::exp2_5), broadcast(fasthash::exp2_4));
  p = fma(p, f, broadcast(fasthash::exp2_3));
  p = fma(p, f, broadcast(fasthash::exp2_2));
  p = fma(p, f, broadcast(fasthash::exp2_1));
  p = fma(p, f, broadcast(fasthash::exp2_0));
  return select(greater_equal(least, t), broadcast(0.0f), times_exp2(fma(p, f, broadcast(1.0f)), n));
}

// The series 2 atanh(s) = s + s + s^3 (2/3 + 2/5 s^2 + ...); its terms up to s^11 for |s| <= 1/5, or all for 1/3.
template <bool wide>
inline Vec twice_atanh(Vec s) {
  const Vec s2 = s * s;
  Vec p = broadcast(2.0f / 11);
  if constexpr (wide) p = fma(fma(broadcast(2.0f / 15), s2, broadcast(2.0f / 13)), s2, p);
  p = fma(p, s2, broadcast(2.0f / 9));
  p = fma(p, s2, broadcast(2.0f / 7));
  p = fma(p, s2, broadcast(2.0f / 5));
  p = fma(p, s2, broadcast(2.0f / 3));
  return fma(p * s2, s, s + s);
}

// log(1 + e) for e in [0, 1], with s = e / (2 + e) <= 1/3.
inline Vec log1p_vec(Vec e) { return twice_atanh<true>(e * reciprocal(broadcast(2.0f) + e)); }

// log(1 + x) for x >= 0 far from overflow: with u = 1 + x rounded, log(u) + (x - (u - 1)) / u. And u = 2^n m with m in
// [3/4, 3/2), s = (m - 1) / (m + 1) in [-1/7, 1/5].
inline Vec log1p_wide_vec(Vec x) {
  const Vec one = broadcast(1.0f), u = one + x, lost = x - (u - one);
  const Vec n = exponent(u * broadcast(4.0f / 3)), m = times_exp2(u, broadcast(0.0f) - n);
  const Vec log_m = twice_atanh<false>((m - one) * reciprocal(m + one));
  return fma(n, broadcast(0.693147182f), fma(lost, reciprocal(u), log_m));
}

}  // namespace
