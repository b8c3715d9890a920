// SPDX-License-Identifier: Apache-2.0
// pairwise_similarity_loss of one pair. T is float or double.
#pragma once

#include <cmath>

#include "common/platform.h"
#include "pairwise_similarity_loss/pair_rule.h"

namespace fasthash {

template <class T>
struct PairTerm {
  T value, slope;
};

// Of t = scale <x, y>; the slope is that by t.
template <class T>
FH_HD inline PairTerm<T> likelihood_term(T t, bool similar) {
  const T z = similar ? -t : t, e = std::exp(z < T(0) ? z : -z);
  const T inverse = T(1) / (T(1) + e), sigmoid = z < T(0) ? e * inverse : inverse;
  return {(z < T(0) ? T(0) : z) + std::log1p(e), similar ? -sigmoid : sigmoid};
}

// `common` labels of rows with n and m of them; `root` is 1 / sqrt(n m).
template <class T>
FH_HD inline PairTerm<T> graded_term(T t, T common, T n, T m, T root, T bits, T soft) {
  if (common == T(0) || common * common == n * m) return likelihood_term(t, common > T(0));
  const T gap = t + bits - T(2) * bits * common * root;
  return {soft * gap * gap, T(2) * soft * gap};
}

template <class T>
FH_HD inline PairTerm<T> contrast_term(T distance, bool similar, T margin) {
  const T d = distance < T(0) ? T(0) : distance;
  if (similar) return {d / T(2), T(0.5)};
  return {d > margin ? T(0) : (margin - d) / T(2), d < margin ? T(-0.5) : T(0)};
}

// log(1 + d / gamma) of similar pairs and log(1 + gamma / d) of others: what the sum of two logarithms comes to.
template <class T>
FH_HD inline PairTerm<T> cauchy_term(T distance, bool similar, T gamma, T smallest) {
  const bool below = distance < smallest;
  const T d = below ? smallest : distance, far = T(1) / (gamma + d);
  const T slope = similar ? far : -gamma * far / d;
  return {std::log1p(similar ? d / gamma : gamma / d), below ? T(0) : slope};
}

FH_HD inline bool of_distances(PairRule rule) { return rule == PairRule::contrast || rule == PairRule::cauchy; }

// What the slope of a term is multiplied by, for that by the inner product.
FH_HD inline double slope_factor(PairRule rule, double scale, int64_t bits) {
  if (rule == PairRule::likelihood || rule == PairRule::graded_likelihood) return scale;
  return rule == PairRule::cosine_cauchy ? -double(bits) / 2 : -2.0;
}

// Of similar and of other pairs; each sums to a mean.
struct PairWeights {
  double similar, other;
};
inline PairWeights pair_weights(PairBalance balance, double cohesion, bool normalize, double pairs, double similar) {
  const double other = pairs - similar;
  const bool mixed = balance != PairBalance::none && similar > 0 && other > 0;
  PairWeights weights{cohesion * (mixed ? pairs / similar : 1),
                      mixed && balance == PairBalance::both ? pairs / other : 1};
  const double total = normalize ? weights.similar * similar + weights.other * other : pairs;
  if (total > 0) weights = {weights.similar / total, weights.other / total};
  return weights;
}

}  // namespace fasthash
