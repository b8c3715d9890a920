// SPDX-License-Identifier: Apache-2.0
// pairwise_similarity_loss over the vector type Vec of the including file (common/vec_<machine>.h), all with internal
// linkage. Restates pairwise_similarity_loss_math.h; the tests hold the two together.
#pragma once

#include "common/products_vec.h"
#include "common/vec_math.h"
#include "pairwise_similarity_loss/pairwise_similarity_loss_seam.h"

namespace {

using fasthash::PairRule;
using fasthash::PairTerms;

struct Term {
  Vec value, slope;
};

inline Vec negated(Vec a) { return broadcast(0.0f) - a; }

inline Term likelihood_term(Vec t, Mask similar) {
  const Vec zero = broadcast(0.0f), one = broadcast(1.0f), e = exp_vec(negated(abs(t)));
  const Vec z = select(similar, negated(t), t), inverse = reciprocal(one + e);
  const Vec sigmoid = inverse * select(less(z, zero), e, one);
  return {max(zero, z) + log1p_vec(e), select(similar, negated(sigmoid), sigmoid)};
}

inline Term graded_term(Vec t, Vec common, Vec pairs, Vec root, Vec bits, Vec soft) {
  const Term hard = likelihood_term(t, greater(common, broadcast(0.0f)));
  const Vec gap = t + fma(broadcast(-2.0f) * bits, common * root, bits), slope = soft * gap;
  const Mask is_hard = equal(common, broadcast(0.0f)) | equal(common * common, pairs);
  return {select(is_hard, hard.value, slope * gap), select(is_hard, hard.slope, slope + slope)};
}

// max returns its second operand where either is NaN, so NaN passes.
inline Term contrast_term(Vec distance, Mask similar, Vec margin) {
  const Vec zero = broadcast(0.0f), half = broadcast(0.5f), d = max(zero, distance);
  const Vec slope = select(less(d, margin), broadcast(-0.5f), zero);
  return {half * select(similar, d, max(zero, margin - d)), select(similar, half, slope)};
}

inline Term cauchy_term(Vec distance, Mask similar, Vec gamma, Vec smallest) {
  const Vec zero = broadcast(0.0f), d = max(smallest, distance), far = reciprocal(gamma + d);
  const Vec share = gamma * reciprocal(d);
  const Vec slope = select(less(distance, smallest), zero, select(similar, far, negated(far * share)));
  return {log1p_wide_vec(select(similar, d / gamma, share)), slope};
}

inline Mask words_in_common(const PairTerms<float>& run, int64_t j, int64_t i) {
  const uint32_t* of_item = run.item_words + j * run.words;
  Mask any = in_common(run.lane_words + i, of_item[0]);
  for (int64_t w = 1; w < run.words; ++w) any = any | in_common(run.lane_words + w * run.lanes + i, of_item[w]);
  return any;
}

inline int64_t pair_count(const PairTerms<float>& run) {
  int64_t count = 0;
  for (int64_t j = 0; j < run.items; ++j)
    for (int64_t i = 0; i < run.lanes; i += Vec::lanes) count += words_in_common(run, j, i).count();
  return count;
}

template <PairRule rule, bool words>
class Terms {
 public:
  explicit Terms(const PairTerms<float>& run) : run_(run) {}

  double sum_up() {
    double total = 0;
    Vec loss = broadcast(0.0f);
    for (int64_t j = 0; j < run_.items; ++j) {
      const int64_t own = run_.own + j;
      if (run_.alone && own >= 0 && own < run_.lanes) {
        const float heavy = run_.heavy[own], light = run_.light[own];
        run_.heavy[own] = run_.light[own] = 0;
        loss = row(j, loss);
        run_.heavy[own] = heavy;
        run_.light[own] = light;
      } else {
        loss = row(j, loss);
      }
      if (j % 8 != 7) continue;
      total += sum(loss);
      loss = broadcast(0.0f);
    }
    return total + sum(loss);
  }

 private:
  static constexpr bool distances = rule == PairRule::contrast || rule == PairRule::cauchy;
  static constexpr bool graded = rule == PairRule::graded_likelihood;

  Vec row(int64_t j, Vec loss) {
    float* tile = run_.tile + j * run_.lanes;
    const Vec factor = broadcast(run_.factor);
    Vec slopes = broadcast(0.0f);
    for (int64_t i = 0; i < run_.lanes; i += Vec::lanes) {
      const Mask similar = are_similar(j, i);
      const Term found = term(load_float32(tile + i), similar, j, i);
      const Vec weight = select(similar, load_float32(run_.heavy + i), load_float32(run_.light + i));
      const Vec slope = found.slope * (weight * factor);
      loss = fma(found.value, weight, loss);
      store_float32(tile + i, slope);
      if constexpr (distances) {
        store_float32(run_.lane_sums + i, load_float32(run_.lane_sums + i) + slope);
        slopes = slopes + slope;
      }
    }
    if constexpr (distances) run_.item_sums[j] += float(sum(slopes));
    return loss;
  }

  Mask are_similar(int64_t j, int64_t i) const {
    if constexpr (graded)
      return greater(load_float32(run_.grades + j * run_.lanes + i), broadcast(0.0f));
    else if constexpr (words)
      return words_in_common(run_, j, i);
    else
      return equal(load_float32(run_.lane_ids + i), broadcast(run_.item_ids[j]));
  }

  Term term(Vec product, Mask similar, int64_t j, int64_t i) const {
    if constexpr (rule == PairRule::likelihood) {
      return likelihood_term(product * broadcast(run_.scale), similar);
    } else if constexpr (graded) {
      return graded_term(product * broadcast(run_.scale), load_float32(run_.grades + j * run_.lanes + i),
                         load_float32(run_.lane_counts + i) * broadcast(run_.item_counts[j]),
                         load_float32(run_.lane_roots + i) * broadcast(run_.item_roots[j]), broadcast(run_.bits),
                         broadcast(run_.threshold));
    } else {
      Vec distance;
      if constexpr (distances)
        distance = fma(broadcast(-2.0f), product, load_float32(run_.lane_norms + i) + broadcast(run_.item_norms[j]));
      else
        distance = fma(broadcast(-run_.scale), product, broadcast(run_.scale));
      if constexpr (rule == PairRule::contrast)
        return contrast_term(distance, similar, broadcast(run_.threshold));
      else
        return cauchy_term(distance, similar, broadcast(run_.threshold), broadcast(run_.smallest));
    }
  }

  const PairTerms<float> run_;
};

template <PairRule rule>
inline double terms_of(const PairTerms<float>& run) {
  return run.words ? Terms<rule, true>(run).sum_up() : Terms<rule, false>(run).sum_up();
}

inline double pair_terms(const PairTerms<float>& run) {
  switch (run.rule) {
    case PairRule::likelihood: return terms_of<PairRule::likelihood>(run);
    case PairRule::contrast: return terms_of<PairRule::contrast>(run);
    case PairRule::cauchy: return terms_of<PairRule::cauchy>(run);
    case PairRule::cosine_cauchy: return terms_of<PairRule::cosine_cauchy>(run);
    default: return Terms<PairRule::graded_likelihood, true>(run).sum_up();
  }
}

}  // namespace
