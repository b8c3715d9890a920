// SPDX-License-Identifier: Apache-2.0
// The pairs of one anchor over the vector type Vec of the including file (common/vec_<machine>.h), all with internal
// linkage. Restates triplet_margin_math.h; the tests hold the two together. Lanes are items.
#pragma once

#include "common/vec_math.h"
#include "triplet_margin/triplet_margin_seam.h"

namespace {

using fasthash::MarginPairs;
using fasthash::MarginSum;
using fasthash::MarginSwap;

struct Term {
  Vec value, slope;
};

inline Term smooth_term(Vec x) {
  const Vec zero = broadcast(0.0f), e = exp_vec(zero - abs(x)), inverse = reciprocal(broadcast(1.0f) + e);
  return {max(zero, x) + log1p_vec(e), select(less(x, zero), e * inverse, inverse)};
}

// max returns its second operand where either is NaN, so NaN passes.
inline Term hinge_term(Vec x) {
  const Vec zero = broadcast(0.0f);
  return {max(zero, x), select(greater_equal(zero, x), zero, broadcast(1.0f))};
}

template <bool smooth, int width>
inline MarginSum group(const MarginPairs<float>& run, int64_t i) {
  Vec reach[width], slope[width], loss = broadcast(0.0f);
  for (int k = 0; k < width; ++k) {
    reach[k] = broadcast(run.reach[i + k]);
    slope[k] = broadcast(0.0f);
  }
  for (int64_t j = 0; j < run.items; j += Vec::lanes) {
    const Vec distance = load_float32(run.distance + j);
    Vec slopes = load_float32(run.item_slope + j);
#pragma GCC unroll 8
    for (int k = 0; k < width; ++k) {
      Vec one;
      if constexpr (smooth) {
        const Term term = smooth_term(reach[k] - distance);
        loss = loss + term.value;
        one = term.slope;
      } else {
        one = select(greater(reach[k], distance), broadcast(1.0f), broadcast(0.0f));
      }
      slope[k] = slope[k] + one;
      slopes = slopes + one;
    }
    store_float32(run.item_slope + j, slopes);
  }
  MarginSum total{sum(loss), 0, 0};
  for (int k = 0; k < width; ++k) {
    run.slope[i + k] = sum(slope[k]);
    total.slope += run.slope[i + k];
  }
  return total;
}

template <bool smooth>
inline MarginSum pairs(const MarginPairs<float>& run) {
  constexpr int width = Vec::registers / 4;  // as many positives as the registers hold
  MarginSum total{0, 0, 0};
  const auto add = [&](MarginSum part) {
    total.loss += part.loss;
    total.slope += part.slope;
  };
  int64_t i = 0;
  for (; i + width <= run.positives; i += width) add(group<smooth, width>(run, i));
  for (; i < run.positives; ++i) add(group<smooth, 1>(run, i));
  if (!smooth) total.nonzero = int64_t(total.slope);
  return total;
}

inline MarginSum margin_pairs(const MarginPairs<float>& run) {
  return run.smooth ? pairs<true>(run) : pairs<false>(run);
}

template <bool smooth>
inline MarginSum swapped(const MarginSwap<float>& run) {
  const Vec reach = broadcast(run.reach), zero = broadcast(0.0f), one = broadcast(1.0f), half = broadcast(0.5f);
  const Vec infinity = broadcast(__builtin_inff());
  Vec loss = zero, slope = zero;
  int64_t nonzero = 0;
  for (int64_t j = 0; j < run.items; j += Vec::lanes) {
    const Vec distance = load_float32(run.distance + j), other = load_float32(run.other + j);
    const Mask live = less(distance, infinity);
    const Vec x = reach - min(distance, other);
    Term term = smooth ? smooth_term(x) : hinge_term(x);
    term = {select(live, term.value, zero), select(live, term.slope, zero)};
    const Vec receiver = run.of_other ? other : distance, rival = run.of_other ? distance : other;
    const Vec share = select(less(receiver, rival), one, select(less(rival, receiver), zero, half));
    loss = loss + term.value;
    slope = slope + term.slope;
    nonzero += (smooth ? live : greater(term.value, zero)).count();
    store_float32(run.item_slope + j, fma(term.slope, share, load_float32(run.item_slope + j)));
  }
  return {sum(loss), sum(slope), nonzero};
}

inline MarginSum margin_swap(const MarginSwap<float>& run) {
  return run.smooth ? swapped<true>(run) : swapped<false>(run);
}

}  // namespace
