// SPDX-License-Identifier: Apache-2.0
// Inputs of discrete_code_update in buffers of exactly their size, and its definition in float64, row by row.
#pragma once

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "discrete_code_update/discrete_code_update.h"

namespace fasthash {

// Numbers on a grid: every sum is exact in float32, and none is near its bound but 0 itself.
struct DescentCase {
  int64_t rows, bits, samples, targets, sweeps, code_stride;
  std::vector<int8_t> codes;
  std::vector<float> relaxed, wanted;
  std::vector<int64_t> target_of;

  DescentCase(int64_t n, int64_t k, int64_t s, int64_t p, int64_t times, int64_t extra, unsigned seed)
      : rows(n), bits(k), samples(s), targets(p), sweeps(times), code_stride(k + extra) {
    std::mt19937 random(seed);
    codes.resize(size_t(rows == 0 ? 0 : (rows - 1) * code_stride + bits));
    relaxed.resize(size_t(samples * bits));
    wanted.resize(size_t(targets * bits));
    target_of.resize(size_t(rows));
    for (int8_t& code : codes) code = random() % 2 ? 1 : -1;
    for (float& u : relaxed) u = float(int(random() % 17) - 8) / 8;
    for (float& t : wanted) t = float(int(random() % 2001) - 1000) / 16;
    for (int64_t& target : target_of) target = int64_t(random() % unsigned(targets));
  }

  DiscreteCodeUpdate arguments(int8_t* updated, int64_t* changed) const {
    return {codes.data(), relaxed.data(), wanted.data(), target_of.data(), updated,
            changed,      rows,           bits,          samples,          targets,
            code_stride,  bits,           bits,          Dtype::float32,   sweeps};
  }
};

struct DescentResult {
  std::vector<int8_t> codes;
  int64_t changed = 0;
};

inline DescentResult descent_on_cpu(const DescentCase& input) {
  DescentResult result{std::vector<int8_t>(size_t(input.rows * input.bits), 99), 0};
  const DiscreteCodeUpdate args = input.arguments(result.codes.data(), &result.changed);
  const int64_t numbers = gram_columns(input.bits) * gram_columns(input.bits);
  std::vector<double> parts(size_t(gram_parts(input.samples) * numbers));
  for (int64_t part = 0; part < gram_parts(input.samples); ++part)
    gram_part_cpu(args, part, parts.data() + part * numbers);
  const Descent descent = descent_of(args, parts);
  const std::vector<int64_t> order = rows_by_target(args);
  for (int64_t block = 0; block < discrete_code_update_blocks(input.rows); ++block)
    discrete_code_update_cpu(args, descent, order, block);
  return result;
}

inline DescentResult naive_descent(const DescentCase& input) {
  const size_t bits = size_t(input.bits);
  std::vector<double> gram(bits * bits, 0.0);
  for (size_t i = 0; i < size_t(input.samples); ++i)
    for (size_t k = 0; k < bits; ++k)
      for (size_t l = 0; l < bits; ++l)
        gram[k * bits + l] += double(input.relaxed[i * bits + k]) * double(input.relaxed[i * bits + l]);
  DescentResult result{{}, 0};
  for (int64_t n = 0; n < input.rows; ++n) {
    const int8_t* from = input.codes.data() + n * input.code_stride;
    std::vector<int8_t> v(from, from + input.bits);
    const float* target = input.wanted.data() + input.target_of[size_t(n)] * input.bits;
    for (int64_t step = 0; step < input.sweeps * input.bits; ++step) {
      const size_t k = size_t(step % input.bits);
      double sum = double(target[k]);
      for (size_t l = 0; l < bits; ++l)
        if (l != k) sum -= gram[k * bits + l] * v[l];
      if (sum != 0) v[k] = sum < 0 ? -1 : 1;
    }
    for (size_t k = 0; k < bits; ++k) result.changed += v[k] != from[k];
    result.codes.insert(result.codes.end(), v.begin(), v.end());
  }
  return result;
}

}  // namespace fasthash
