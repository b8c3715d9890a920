// SPDX-License-Identifier: Apache-2.0
// Hamming distances of one anchor, compiled with and without the popcount instruction; all with internal linkage.
#pragma once

#include <cstring>

#include "order_aware_triplet/order_aware_triplet_seam.h"

namespace {

template <class Word>
inline int32_t differing_bits(const uint8_t* a, const uint8_t* b) {
  Word x, y;
  std::memcpy(&x, a, sizeof(Word));
  std::memcpy(&y, b, sizeof(Word));
  return __builtin_popcountll(uint64_t(Word(x ^ y)));
}

inline void hamming_row(const fasthash::HammingRow& row) {
  for (int64_t m = 0; m < row.count; ++m) {
    const uint8_t* item = row.items + m * row.stride;
    int32_t distance = 0;
    int64_t byte = 0;
    for (; byte + 8 <= row.bytes; byte += 8) distance += differing_bits<uint64_t>(row.anchor + byte, item + byte);
    for (; byte < row.bytes; ++byte) distance += differing_bits<uint8_t>(row.anchor + byte, item + byte);
    row.distances[m] = distance;
  }
}

}  // namespace
