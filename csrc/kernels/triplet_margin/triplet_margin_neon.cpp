// SPDX-License-Identifier: Apache-2.0
#include "common/vec_neon.h"
// The vector type comes first.
#include "triplet_margin/triplet_margin_vec.h"

namespace fasthash {

MarginSum margin_pairs_neon(const MarginPairs<float>& run) { return margin_pairs(run); }
MarginSum margin_swap_neon(const MarginSwap<float>& run) { return margin_swap(run); }

}  // namespace fasthash
