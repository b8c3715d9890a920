// SPDX-License-Identifier: Apache-2.0
// The triplets of one anchor without looking at each: the slope of an item is a sum over the items of the other side
// that are near enough, and, since weights are differences of one number per item and hinges of distances, a function
// of moments of them. Both sides are gone through by distance; moments are kept for each Hamming distance.
#pragma once

#include <cstdint>
#include <vector>

#include "order_aware_triplet/order_aware_triplet_math.h"

namespace fasthash {

// One side in rank order, that is by (Hamming distance, distance, index).
template <class C>
struct SweepSide {
  const C* at;    // distance; of positives, margin + distance
  const C* gain;  // of positives only: factor on the weights of its pairs
  const Potentials<double>* potentials;
  const int32_t* hamming;
  const int32_t* before;       // how many items of the other side stand before
  const int32_t* by_distance;  // places by rising `at`
  double* slope;               // written
  int64_t count;
};

struct SweepSum {
  double loss;
  int64_t nonzero;
};

class AnchorSweep {
 public:
  explicit AnchorSweep(int64_t bits);

  // Needs finite distances, and `at` of a positive above that of every negative which stands before it in its Hamming
  // distance: so every such pair has a hinge.
  template <class C>
  SweepSum run(const SweepSide<C>& positives, const SweepSide<C>& negatives, bool squared);

  // Sums over items; over positives, each times its gain.
  struct Moments {
    double count, at, value, value_at;

    void operator+=(const Moments& other) {
      count += other.count;
      at += other.at;
      value += other.value;
      value_at += other.value_at;
    }
  };

 private:
  void clear();
  void add_upwards(int64_t bucket, const Moments& item);
  Moments below(int64_t bucket) const;
  void add_downwards(int64_t bucket, const Moments& item);
  Moments above(int64_t bucket) const;

  int64_t width_;  // buckets of a block
  std::vector<Moments> buckets_, blocks_;
};

}  // namespace fasthash
