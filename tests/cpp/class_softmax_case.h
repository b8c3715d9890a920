// SPDX-License-Identifier: Apache-2.0
// Inputs of class_softmax, and its definition by loops over rows and classes.
#pragma once

#include <algorithm>
#include <random>

#include "check.h"
#include "class_softmax/class_softmax.h"

namespace fasthash {

struct SoftmaxCase {
  SoftmaxCase(int64_t rows_, int64_t classes_, int64_t bits_, unsigned seed = 1)
      : rows(rows_), classes(classes_), bits(bits_), x(rows * bits), w(classes * bits), bias(classes), targets(rows) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (float& value : x) value = normal(random);
    for (float& value : w) value = 0.4f * normal(random);
    for (float& value : bias) value = normal(random);
    for (int64_t& target : targets) target = int64_t(random() % unsigned(classes));
  }

  int64_t rows, classes, bits;
  std::vector<float> x, w, bias;
  std::vector<int64_t> targets;
};

struct SoftmaxResult {
  double loss = 0;
  std::vector<double> x, w, bias;
  double x_most = 0, w_most = 0, bias_most = 0;  // the greatest sum of magnitudes of what a gradient adds up
};

// Loss and gradients of plain logits with scale 2 and margin 0.25, by loops.
inline SoftmaxResult naive_softmax(const SoftmaxCase& input) {
  SoftmaxResult result;
  result.x.resize(input.x.size());
  result.w.resize(input.w.size());
  result.bias.resize(input.bias.size());
  SoftmaxResult sizes = result;
  for (int64_t i = 0; i < input.rows; ++i) {
    std::vector<double> logits(input.classes);
    double sum = 0;
    for (int64_t c = 0; c < input.classes; ++c) {
      double product = c == input.targets[i] ? -0.25 : 0;
      for (int64_t k = 0; k < input.bits; ++k)
        product += double(input.x[i * input.bits + k]) * double(input.w[c * input.bits + k]);
      logits[c] = 2 * product + double(input.bias[c]);
      sum += std::exp(logits[c]);
    }
    const double share = 1 / double(input.rows);
    result.loss += share * (std::log(sum) - logits[input.targets[i]]);
    for (int64_t c = 0; c < input.classes; ++c) {
      const double residual = share * (std::exp(logits[c]) / sum - (c == input.targets[i] ? 1 : 0));
      const double size = std::fabs(residual);
      result.bias[c] += residual;
      sizes.bias[c] += size;
      for (int64_t k = 0; k < input.bits; ++k) {
        const double x = double(input.x[i * input.bits + k]), w = double(input.w[c * input.bits + k]);
        result.x[i * input.bits + k] += 2 * residual * w;
        result.w[c * input.bits + k] += 2 * residual * x;
        sizes.x[i * input.bits + k] += 2 * size * std::fabs(w);
        sizes.w[c * input.bits + k] += 2 * size * std::fabs(x);
      }
    }
  }
  result.x_most = *std::max_element(sizes.x.begin(), sizes.x.end());
  result.w_most = *std::max_element(sizes.w.begin(), sizes.w.end());
  result.bias_most = *std::max_element(sizes.bias.begin(), sizes.bias.end());
  return result;
}

inline void expect_near(const std::vector<float>& found, const std::vector<double>& expected, double most) {
  for (size_t n = 0; n < expected.size(); ++n) CHECK(std::fabs(double(found[n]) - expected[n]) <= 2e-5 * most);
}

inline double softmax_on_cpu(const SoftmaxCase& input, int threads, std::vector<float>* gradients) {
  ClassSoftmax args{};
  args.x = input.x.data();
  args.w = input.w.data();
  args.bias = input.bias.data();
  args.targets = input.targets.data();
  args.rows = input.rows;
  args.classes = input.classes;
  args.bits = args.x_stride = args.w_stride = input.bits;
  args.scale = 2;
  args.margin = 0.25f;
  args.corners.edge = 1;
  if (gradients) {
    args.x_gradient = gradients[0].data();
    args.w_gradient = gradients[1].data();
    args.bias_gradient = gradients[2].data();
  }
  const auto call = class_softmax_cpu(args, threads);
  for (int64_t group = 0; group < call->groups(); ++group) call->pack(group);
  for (int64_t block = call->blocks(); block-- > 0;) call->run(block);
  if (gradients)
    for (int64_t group = call->groups(); group-- > 0;) call->finish(group);
  return call->loss();
}

inline void expect_naive(const SoftmaxCase& input, int threads) {
  const SoftmaxResult expected = naive_softmax(input);
  // What is written is exactly what is there: no element behind.
  std::vector<float> gradients[] = {std::vector<float>(input.x.size() + 1, 7),
                                    std::vector<float>(input.w.size() + 1, 7),
                                    std::vector<float>(input.bias.size() + 1, 7)};
  CHECK(std::fabs(softmax_on_cpu(input, threads, gradients) - expected.loss) <= 1e-6 * (1 + expected.loss));
  expect_near(gradients[0], expected.x, expected.x_most);
  expect_near(gradients[1], expected.w, expected.w_most);
  expect_near(gradients[2], expected.bias, expected.bias_most);
  for (const auto& each : gradients) CHECK_EQ(each.back(), 7.0f);
  CHECK(std::fabs(softmax_on_cpu(input, threads, nullptr) - expected.loss) <= 1e-6 * (1 + expected.loss));
}

}  // namespace fasthash
