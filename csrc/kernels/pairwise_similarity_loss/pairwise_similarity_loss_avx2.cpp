// SPDX-License-Identifier: Apache-2.0
#include "common/vec_avx2.h"
// The vector type comes first.
#include "pairwise_similarity_loss/pairwise_similarity_loss_vec.h"

namespace fasthash {

void pair_products_avx2(const MatrixProducts<float>& run) { matrix_products(run); }
double pair_terms_avx2(const PairTerms<float>& run) { return pair_terms(run); }
int64_t pair_count_avx2(const PairTerms<float>& run) { return pair_count(run); }

}  // namespace fasthash
