// SPDX-License-Identifier: Apache-2.0
// What the instruction-set variants of order_aware_triplet implement: all pairs of some positives and some negatives of
// one anchor.
#pragma once

#include <cstdint>

#include "order_aware_triplet/order_aware_triplet.h"

namespace fasthash {

// Both lists are in rank order, or, without weights, in any order with `before` = 0. Arrays of the negatives can be
// read and written up to the next multiple of triplet_padding; what lies there is finite or ignored.
constexpr int64_t triplet_padding = 16;

template <class T>
struct TripletPositives {
  const T* reach;  // (P) margin + distance
  const T *first, *second;
  const T* gain;          // (P) factor on the weights; null where each is 1
  const int32_t* before;  // (P) how many of the anchor's negatives stand before it
  double* slope;          // (P) added to
  int64_t count;
};

template <class T>
struct TripletNegatives {
  const T* distance;  // (N)
  const T *first, *second;
  T* slope;  // (N) added to
  int64_t count;
  int64_t offset;  // place of the first one among the anchor's negatives
};

template <class T>
struct TripletTile {
  TripletPositives<T> positives;
  TripletNegatives<T> negatives;
  bool squared;
  bool counted;  // whether to count hinges above zero
};

struct TripletTileSum {
  double loss;
  int64_t nonzero;
};
TripletTileSum triplet_tile_scalar(const TripletTile<float>& tile);
TripletTileSum triplet_tile_avx2(const TripletTile<float>& tile);
TripletTileSum triplet_tile_avx512(const TripletTile<float>& tile);
TripletTileSum triplet_tile_neon(const TripletTile<float>& tile);

}  // namespace fasthash
