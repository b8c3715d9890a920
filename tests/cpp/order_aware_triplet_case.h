// SPDX-License-Identifier: Apache-2.0
// Inputs of order_aware_triplet, and its definition by brute force: every pair is swapped in the list, and the measure
// computed anew.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <tuple>
#include <vector>

#include "check.h"
#include "hamming_scan/hamming_math.h"
#include "order_aware_triplet/order_aware_triplet.h"

namespace fasthash {

struct TripletCase {
  int anchors, items, width;
  std::vector<float> distances;  // multiples of 1/8, so that hinges are exact, with many ties
  std::vector<int8_t> relation;
  std::vector<uint8_t> anchor_codes, item_codes;  // of few bits, with many ties
  std::vector<float> gains;                       // empty until graded

  TripletCase(int a, int m, int w, unsigned seed = 0) : anchors(a), items(m), width(w) {
    std::mt19937 random(seed);
    for (int i = 0; i < a * m; ++i) distances.push_back(float(random() % 64) / 8);
    for (int i = 0; i < a * m; ++i) relation.push_back(int8_t(random() % 5) - 2);
    for (int i = 0; i < a * w; ++i) anchor_codes.push_back(uint8_t(random() & random()));
    for (int i = 0; i < m * w; ++i) item_codes.push_back(uint8_t(random() & random()));
  }

  TripletCase& grade(unsigned seed = 0) {
    std::mt19937 random(seed);
    gains.clear();
    for (size_t i = 0; i < distances.size(); ++i) gains.push_back(std::ldexp(1.0f, int(random() % 5)) - 1);
    return *this;
  }
  bool graded(Weighting weighting) const { return weighting == Weighting::delta_ndcg && !gains.empty(); }

