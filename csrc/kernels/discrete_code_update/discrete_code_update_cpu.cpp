// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <limits>

#include "common/dispatch.h"
#include "common/machine.h"
#include "discrete_code_update/discrete_code_update.h"
#include "discrete_code_update/discrete_code_update_gram.h"
#include "discrete_code_update/discrete_code_update_math.h"
#include "discrete_code_update/discrete_code_update_seam.h"

namespace fasthash {
namespace {

constexpr int64_t block_tiles = 8;  // some tenths of a millisecond

const Variants<int64_t(const DescentTile&)> tile_variants{"discrete_code_update", {FH_VARIANTS(descent_tile)}};
const Variants<void(const GramRun&)> gram_variants{"discrete_code_update_gram", {FH_VARIANTS(gram_run)}};

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// One row of codes as ±1.0f.
struct CodeArray {
  float* values;
  float at(int64_t l) const { return values[l]; }
  void set(int64_t l, float value) const { values[l] = value; }
};

// Rows as float64 of their float32, filled up with zeros.
template <class T>
void copy_wide(const DiscreteCodeUpdate& args, int64_t begin, int64_t end, int64_t columns, double* to) {
  const T* from = static_cast<const T*>(args.relaxed);
  for (int64_t i = begin; i < end; ++i, to += columns)
    for (int64_t k = 0; k < args.bits; ++k) to[k] = double(float(load(from[i * args.relaxed_stride + k])));
}

}  // namespace

int64_t descent_tile_scalar(const DescentTile& tile) {
  const DescentView view{tile.gram, tile.bound, tile.bits, tile.padded, tile.relative};
  const CodeArray codes{tile.room};
  int64_t changed = 0;
  for (int64_t i = 0; i < tile.live; ++i) {
    const int64_t row = tile.rows[i];
    const int8_t* from = tile.codes + row * tile.code_stride;
    int8_t* to = tile.updated + row * tile.bits;
    for (int64_t k = 0; k < tile.padded; ++k) tile.room[k] = k < tile.bits && from[k] < 0 ? -1.0f : 1.0f;
    descend_row(codes, view, tile.targets + tile.target_of[row] * tile.target_stride, tile.sweeps);
    for (int64_t k = 0; k < tile.bits; ++k) {
      to[k] = tile.room[k] < 0 ? -1 : 1;
      changed += (to[k] < 0) != (from[k] < 0);
    }
  }
  return changed;
}

void gram_run_scalar(const GramRun& run) { gram_run(run); }

int64_t gram_part_rows(int64_t samples) { return std::max<int64_t>(128, ceil_div(samples, most_gram_parts)); }
int64_t gram_parts(int64_t samples) { return std::max<int64_t>(1, ceil_div(samples, gram_part_rows(samples))); }

void gram_part_cpu(const DiscreteCodeUpdate& args, int64_t part, double* sums) {
  const int64_t columns = gram_columns(args.bits);
  std::fill_n(sums, columns * columns, 0.0);
  const int64_t rows = gram_part_rows(args.samples), begin = part * rows;
  const int64_t end = std::min(args.samples, begin + rows);
  if (begin >= end) return;
  const int64_t padded_rows = ceil_div(end - begin, rows_together) * rows_together;
  std::vector<double> wide(size_t(padded_rows * columns));
  for_float_dtype(args.dtype, [&](auto tag) { copy_wide<decltype(tag)>(args, begin, end, columns, wide.data()); });
  gram_variants.select()({wide.data(), sums, padded_rows, columns});
}

Descent descent_of(const DiscreteCodeUpdate& args, const std::vector<double>& parts) {
  const int64_t bits = args.bits, padded = padded_bits(bits), columns = gram_columns(bits);
  Descent descent{std::vector<Four>(size_t(padded / bits_together * padded), Four{}),
                  std::vector<float>(size_t(padded), std::numeric_limits<float>::infinity()), relative_bound(bits)};
  std::vector<float> full(size_t(bits * bits));
  for (int64_t k = 0; k < bits; ++k) {
    for (int64_t l = 0; l <= k; ++l) {
      double sum = 0;
      for (int64_t part = 0; part < gram_parts(args.samples); ++part)
        sum += parts[size_t((part * columns + k) * columns + l)];
      full[size_t(k * bits + l)] = full[size_t(l * bits + k)] = float(sum);
    }
  }
  for (int64_t k = 0; k < bits; ++k) {
    double magnitude = 0;
    for (int64_t l = 0; l < bits; ++l) {
      const float g = full[size_t(k * bits + l)];
      magnitude += std::fabs(double(g));
      if (l != k) descent.gram[size_t(k / bits_together * padded + l)].at[k % bits_together] = -g;
    }
    descent.bound[size_t(k)] = float(double(descent.relative) * magnitude);
  }
  return descent;
}

std::vector<int64_t> rows_by_target(const DiscreteCodeUpdate& args) {
  std::vector<int64_t> begin(size_t(args.target_count) + 1), order(size_t(args.rows));
  for (int64_t n = 0; n < args.rows; ++n) ++begin[size_t(args.target_of[n]) + 1];
  for (int64_t p = 0; p < args.target_count; ++p) begin[size_t(p) + 1] += begin[size_t(p)];
  for (int64_t n = 0; n < args.rows; ++n) order[size_t(begin[size_t(args.target_of[n])]++)] = n;
  return order;
}

int64_t discrete_code_update_blocks(int64_t rows) { return ceil_div(rows, tile_rows * block_tiles); }

void discrete_code_update_cpu(const DiscreteCodeUpdate& args, const Descent& descent, const std::vector<int64_t>& order,
                              int64_t block) {
  const auto run_variant = tile_variants.select();
  const int64_t padded = padded_bits(args.bits);
  std::vector<Four> room(size_t(9 * padded * tile_rows / 16) + 3);  // with room to align it to 64 bytes
  float* floats = reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(room.data()) + 63) / 64 * 64);
  const int64_t begin = block * tile_rows * block_tiles, end = std::min(args.rows, begin + tile_rows * block_tiles);
  int64_t changed = 0;
  for (int64_t first = begin; first < end; first += tile_rows) {
    changed += run_variant({args.codes, args.updated, order.data() + first, args.target_of, args.targets,
                            descent.gram.data(), descent.bound.data(), floats, std::min(tile_rows, end - first),
                            args.bits, padded, args.code_stride, args.target_stride, args.sweeps, descent.relative});
  }
  __atomic_fetch_add(args.changed, changed, __ATOMIC_RELAXED);
}

}  // namespace fasthash
