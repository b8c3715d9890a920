// SPDX-License-Identifier: Apache-2.0
// Inputs of pairwise_similarity_loss, and its definition by loops over pairs.
#pragma once

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "check.h"
#include "pairwise_similarity_loss/pairwise_similarity_loss.h"

namespace fasthash {

struct PairwiseCase {
  int anchors, items, bits, bytes;  // items is 0 for a batch with itself; bytes is 0 for ids
  std::vector<float> x, y;
  std::vector<int64_t> x_ids, y_ids;
  std::vector<uint8_t> x_bits, y_bits;

  PairwiseCase(int a, int m, int k, int b, unsigned seed = 0) : anchors(a), items(m), bits(k), bytes(b) {
    std::mt19937 random(seed);
    const auto fill = [&](int rows, std::vector<float>& values, std::vector<int64_t>& ids, std::vector<uint8_t>& hot) {
      for (int i = 0; i < rows * k; ++i) values.push_back(float(int(random() % 257) - 128) / 96);
      for (int i = 0; i < rows; ++i) ids.push_back(int64_t(random() % 3) * (int64_t(1) << 40) - 7);
      for (int i = 0; i < rows * b; ++i)
        hot.push_back(uint8_t(random() & random() & random() & (random() % 2 ? 255 : 0)));
    };
    fill(a, x, x_ids, x_bits);
    fill(m, y, y_ids, y_bits);
  }

  bool alone() const { return items == 0; }
  int partners() const { return alone() ? anchors : items; }
  const float* row(bool of_items, int i) const { return (of_items && !alone() ? y : x).data() + size_t(i) * bits; }
  bool similar(int i, int j) const {
    if (bytes == 0) return x_ids[i] == (alone() ? x_ids : y_ids)[j];
    const std::vector<uint8_t>& other = alone() ? x_bits : y_bits;
    for (int b = 0; b < bytes; ++b)
      if (x_bits[i * bytes + b] & other[j * bytes + b]) return true;
    return false;
  }

  // Without gradients.
  PairwiseLoss arguments(PairRule rule, PairBalance balance, bool normalize) const {
    PairwiseLoss args{};
    args.x = x.data();
    args.y = alone() ? x.data() : y.data();
    const auto labels = [&](const std::vector<int64_t>& ids, const std::vector<uint8_t>& hot) {
      return bytes ? PairLabels{nullptr, hot.data(), bytes} : PairLabels{ids.data(), nullptr, 0};
    };
    args.x_labels = labels(x_ids, x_bits);
    args.y_labels = alone() ? args.x_labels : labels(y_ids, y_bits);
    args.anchors = anchors;
    args.items = partners();
    args.bits = args.x_stride = args.y_stride = bits;
    args.dtype = Dtype::float32;
    args.alone = alone();
    args.rule = rule;
    args.scale = 0.3;
    args.threshold = rule == PairRule::contrast ? 1.1 * bits : rule == PairRule::graded_likelihood ? 0.02 : 0.7;
    args.smallest = 0.01 * bits;
    args.balance = balance;
    args.cohesion = 1.5;
    args.normalize = normalize;
    return args;
  }
};

struct PairwiseResult {
  double loss;
  std::vector<double> of_x, of_y;
};

class NaivePairwise {
 public:
  NaivePairwise(const PairwiseCase& input, const PairwiseLoss& args) : input_(input), args_(args) {}

  PairwiseResult run() {
    result_ = {0, std::vector<double>(input_.x.size()), std::vector<double>(input_.y.size())};
    double pairs = 0, similar = 0;
    for_each_pair([&](int i, int j) {
      pairs += 1;
      similar += input_.similar(i, j);
    });
    const bool mixed = args_.balance != PairBalance::none && similar > 0 && similar < pairs;
    double heavy = args_.cohesion * (mixed ? pairs / similar : 1);
    double light = mixed && args_.balance == PairBalance::both ? pairs / (pairs - similar) : 1;
    const double total = args_.normalize ? heavy * similar + light * (pairs - similar) : pairs;
    for_each_pair([&](int i, int j) { add(i, j, (input_.similar(i, j) ? heavy : light) / total); });
    return result_;
  }

 private:
  template <class F>
  void for_each_pair(const F& f) const {
    for (int i = 0; i < input_.anchors; ++i)
      for (int j = 0; j < input_.partners(); ++j)
        if (!input_.alone() || i != j) f(i, j);
  }

  static double dot(const float* a, const float* b, int bits) {
    double sum = 0;
    for (int k = 0; k < bits; ++k) sum += double(a[k]) * double(b[k]);
    return sum;
  }

  // 0 with ids, where nothing is graded.
  double grade_of(int i, int j) const {
    int n = 0, m = 0, common = 0;
    for (int b = 0; b < input_.bytes; ++b) {
      const uint8_t first = input_.x_bits[i * input_.bytes + b];
      const uint8_t second = (input_.alone() ? input_.x_bits : input_.y_bits)[j * input_.bytes + b];
      n += __builtin_popcount(first);
      m += __builtin_popcount(second);
      common += __builtin_popcount(first & second);
    }
    if (common == 0) return 0;
    return common == n && common == m ? 1 : common / std::sqrt(double(n) * m);
  }

