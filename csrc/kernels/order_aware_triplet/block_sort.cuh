// SPDX-License-Identifier: Apache-2.0
// Pairs (key, item) sorted by one block.
#pragma once

#include <cstdint>

#include "common/bitonic.cuh"

namespace fasthash {

// Puts the smaller pair (key, item) first.
__device__ inline void order_pair(uint64_t* keys, uint32_t* items, int first, int second) {
  const uint64_t a = keys[first], b = keys[second];
  const uint32_t i = items[first], j = items[second];
  if (a < b || (a == b && i <= j)) return;
  keys[first] = b;
  keys[second] = a;
  items[first] = j;
  items[second] = i;
}

// Sorts (key, item) ascending; see bitonic.cuh.
__device__ inline void block_sort(uint64_t* keys, uint32_t* items, int count) {
  bitonic_sort(count, [&](int first, int second) { order_pair(keys, items, first, second); });
}

// How many of the sorted pairs stand before (key, item).
__device__ inline int count_before(const uint64_t* keys, const uint32_t* items, int count, uint64_t key,
                                   uint32_t item) {
  int low = 0, high = count;
  while (low < high) {
    const int middle = (low + high) / 2;
    const bool before = keys[middle] < key || (keys[middle] == key && items[middle] < item);
    if (before)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

}  // namespace fasthash
