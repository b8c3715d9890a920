// SPDX-License-Identifier: Apache-2.0
// A bitonic sort of any length by one block.
#pragma once

#include <cstdint>

#include "common/cuda.h"

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

// Sorts (key, item) ascending. Every step puts the smaller of a pair first, so that the places past `count`, up to the
// next power of two, act as infinitely large and need not exist. All threads of a one-dimensional block call it; it
// begins and ends with a barrier.
__device__ inline void block_sort(uint64_t* keys, uint32_t* items, int count) {
  __syncthreads();
  for (int size = 2; size / 2 < count; size *= 2) {
    for (int t = int(threadIdx.x);; t += int(blockDim.x)) {  // the two halves of `size`, the second one mirrored
      const int place = t & (size / 2 - 1), first = 2 * (t - place) + place;
      if (first >= count) break;
      const int second = first - place + size - 1 - place;
      if (second < count) order_pair(keys, items, first, second);
    }
    __syncthreads();
    for (int step = size / 4; step > 0; step /= 2) {
      for (int t = int(threadIdx.x);; t += int(blockDim.x)) {
        const int place = t & (step - 1), first = 2 * (t - place) + place;
        if (first >= count) break;
        if (first + step < count) order_pair(keys, items, first, first + step);
      }
      __syncthreads();
    }
  }
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
