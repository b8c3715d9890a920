// SPDX-License-Identifier: Apache-2.0
// Inputs of triplet_margin, and its definition by loops over triplets.
#pragma once

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "check.h"
#include "triplet_margin/triplet_margin.h"

namespace fasthash {

struct MarginCase {
  int anchors, items;
  std::vector<float> distances;  // multiples of 1/8, so that hinges are exact, with many ties
  std::vector<int8_t> relation;

  MarginCase(int a, int m, unsigned seed = 0) : anchors(a), items(m) {
    std::mt19937 random(seed);
    for (int i = 0; i < a * m; ++i) distances.push_back(float(random() % 64) / 8);
    for (int i = 0; i < a * m; ++i) relation.push_back(int8_t(random() % 5) - 2);
  }

  // Without pointers into memory.
  TripletMargin arguments(Mining mining, bool swap, bool smooth, Reduction reduction) const {
    TripletMargin args{};
    args.anchors = anchors;
    args.items = args.distance_stride = args.relation_stride = items;
    args.dtype = Dtype::float32;
    args.margin = 1.5;
    args.mining = mining;
    args.swap = swap;
    args.smooth = smooth;
    args.reduction = reduction;
    return args;
  }

  double at(int a, int m) const { return double(distances[size_t(a) * items + m]); }
  int kind(int a, int m) const { return relation[size_t(a) * items + m]; }
};

struct MarginResult {
  double loss;
  std::vector<float> gradient;
};

class NaiveMargin {
 public:
  NaiveMargin(const MarginCase& input, const TripletMargin& args)
      : input_(input), args_(args), slopes_(input.distances.size()) {}

  MarginResult run() {
    for (int a = 0; a < input_.anchors; ++a) {
      if (args_.mining == Mining::hard) {
        const int p = extreme(a, 1, true), n = extreme(a, -1, false);
        if (p >= 0 && n >= 0) add(a, p, n);
        continue;
      }
      for (int p = 0; p < input_.items; ++p) {
        if (input_.kind(a, p) <= 0 || extreme(a, -1, true) < 0) continue;
        if (args_.mining == Mining::semi_hard) add(a, p, semi_hard(a, p));
        for (int n = 0; args_.mining == Mining::all && n < input_.items; ++n)
          if (input_.kind(a, n) < 0) add(a, p, n);
      }
    }
    double by = 1;
    if (args_.reduction == Reduction::mean) by = std::max(1.0, count_);
    if (args_.reduction == Reduction::avg_nonzero) by = std::max(1.0, nonzero_);
    MarginResult result{loss_ / by, {}};
    for (double slope : slopes_) result.gradient.push_back(float(slope / by));
    return result;
  }

 private:
  // The first of the nearest or the farthest items of a side, or -1.
  int extreme(int a, int side, bool farthest) const {
    int best = -1;
    for (int m = 0; m < input_.items; ++m) {
      if (input_.kind(a, m) * side <= 0) continue;
      const double change = best < 0 ? 1 : (input_.at(a, m) - input_.at(a, best)) * (farthest ? 1 : -1);
      if (change > 0) best = m;
    }
    return best;
  }

  int semi_hard(int a, int p) const {
    int best = -1;
    for (int n = 0; n < input_.items; ++n) {
      if (input_.kind(a, n) >= 0 || input_.at(a, n) <= input_.at(a, p)) continue;
      if (best < 0 || input_.at(a, n) < input_.at(a, best)) best = n;
    }
    return best < 0 ? extreme(a, -1, true) : best;
  }

  void add(int a, int p, int n) {
    const double own = input_.at(a, n), other = args_.swap ? input_.at(p, n) : INFINITY;
    const double x = args_.margin + input_.at(a, p) - std::min(own, other);
    const double slope = args_.smooth ? 1 / (1 + std::exp(-x)) : double(x > 0);
    loss_ += args_.smooth ? std::log1p(std::exp(x)) : std::max(0.0, x);
    ++count_;
    nonzero_ += args_.smooth || x > 0;
    const double share = own < other ? 1 : own == other ? 0.5 : 0;
    slopes_[size_t(a) * input_.items + p] += slope;
    slopes_[size_t(a) * input_.items + n] -= slope * share;
    if (args_.swap) slopes_[size_t(p) * input_.items + n] -= slope * (1 - share);
  }

  const MarginCase& input_;
  const TripletMargin& args_;
  std::vector<double> slopes_;
  double loss_ = 0, count_ = 0, nonzero_ = 0;
};

inline MarginResult naive_triplet_margin(const MarginCase& input, const TripletMargin& args) {
  return NaiveMargin(input, args).run();
}

inline MarginResult margin_on_cpu(const MarginCase& input, TripletMargin args) {
  MarginResult result{0, std::vector<float>(input.distances.size(), NAN)};
  std::vector<TripletSum> sums(input.anchors);
  args.distances = input.distances.data();
  args.relation = input.relation.data();
  args.gradient = result.gradient.data();
  args.sums = sums.data();
  const int64_t blocks = triplet_margin_blocks(args.anchors);
  for (int64_t block = 0; block < blocks; ++block) triplet_margin_cpu(args, block);
  const TripletScale scale = triplet_margin_scale(args);
  for (int64_t block = 0; block < blocks; ++block) triplet_margin_rescale_cpu(args, scale.gradient, block);
  result.loss = scale.loss;
  return result;
}

inline void expect_result(const MarginResult& got, const MarginResult& want) {
  CHECK_NEAR(got.loss, want.loss, 5e-6 * std::fabs(want.loss));
  double largest = 0, error = 0;
  for (size_t i = 0; i < want.gradient.size(); ++i) {
    largest = std::max(largest, double(std::fabs(want.gradient[i])));
    error = std::max(error, double(std::fabs(got.gradient[i] - want.gradient[i])));
  }
  CHECK_NEAR(error, 0.0, 5e-6 * largest);
}

// f(mining, swap, smooth, reduction); swap for square cases only.
template <class F>
void for_each_margin_option(bool square, const F& f) {
  for (Mining mining : {Mining::all, Mining::semi_hard, Mining::hard})
    for (bool swap : {false, true})
      for (bool smooth : {false, true})
        for (Reduction reduction : {Reduction::mean, Reduction::sum, Reduction::avg_nonzero})
          if (!swap || (square && mining == Mining::all)) f(mining, swap, smooth, reduction);
}

}  // namespace fasthash
