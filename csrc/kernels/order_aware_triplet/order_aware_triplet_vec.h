// SPDX-License-Identifier: Apache-2.0
// The pairs of a tile over the vector type Vec of the including file (common/vec_<machine>.h), all with internal
// linkage. Restates order_aware_triplet_math.h; the tests hold the two together.
//
// Lanes are negatives. A few positives at a time are held in registers, and since both lists are in rank order the
// negatives fall into three runs: before all of these positives, between them, and behind them all. Only the middle
// run, at most some vectors long, has to ask for each pair which one comes first.
#pragma once

#include "order_aware_triplet/order_aware_triplet_seam.h"

namespace {

using fasthash::TripletTile;
using fasthash::TripletTileSum;

enum class Place { before, between, behind };  // of the negatives of a vector, seen from the positives at hand

alignas(64) constexpr float lane_numbers[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

template <bool squared, bool counted, bool graded, int width>
class PositiveGroup {
 public:
  PositiveGroup(const TripletTile<float>& tile, int64_t i) : tile_(tile), i_(i) {
    const auto& p = tile.positives;
    for (int k = 0; k < width; ++k) {
      reach_[k] = broadcast(p.reach[i + k]);
      first_[k] = broadcast(p.first[i + k]);
      second_[k] = broadcast(p.second[i + k]);
      if constexpr (graded) gain_[k] = broadcast(p.gain[i + k]);
      before_[k] = broadcast(float(p.before[i + k] - tile.negatives.offset));
      slope_[k] = broadcast(0.0f);
    }
  }

  TripletTileSum operator()() {
    const int64_t count = tile_.negatives.count, full = count / Vec::lanes * Vec::lanes;
    const int64_t before_first = clipped(tile_.positives.before[i_]) / Vec::lanes * Vec::lanes;
    const int64_t before_last = clipped(tile_.positives.before[i_ + width - 1]);
    int64_t j = 0;
    for (; j < before_first; j += Vec::lanes) step<Place::before>(j);
    for (; j < before_last; j += Vec::lanes) step<Place::between>(j);
    for (; j < full; j += Vec::lanes) step<Place::behind>(j);
    if (j < count) step<Place::between>(j);
    for (int k = 0; k < width; ++k) tile_.positives.slope[i_ + k] += sum(slope_[k]);
    return {sum(loss_), nonzero_};
  }

 private:
  int64_t clipped(int64_t before) const {
    const int64_t place = before - tile_.negatives.offset, count = tile_.negatives.count;
    return place < 0 ? 0 : place < count ? place : count;
  }

  // Lanes past the end of the list take part in Place::between only, which silences them.
  template <Place place>
  inline void step(int64_t j) {
    const auto& n = tile_.negatives;
    const Vec zero = broadcast(0.0f);
    const Vec distance = load_float32(n.distance + j);
    const Vec first = load_float32(n.first + j), second = load_float32(n.second + j);
    const Vec at = load_float32(lane_numbers) + broadcast(float(j));
    const Mask live = less(at, broadcast(float(n.count)));
    Vec slopes = load_float32(n.slope + j);
#pragma GCC unroll 8
    for (int k = 0; k < width; ++k) {
      Vec hinge = max(zero, reach_[k] - distance);  // max returns its second operand where either is NaN
      Vec weight = place == Place::before ? second_[k] - second : first - first_[k];
      if constexpr (place == Place::between) {
        weight = select(less(at, before_[k]), second_[k] - second, weight);
        hinge = select(live, hinge, zero);
      }
      if constexpr (graded) weight = gain_[k] * weight;
      const Vec slope = squared ? weight * hinge : select(greater_equal(zero, hinge), zero, weight);
      loss_ = fma(squared ? slope : weight, hinge, loss_);
      slope_[k] = slope_[k] + slope;
      slopes = slopes + slope;
      if constexpr (counted) nonzero_ += greater(hinge, zero).count();
    }
    store_float32(n.slope + j, slopes);
  }

  const TripletTile<float>& tile_;
  int64_t i_, nonzero_ = 0;
  Vec reach_[width], first_[width], second_[width], gain_[graded ? width : 1], before_[width], slope_[width];
  Vec loss_ = broadcast(0.0f);
};

template <bool squared, bool counted, bool graded>
inline TripletTileSum triplet_tile_vec(const TripletTile<float>& tile) {
  constexpr int width = Vec::registers / 8;  // as many positives as the registers hold
  TripletTileSum total{0, 0};
  const auto add = [&](TripletTileSum part) {
    total.loss += part.loss;
    total.nonzero += part.nonzero;
  };
  int64_t i = 0;
  for (; i + width <= tile.positives.count; i += width) add(PositiveGroup<squared, counted, graded, width>(tile, i)());
  for (; i < tile.positives.count; ++i) add(PositiveGroup<squared, counted, graded, 1>(tile, i)());
  return total;
}

template <bool squared, bool counted>
inline TripletTileSum triplet_tile_vec(const TripletTile<float>& tile) {
  return tile.positives.gain ? triplet_tile_vec<squared, counted, true>(tile)
                             : triplet_tile_vec<squared, counted, false>(tile);
}

inline TripletTileSum triplet_tile(const TripletTile<float>& tile) {
  if (tile.squared) return tile.counted ? triplet_tile_vec<true, true>(tile) : triplet_tile_vec<true, false>(tile);
  return tile.counted ? triplet_tile_vec<false, true>(tile) : triplet_tile_vec<false, false>(tile);
}

}  // namespace
