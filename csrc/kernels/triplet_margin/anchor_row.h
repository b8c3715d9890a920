// SPDX-License-Identifier: Apache-2.0
// One anchor's distances as the kernels want them, and its positives in the order of their distances.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <tuple>
#include <utility>
#include <vector>

#include "common/dtype.h"
#include "triplet_margin/triplet_margin_math.h"
#include "triplet_margin/triplet_margin_seam.h"

namespace fasthash {

// C is the computing type.
template <class C>
class AnchorRow {
 public:
  explicit AnchorRow(int64_t items)
      : items_(items),
        positives_(items),
        reach_(items),
        negative_(items + margin_padding, std::numeric_limits<C>::infinity()) {}

  template <class T>
  void load_row(const T* distances, const int8_t* relation, double margin) {
    positive_count_ = negative_count_ = 0;
    finite_ = true;
    for (int64_t m = 0; m < items_; ++m) {
      positives_[positive_count_] = uint32_t(m);
      positive_count_ += relation[m] > 0;
    }
    int32_t negatives = 0, infinite = 0;
    for (int64_t m = 0; m < items_; ++m) {
      const C distance = load(distances[m]);
      infinite += int(relation[m] != 0) & int(!margin_finite(distance));
      negatives += relation[m] < 0;
      negative_[m] = relation[m] < 0 ? distance : std::numeric_limits<C>::infinity();
    }
    negative_count_ = negatives;
    finite_ = infinite == 0;
    for (int64_t i = 0; i < positive_count_; ++i) reach_[i] = C(margin + double(C(load(distances[positives_[i]]))));
  }

  // Brings the positives in the order (reach, index).
  void sort_positives() {
    order_.resize(positive_count_);
    for (int64_t i = 0; i < positive_count_; ++i) order_[i] = {reach_[i], positives_[i]};
    std::sort(order_.begin(), order_.end());
    for (int64_t i = 0; i < positive_count_; ++i) std::tie(reach_[i], positives_[i]) = order_[i];
  }

  // For sorted positives: how many have a reach of at most (or with `strict` below) each negative's distance; all of
  // them for items that are not negatives.
  template <bool strict>
  void place_negatives(int32_t* places) const {
    constexpr int64_t lanes = 8;  // searches side by side
    for (int64_t m = 0; m < items_; m += lanes) {
      int32_t begin[lanes] = {};
      int32_t size = int32_t(positive_count_);
      for (; size > 1; size -= size / 2) {
        const int32_t half = size / 2;
        for (int k = 0; k < lanes; ++k) begin[k] += stands_before<strict>(begin[k] + half - 1, m + k) ? half : 0;
      }
      for (int k = 0; k < lanes; ++k) places[m + k] = begin[k] + stands_before<strict>(begin[k], m + k);
    }
  }

  int64_t positive_count() const { return positive_count_; }
  int64_t negative_count() const { return negative_count_; }
  bool finite() const { return finite_; }
  const C* reach() const { return reach_.data(); }                 // (P) margin + distance
  const uint32_t* positives() const { return positives_.data(); }  // (P)
  const C* negative() const { return negative_.data(); }           // (M), infinite where no negative is

 private:
  template <bool strict>
  bool stands_before(int32_t positive, int64_t m) const {
    return strict ? reach_[positive] < negative_[m] : reach_[positive] <= negative_[m];
  }

  int64_t items_, positive_count_ = 0, negative_count_ = 0;
  bool finite_ = true;
  std::vector<uint32_t> positives_;
  std::vector<C> reach_, negative_;
  std::vector<std::pair<C, uint32_t>> order_;
};

}  // namespace fasthash
