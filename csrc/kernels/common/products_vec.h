// SPDX-License-Identifier: Apache-2.0
// Products of small matrices over the vector type Vec of the including file (common/vec_<machine>.h), all with internal
// linkage.
#pragma once

#include "common/products.h"

namespace {

using fasthash::MatrixProducts;

// As many sums as the registers hold: 6 rows by an eighth of the registers.
constexpr int tile_rows = 6, tile_width = Vec::registers / 8;

template <int rows, int width>
inline void products_tile(const MatrixProducts<float>& run, int64_t row, int64_t lane) {
  const float* factors = run.factors + row * run.row_stride;
  const float* lanes = run.lanes + lane;
  float* sums = run.sums + row * run.sum_stride + lane;
  Vec sum[rows][width];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int w = 0; w < width; ++w)
      sum[r][w] = run.add ? load_float32(sums + r * run.sum_stride + w * Vec::lanes) : broadcast(0.0f);
  for (int64_t t = 0; t < run.steps; ++t) {
    Vec part[width];
#pragma GCC unroll 8
    for (int w = 0; w < width; ++w) part[w] = load_float32(lanes + t * run.lane_stride + w * Vec::lanes);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const Vec factor = broadcast(factors[r * run.row_stride + t * run.step_stride]);
#pragma GCC unroll 8
      for (int w = 0; w < width; ++w) sum[r][w] = fma(factor, part[w], sum[r][w]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int w = 0; w < width; ++w) store_float32(sums + r * run.sum_stride + w * Vec::lanes, sum[r][w]);
}

template <int width>
inline void products_rows(const MatrixProducts<float>& run, int64_t lane) {
  int64_t row = 0;
  for (; row + tile_rows <= run.rows; row += tile_rows) products_tile<tile_rows, width>(run, row, lane);
  switch (run.rows - row) {
    case 5: return products_tile<5, width>(run, row, lane);
    case 4: return products_tile<4, width>(run, row, lane);
    case 3: return products_tile<3, width>(run, row, lane);
    case 2: return products_tile<2, width>(run, row, lane);
    case 1: return products_tile<1, width>(run, row, lane);
    default: return;
  }
}

inline void matrix_products(const MatrixProducts<float>& run) {
  int64_t lane = 0;
  for (; lane + tile_width * Vec::lanes <= run.width; lane += tile_width * Vec::lanes)
    products_rows<tile_width>(run, lane);
  const int64_t left = (run.width - lane) / Vec::lanes;
  if constexpr (tile_width > 3)
    if (left == 3) return products_rows<3>(run, lane);
  if constexpr (tile_width > 2)
    if (left == 2) return products_rows<2>(run, lane);
  if (left == 1) products_rows<1>(run, lane);
}

}  // namespace
