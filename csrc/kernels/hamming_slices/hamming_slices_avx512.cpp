// SPDX-License-Identifier: Apache-2.0
#include "hamming_slices/hamming_slices_avx512.h"

// The vector type comes first.
#include "hamming_slices/hamming_slices_vec.h"

FASTHASH_DEFINE_SLICES(avx512)