  // Without pointers into memory.
  OrderAwareTriplet arguments(Weighting weighting, bool squared, Reduction reduction) const {
    OrderAwareTriplet args{};
    args.anchors = anchors;
    args.items = args.distance_stride = args.relation_stride = args.gain_stride = items;
    args.anchor_codes = {nullptr, anchors, width, width};
    args.item_codes = {nullptr, items, width, width};
    args.dtype = Dtype::float32;
    args.margin = 1.5;
    args.weighting = weighting;
    args.squared = squared;
    args.reduction = reduction;
    args.normalize = true;
    args.method = TripletMethod::automatic;
    return args;
  }
};

struct TripletResult {
  double loss;
  std::vector<float> gradient;
};

// `ranks` never fall; where some are equal, a positive counts half of the others and itself as before it.
inline double average_precision(const std::vector<double>& relevant, const std::vector<double>& ranks) {
  double nearer = 0, total = 0;
  for (size_t first = 0, last = 0; first < ranks.size(); first = last) {
    double tied = 0;
    for (; last < ranks.size() && ranks[last] == ranks[first]; ++last) tied += relevant[last];
    total += tied * (nearer + (tied + 1) / 2) / ranks[first];
    nearer += tied;
  }
  return total / nearer;
}

inline double ndcg(const std::vector<double>& gains, const std::vector<double>& ranks) {
  std::vector<double> falling = gains;
  std::sort(falling.rbegin(), falling.rend());
  double gain = 0, ideal = 0;
  for (size_t i = 0; i < gains.size(); ++i) {
    gain += gains[i] / std::log2(ranks[i] + 1);
    ideal += falling[i] / std::log2(double(i) + 2);
  }
  return ideal > 0 ? gain / ideal : 0;
}

// Of a list in which the places of a positive and a negative change.
inline double naive_weight(Weighting weighting, const std::vector<double>& relevant, const std::vector<double>& ranks,
                           size_t p, size_t n) {
  if (weighting == Weighting::none) return 1;
  if (weighting == Weighting::rank_difference) return std::fabs(1 / ranks[p] - 1 / ranks[n]);
  std::vector<double> swapped = relevant;
  std::swap(swapped[p], swapped[n]);
  const auto measure = weighting == Weighting::delta_ap ? average_precision : ndcg;
  return std::fabs(measure(swapped, ranks) - measure(relevant, ranks));
}

inline int naive_hamming(const TripletCase& input, int anchor, int m) {
  int hamming = 0;
  for (int w = 0; w < input.width; ++w)
    hamming += word_distance(input.anchor_codes[anchor * input.width + w], input.item_codes[m * input.width + w]);
  return hamming;
}

inline std::vector<int> ranked_items(const TripletCase& input, int anchor) {
  std::vector<int> items;
  for (int m = 0; m < input.items; ++m)
    if (input.relation[anchor * input.items + m]) items.push_back(m);
  const auto key = [&](int m) {
    return std::make_tuple(naive_hamming(input, anchor, m), input.distances[anchor * input.items + m], m);
  };
  std::sort(items.begin(), items.end(), [&](int a, int b) { return key(a) < key(b); });
  return items;
}

inline std::vector<double> naive_ranks(const TripletCase& input, int anchor, const std::vector<int>& items, Ties ties) {
  std::vector<double> ranks;
  for (size_t i = 0; i < items.size(); ++i) {
    double before = 0, tied = 0;
    for (int other : items) {
      before += naive_hamming(input, anchor, other) < naive_hamming(input, anchor, items[i]);
      tied += naive_hamming(input, anchor, other) == naive_hamming(input, anchor, items[i]);
    }
    ranks.push_back(ties == Ties::mean ? before + (tied + 1) / 2 : double(i + 1));
  }
  return ranks;
}

struct NaiveTriplet {
  int positive, negative;
  double weight, hinge;
};

inline std::vector<NaiveTriplet> naive_triplets(const TripletCase& input, int anchor, const OrderAwareTriplet& args) {
  const std::vector<int> items = ranked_items(input, anchor);
  const int8_t* relation = &input.relation[anchor * input.items];
  const float* distances = &input.distances[anchor * input.items];
  const std::vector<double> ranks = naive_ranks(input, anchor, items, args.ties);
  std::vector<double> relevant;
  for (int m : items) {
    const double gain = input.graded(args.weighting) ? double(input.gains[anchor * input.items + m]) : 1;
    relevant.push_back(relation[m] > 0 ? gain : 0);
  }
  std::vector<NaiveTriplet> triplets;
  double sum = 0;
  for (size_t p = 0; p < items.size(); ++p) {
    for (size_t n = 0; n < items.size(); ++n) {
      if (relation[items[p]] < 0 || relation[items[n]] > 0) continue;
      const double weight = naive_weight(args.weighting, relevant, ranks, p, n);
      const double hinge = args.margin + double(distances[items[p]]) - double(distances[items[n]]);
      triplets.push_back({items[p], items[n], weight, std::max(0.0, hinge)});
      sum += weight;
    }
  }
  const bool some = sum > 1e-12;  // not where all ranks are one
  for (auto& triplet : triplets)
    if (args.normalize) triplet.weight *= some ? double(triplets.size()) / sum : 0;
  return triplets;
}

inline TripletResult naive_order_aware_triplet(const TripletCase& input, const OrderAwareTriplet& args) {
  std::vector<double> slopes(input.distances.size());
  double loss = 0, count = 0, nonzero = 0;
  for (int a = 0; a < input.anchors; ++a) {
    for (const auto& [p, n, weight, hinge] : naive_triplets(input, a, args)) {
      const double slope = args.squared ? 2 * weight * hinge : weight * double(hinge > 0);
      loss += weight * hinge * (args.squared ? hinge : 1);
      slopes[a * input.items + p] += slope;
      slopes[a * input.items + n] -= slope;
      ++count;
      nonzero += hinge > 0;
    }
  }
  const double by = args.reduction == Reduction::sum ? 1 : args.reduction == Reduction::mean ? count : nonzero;
  TripletResult result{loss / std::max(1.0, by), {}};
  for (double slope : slopes) result.gradient.push_back(float(slope / std::max(1.0, by)));
  return result;
}

inline TripletResult triplet_on_cpu(const TripletCase& input, OrderAwareTriplet args) {
  TripletResult result{0, std::vector<float>(input.distances.size(), NAN)};
  std::vector<TripletSum> sums(input.anchors);
  args.distances = input.distances.data();
  args.relation = input.relation.data();
  args.anchor_codes.data = input.anchor_codes.data();
  args.item_codes.data = input.item_codes.data();
  args.gradient = result.gradient.data();
  args.gains = input.graded(args.weighting) ? input.gains.data() : nullptr;
  args.sums = sums.data();
  const int64_t blocks = order_aware_triplet_blocks(args.anchors);
  for (int64_t block = 0; block < blocks; ++block) order_aware_triplet_cpu(args, block);
  const TripletScale scale = order_aware_triplet_scale(args);
  for (int64_t block = 0; block < blocks; ++block) order_aware_triplet_rescale_cpu(args, scale.gradient, block);
  result.loss = scale.loss;
  return result;
}

inline void expect_result(const TripletResult& got, const TripletResult& want) {
  // Where all pairs with a hinge tie, a sweep leaves what rounding leaves of sums of potentials.
  constexpr double rounding = 1e-12;
  CHECK_NEAR(got.loss, want.loss, 5e-6 * std::fabs(want.loss) + rounding);
  double largest = 0, error = 0;
  for (size_t i = 0; i < want.gradient.size(); ++i) {
    largest = std::max(largest, double(std::fabs(want.gradient[i])));
    error = std::max(error, double(std::fabs(got.gradient[i] - want.gradient[i])));
  }
  CHECK_NEAR(error, 0.0, 5e-6 * largest + rounding);
}

template <class F>  // f(arguments), for either way to rank and to normalize
void for_each_triplet_ranking(OrderAwareTriplet args, const F& f) {
  for (Ties ties : {Ties::index, Ties::mean}) {
    for (bool normalize : {true, false}) {
      args.ties = ties;
      args.normalize = normalize;
      f(args);
    }
  }
}

template <class F>  // f(weighting, squared, reduction)
void for_each_triplet_option(const F& f) {
  for (Weighting weighting : {Weighting::none, Weighting::delta_ap, Weighting::delta_ndcg, Weighting::rank_difference})
    for (bool squared : {false, true})
      for (Reduction reduction : {Reduction::mean, Reduction::sum, Reduction::avg_nonzero})
        f(weighting, squared, reduction);
}

}  // namespace fasthash
