// SPDX-License-Identifier: Apache-2.0
// What the instruction-set variants of pairwise_similarity_loss implement.
#pragma once

#include <cstdint>

#include "common/products.h"
#include "pairwise_similarity_loss/pair_rule.h"

namespace fasthash {

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
#define FH_PAIR_VARIANT(machine)                                  \
  void pair_products_##machine(const MatrixProducts<float>& run); \
  double pair_terms_##machine(const PairTerms<float>& run);       \
  int64_t pair_count_##machine(const PairTerms<float>& run);
FH_PAIR_VARIANT(scalar)
FH_PAIR_VARIANT(avx2)
FH_PAIR_VARIANT(avx512)
FH_PAIR_VARIANT(neon)
#undef FH_PAIR_VARIANT

}  // namespace fasthash
