// SPDX-License-Identifier: Apache-2.0
// What the instruction-set variants of discrete_code_update implement.
#pragma once

#include <cstdint>

#include "discrete_code_update/discrete_code_update.h"

namespace fasthash {

constexpr int64_t tile_rows = 64;

// The descent of up to 64 rows. Returns how many entries changed.
struct DescentTile {
  const int8_t* codes;       // (N, K)
  int8_t* updated;           // (N, K), contiguous
  const int64_t* rows;       // (live): which rows
  const int64_t* target_of;  // (N)
  const float* targets;      // (P, K)
  const Four* gram;          // as in Descent
  const float* bound;
  float* room;  // (2 + 1/4, padded, 64) floats, 64-byte aligned
  int64_t live, bits, padded, code_stride, target_stride, sweeps;
  float relative;
};
int64_t descent_tile_scalar(const DescentTile& tile);
int64_t descent_tile_avx2(const DescentTile& tile);
int64_t descent_tile_avx512(const DescentTile& tile);
int64_t descent_tile_neon(const DescentTile& tile);

// sums (K, K) += the products of the columns of rows (count, K), row after row, for l <= k and a few l beyond. K is a
// multiple of 8, count of 4.
struct GramRun {
  const double* rows;
  double* sums;
  int64_t count, bits;
};
void gram_run_scalar(const GramRun& run);
void gram_run_avx2(const GramRun& run);
void gram_run_avx512(const GramRun& run);
void gram_run_neon(const GramRun& run);

}  // namespace fasthash