  void add(int i, int j, double weight) {
    const int bits = input_.bits;
    const float *a = input_.row(false, i), *b = input_.row(true, j);
    const bool s = input_.similar(i, j);
    const double product = dot(a, b, bits), aa = dot(a, a, bits), bb = dot(b, b, bits);
    double value, slope, x, length = 1;  // slope is that by x, x the argument
    const double grade = args_.rule == PairRule::graded_likelihood ? grade_of(i, j) : 0;
    if (grade > 0 && grade < 1) {
      x = product;
      const double gap = args_.scale * x + bits - 2 * bits * grade;
      value = args_.threshold * gap * gap;
      slope = 2 * args_.threshold * gap * args_.scale;
    } else if (args_.rule == PairRule::likelihood || args_.rule == PairRule::graded_likelihood) {
      x = args_.scale * product;
      value = std::log1p(std::exp(x)) - s * x;
      slope = args_.scale * (1 / (1 + std::exp(-x)) - s);
    } else if (args_.rule == PairRule::contrast) {
      x = aa + bb - 2 * product;
      value = s ? x / 2 : std::max(0.0, args_.threshold - x) / 2;
      slope = s ? 0.5 : x < args_.threshold ? -0.5 : 0.0;
    } else {
      length = std::max(std::sqrt(aa), 1e-12) * std::max(std::sqrt(bb), 1e-12);
      const bool unit = args_.rule == PairRule::cosine_cauchy;
      x = unit ? bits / 2.0 * (1 - product / length) : aa + bb - 2 * product;
      const double d = std::max(x, args_.smallest), gamma = args_.threshold;
      value = s * std::log(d / gamma) + std::log1p(gamma / d);
      slope = x < args_.smallest ? 0 : s * (1 / d) - gamma / (d * (d + gamma));
    }
    result_.loss += weight * value;
    for (int k = 0; k < bits; ++k) {
      double by_a = b[k], by_b = a[k];  // the derivative of x
      if (args_.rule == PairRule::contrast || args_.rule == PairRule::cauchy) {
        by_a = 2 * (double(a[k]) - double(b[k]));
        by_b = -by_a;
      } else if (args_.rule == PairRule::cosine_cauchy) {
        by_a = -bits / 2.0 * (double(b[k]) / length - (aa > 0 ? product / length * a[k] / aa : 0));
        by_b = -bits / 2.0 * (double(a[k]) / length - (bb > 0 ? product / length * b[k] / bb : 0));
      }
      result_.of_x[size_t(i) * bits + k] += weight * slope * by_a;
      (input_.alone() ? result_.of_x : result_.of_y)[size_t(j) * bits + k] += weight * slope * by_b;
    }
  }

  const PairwiseCase& input_;
  const PairwiseLoss& args_;
  PairwiseResult result_;
};

inline PairwiseResult pairwise_on_cpu(const PairwiseCase& input, PairwiseLoss args, bool of_x = true,
                                      bool of_y = true) {
  std::vector<float> x(of_x ? input.x.size() : 0, NAN), y(of_y ? input.y.size() : 0, NAN);
  args.x_gradient = of_x ? x.data() : nullptr;
  args.y_gradient = of_y && !input.alone() ? y.data() : nullptr;
  const auto work = pairwise_similarity_loss_cpu(args);
  for (int64_t block = 0; block < work->count_blocks(); ++block) work->count(block);
  work->weigh();
  for (int64_t block = work->blocks(); block-- > 0;) work->run(block);
  for (int64_t block = 0; block < work->finish_blocks(); ++block) work->finish(block);
  return {work->loss(), {x.begin(), x.end()}, {y.begin(), y.end()}};
}

inline void expect_gradient(const std::vector<double>& got, const std::vector<double>& want) {
  double largest = 0, error = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    largest = std::max(largest, std::fabs(want[i]));
    error = std::max(error, std::isnan(got[i]) ? INFINITY : std::fabs(got[i] - want[i]));
  }
  CHECK_NEAR(error, 0.0, 1e-5 * largest + 1e-7);
}

inline void expect_naive(const PairwiseCase& input, const PairwiseLoss& args) {
  const PairwiseResult want = NaivePairwise(input, args).run(), got = pairwise_on_cpu(input, args);
  CHECK_NEAR(got.loss, want.loss, 1e-5 * std::fabs(want.loss) + 1e-12);
  expect_gradient(got.of_x, want.of_x);
  expect_gradient(got.of_y, want.of_y);
}

// f(rule, balance, normalize)
template <class F>
void for_each_pair_option(const F& f) {
  for (PairRule rule : {PairRule::likelihood, PairRule::contrast, PairRule::cauchy, PairRule::cosine_cauchy,
                        PairRule::graded_likelihood})
    for (PairBalance balance : {PairBalance::none, PairBalance::both, PairBalance::similar})
      for (bool normalize : {false, true}) f(rule, balance, normalize);
}

}  // namespace fasthash
