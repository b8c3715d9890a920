// SPDX-License-Identifier: Apache-2.0
// What the instruction-set variants of pairwise_similarity_loss implement.
#pragma once

#include <cstdint>

#include "pairwise_similarity_loss/pair_rule.h"

namespace fasthash {

// Lanes come in multiples of this.
constexpr int64_t pair_padding = 16;

// sums(r, lane) = [sums(r, lane) +] sum over steps t of factors[r row_stride + t step_stride] lanes[t lane_stride +
// lane]
template <class T>
struct PairProducts {
  const T *factors, *lanes;
  T* sums;
  int64_t rows, steps, width;  // of the sums, and of what is added up; width is a multiple of pair_padding
  int64_t row_stride, step_stride, lane_stride, sum_stride;
  bool add;
};

// Terms of (items, lanes), where a lane is an anchor. Items are similar where `ids` are equal, or `words` have a bit in
// common.
template <class T>
struct PairTerms {
  T* tile;  // inner products, which become weighted slopes
  const float *lane_ids, *item_ids;
  const uint32_t *lane_words, *item_words;  // (words, lanes) and (items, words)
  const T* grades;                          // (items, lanes): labels in common; for graded_likelihood, as what follows
  const T *lane_counts, *item_counts;       // labels of each
  const T *lane_roots, *item_roots;         // 1 / sqrt of that
  const T *lane_norms, *item_norms;         // squared, where distances are asked for
  T *heavy, *light;             // weights of similar and other pairs of each lane; 0 for one that is no anchor
  T* lane_sums;                 // added to: slopes of each lane, where distances are asked for
  T* item_sums;                 // the same of each item
  int64_t items, lanes, words;  // words is 0 for ids
  int64_t own;                  // the first item's own lane; item j has the lane own + j, if it is one
  bool alone;                   // that pair is left out
  PairRule rule;
  T bits, scale, threshold, smallest, factor;  // cosine_cauchy: scale is K / 2
};

// pair_terms returns the weighted sum of values; pair_count the number of similar pairs by words, and reads no more
// than words, items and lanes.
#define FH_PAIR_VARIANT(machine)                                \
  void pair_products_##machine(const PairProducts<float>& run); \
  double pair_terms_##machine(const PairTerms<float>& run);     \
  int64_t pair_count_##machine(const PairTerms<float>& run);
FH_PAIR_VARIANT(scalar)
FH_PAIR_VARIANT(avx2)
FH_PAIR_VARIANT(avx512)
FH_PAIR_VARIANT(neon)
#undef FH_PAIR_VARIANT

}  // namespace fasthash
