// SPDX-License-Identifier: Apache-2.0
// triplet_margin of one pair. T is float or double.
#pragma once

#include <cmath>

#include "common/platform.h"
#include "order_aware_triplet/order_aware_triplet_math.h"

namespace fasthash {

template <class T>
struct MarginTerm {
  T value, slope;
};

// max(0, x) or log(1 + exp(x)), with x = margin + d_ap - d_an, and the derivative.
template <class T>
FH_HD inline MarginTerm<T> margin_term(bool smooth, T x) {
  if (!smooth) return {hinge(x), x <= T(0) ? T(0) : T(1)};
  const T e = std::exp(x < T(0) ? x : -x);
  const T inverse = T(1) / (T(1) + e);
  return {(x < T(0) ? T(0) : x) + std::log1p(e), x < T(0) ? e * inverse : inverse};
}

// Which part of the slope falls on `distance` where the smaller of two distances counts; equal ones share it.
template <class T>
FH_HD inline T swap_share(T distance, T other) {
  return distance < other ? T(1) : distance == other ? T(0.5) : T(0);
}

// Whether a triplet counts as one with a value above 0; the smooth form is above 0 always.
template <class T>
FH_HD inline bool margin_counts(bool smooth, T x) {
  return smooth || x > T(0);
}

// Infinite distances make sums undefined, as NaN does.
template <class T>
FH_HD inline bool margin_finite(T distance) {
  return distance - distance == T(0);
}

FH_HD inline TripletScale margin_scale(const TripletSum& batch, Reduction reduction) {
  return triplet_scale(batch, reduction, false);
}

}  // namespace fasthash
