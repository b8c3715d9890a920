// SPDX-License-Identifier: Apache-2.0
#include "common/vec_avx512.h"
// The vector type comes first.
#include "triplet_margin/triplet_margin_vec.h"

namespace fasthash {

MarginSum margin_pairs_avx512(const MarginPairs<float>& run) { return margin_pairs(run); }
MarginSum margin_swap_avx512(const MarginSwap<float>& run) { return margin_swap(run); }

}  // namespace fasthash
