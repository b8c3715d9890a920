// SPDX-License-Identifier: Apache-2.0
// order_aware_triplet of one item and of one pair. T is float or double.
#pragma once

#include <cmath>

#include "common/dtype.h"
#include "common/platform.h"
#include "order_aware_triplet/order_aware_triplet.h"

namespace fasthash {

// Integers in the order of the distances: -0 equals +0, and every NaN is the same last value.
FH_HD inline uint32_t distance_key(float distance) {
  if (distance != distance) return 0xffffffffu;
  const uint32_t bits = bits_from_float(distance + 0.0f);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// The weight of a pair is a difference of one number per item: of `first` where the positive stands before the
// negative, of `second` where it stands behind.
template <class T>
struct Potentials {
  T first, second;
};

// What a rank counts for.
FH_HD inline double rank_value(Weighting weighting, double rank) {
  return weighting == Weighting::delta_ndcg ? 1.0 / log2(rank + 1.0) : 1.0 / rank;
}

// Of an item at a rank r that counts for `value`, with C = `count` positives before it and R = `partial` the sum of
// 1 / u over their ranks u: R - C / r and R - (C + 1) / r for N+ |delta AP|; for a difference of values, -value. With
// average ranks, and C positives nearer in Hamming distance, the same is the change of the average precision in which a
// positive among c that tie counts (C + (c + 1) / 2) / r. Without weights every pair has the difference 1.
FH_HD inline Potentials<double> item_potentials(Weighting weighting, double partial, double count, double value) {
  if (weighting != Weighting::delta_ap) return {-value, -value};
  const double first = partial - count * value;
  return {first, first - value};
}
FH_HD inline Potentials<double> unweighted_potentials(bool positive) {
  return {positive ? 0.0 : 1.0, positive ? 1.0 : 0.0};
}

template <class T>
FH_HD inline T pair_weight(bool positive_first, Potentials<T> positive, Potentials<T> negative) {
  return positive_first ? negative.first - positive.first : positive.second - negative.second;
}

// What an item at hand adds to the sum of the weights over all pairs, with so many items of the other side before and
// behind it; where gains are given, a positive adds its gain times that, and a negative has sums of gains for numbers
// of items. Those of the same average rank are neither.
FH_HD inline double weight_share(bool positive, Potentials<double> item, double before, double behind) {
  return positive ? item.second * before - item.first * behind : item.first * before - item.second * behind;
}

// The factor that brings the mean weight of an anchor to one; 0 where all weights are 0, as where all ranks are one.
FH_HD inline double weight_normalizer(double weight_sum, double pairs) {
  return weight_sum > 0 ? pairs / weight_sum : 0.0;
}
// The factor that weights which are not brought to one still have: 1 / N+ for AP, 1 / ideal DCG for NDCG, where
// `ideal` is the sum of the values of the first N+ ranks, times gains in falling order.
FH_HD inline double weight_factor(Weighting weighting, double positives, double ideal) {
  if (weighting == Weighting::delta_ap) return 1.0 / positives;
  return weighting == Weighting::delta_ndcg && ideal != 0.0 ? 1.0 / ideal : 1.0;
}

// max(0, x), where NaN stays NaN.
template <class T>
FH_HD inline T hinge(T x) {
  return x <= T(0) ? T(0) : x;
}

// The weights of a positive's pairs are multiplied by its gain over the highest of its anchor. A gain below 0 counts as
// 0, and one that is not finite makes a weight NaN.
FH_HD inline double higher_gain(double highest, double gain) { return gain > highest || gain != gain ? gain : highest; }
FH_HD inline double relative_gain(double gain, double highest) { return highest == 0.0 ? 0.0 : hinge(gain) / highest; }

// The derivative of weight * hinge^2 / 2, or of weight * hinge, by the positive's distance.
template <class T>
FH_HD inline T pair_slope(bool squared, T weight, T hinge) {
  if (squared) return weight * hinge;
  return hinge <= T(0) ? T(0) : weight;
}

// From the sums over a batch to its loss and gradient.
FH_HD inline TripletScale triplet_scale(const TripletSum& batch, Reduction reduction, bool squared) {
  double divisor = 1;
  if (reduction == Reduction::mean) divisor = double(batch.triplets);
  if (reduction == Reduction::avg_nonzero) divisor = double(batch.nonzero);
  if (divisor < 1) divisor = 1;
  return {batch.loss / divisor, (squared ? 2.0 : 1.0) / divisor};
}

}  // namespace fasthash
