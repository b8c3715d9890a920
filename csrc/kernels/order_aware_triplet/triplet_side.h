// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "order_aware_triplet/anchor_sweep.h"
#include "order_aware_triplet/order_aware_triplet_math.h"
#include "order_aware_triplet/order_aware_triplet_seam.h"

namespace fasthash {

// The positives, or the negatives, of one anchor in rank order.
template <class C>
struct TripletSide {
  explicit TripletSide(int64_t capacity)
      : items(capacity),
        before(capacity),
        hamming(capacity),
        by_distance(capacity),
        distance(capacity + triplet_padding),
        first(capacity + triplet_padding),
        second(capacity + triplet_padding),
        potentials(capacity),
        gain(capacity),
        slope(capacity) {}

  void add(uint32_t item, C value, int32_t of_hamming, int64_t others_before, Potentials<double> of_item,
           double of_gain) {
    items[count] = item;
    distance[count] = value;
    hamming[count] = of_hamming;
    before[count] = int32_t(others_before);
    gain[count] = C(of_gain);
    potentials[count++] = of_item;
  }

  void normalize(double factor) {
    for (int64_t i = 0; i < count; ++i) {
      first[i] = C(potentials[i].first * factor);
      second[i] = C(potentials[i].second * factor);
    }
    std::fill_n(slope.begin(), count, 0.0);
  }

  SweepSide<C> swept() {
    return {distance.data(), gain.data(),        potentials.data(), hamming.data(),
            before.data(),   by_distance.data(), slope.data(),      count};
  }

  int64_t count = 0;
  std::vector<uint32_t> items;
  std::vector<int32_t> before;                // how many items of the other side stand before
  std::vector<int32_t> hamming, by_distance;  // for a sweep: see SweepSide
  std::vector<C> distance;                    // of positives: margin + distance
  std::vector<C> first, second;
  std::vector<Potentials<double>> potentials;
  std::vector<C> gain;  // 1 of negatives
  std::vector<double> slope;
};

}  // namespace fasthash
