// SPDX-License-Identifier: Apache-2.0
// gram_run in plain loops, for each including file to compile for its own machine; internal linkage.
#pragma once

#include "discrete_code_update/discrete_code_update_seam.h"

namespace {

// A product of two float32 is exact in float64: fused or not, the sums are the same.
inline void add_product(double* __restrict__ sums, const double* __restrict__ row, double factor, int64_t count) {
  for (int64_t l = 0; l < count; ++l) sums[l] += factor * row[l];
}

inline void gram_run(const fasthash::GramRun& run) {
  double row[fasthash::most_code_bits];
  for (int64_t i = 0; i < run.count; ++i) {
    for (int64_t k = 0; k < run.bits; ++k) row[k] = double(run.rows[i * run.bits + k]);
    for (int64_t k = 0; k < run.bits; ++k) add_product(run.sums + k * run.bits, row, row[k], k + 1);
  }
}

}  // namespace
