// SPDX-License-Identifier: Apache-2.0
// What the instruction-set variants of triplet_margin implement, all for one anchor.
#pragma once

#include <cstdint>

namespace fasthash {

// Arrays over the items can be read and written up to the next multiple of margin_padding.
constexpr int64_t margin_padding = 16;

// Some positives against all items; an item that is not a negative has the distance infinity, and so has the padding.
template <class T>
struct MarginPairs {
  const T* reach;     // (P) margin + distance
  double* slope;      // (P) written
  const T* distance;  // (M)
  T* item_slope;      // (M) added to
  int64_t positives, items;
  bool smooth;
};

// One positive against all items, where the smaller of two distances counts. `distance` is infinite at items that are
// not negatives, and at the padding.
template <class T>
struct MarginSwap {
  T reach;
  const T *distance, *other;  // (M)
  T* item_slope;              // (M) added to: the slopes that fall on `distance`, or with `of_other` on `other`
  int64_t items;
  bool smooth, of_other;
};

struct MarginSum {
  double loss;  // of smooth pairs only; that of hinges follows from the slopes
  double slope;
  int64_t nonzero;
};
#define FH_MARGIN_VARIANT(machine)                                 \
  MarginSum margin_pairs_##machine(const MarginPairs<float>& run); \
  MarginSum margin_swap_##machine(const MarginSwap<float>& run);
FH_MARGIN_VARIANT(scalar)
FH_MARGIN_VARIANT(avx2)
FH_MARGIN_VARIANT(avx512)
FH_MARGIN_VARIANT(neon)
#undef FH_MARGIN_VARIANT

}  // namespace fasthash
