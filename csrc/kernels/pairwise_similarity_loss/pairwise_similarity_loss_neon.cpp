// SPDX-License-Identifier: Apache-2.0
#include "common/vec_neon.h"
// The vector type comes first.
#include "pairwise_similarity_loss/pairwise_similarity_loss_vec.h"

namespace fasthash {

void pair_products_neon(const MatrixProducts<float>& run) { matrix_products(run); }
double pair_terms_neon(const PairTerms<float>& run) { return pair_terms(run); }
int64_t pair_count_neon(const PairTerms<float>& run) { return pair_count(run); }

}  // namespace fasthash
