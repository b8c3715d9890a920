// SPDX-License-Identifier: Apache-2.0
// gram_run in plain loops, for each including file to compile for its own machine; internal linkage.
#pragma once

#include "discrete_code_update/discrete_code_update_seam.h"

namespace {

constexpr int64_t columns_together = 8, rows_together = 4;

// A product of two float32 is exact in float64: fused or not, the sums are the same.
inline void add_products(double* __restrict__ sums, const double* __restrict__ rows, int64_t bits, int64_t k) {
  for (int64_t first = 0; first <= k; first += columns_together) {
    double sum[columns_together];
    for (int64_t j = 0; j < columns_together; ++j) sum[j] = sums[first + j];
    for (int64_t i = 0; i < rows_together; ++i) {
      const double factor = rows[i * bits + k];
      for (int64_t j = 0; j < columns_together; ++j) sum[j] += factor * rows[i * bits + first + j];
    }
    for (int64_t j = 0; j < columns_together; ++j) sums[first + j] = sum[j];
  }
}

inline void gram_run(const fasthash::GramRun& run) {
  for (int64_t i = 0; i < run.count; i += rows_together)
    for (int64_t k = 0; k < run.bits; ++k) add_products(run.sums + k * run.bits, run.rows + i * run.bits, run.bits, k);
}

}  // namespace
