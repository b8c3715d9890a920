// SPDX-License-Identifier: Apache-2.0
// A bitonic sort of any length by one block, over whatever order_pair(first, second) puts in order: it compares two
// places, first < second, and swaps what they hold where it stands the wrong way round.
#pragma once

#include "common/cuda.h"

namespace fasthash {

// Every step puts the smaller of a pair first, so that the places past `count`, up to the next power of two, act as
// infinitely large and need not exist. All threads of a one-dimensional block call it; it begins and ends with a
// barrier.
template <class OrderPair>
__device__ inline void bitonic_sort(int count, OrderPair&& order_pair) {
  __syncthreads();
  for (int size = 2; size / 2 < count; size *= 2) {
    for (int t = int(threadIdx.x);; t += int(blockDim.x)) {  // the two halves of `size`, the second one mirrored
      const int place = t & (size / 2 - 1), first = 2 * (t - place) + place;
      if (first >= count) break;
      const int second = first - place + size - 1 - place;
      if (second < count) order_pair(first, second);
    }
    __syncthreads();
    for (int step = size / 4; step > 0; step /= 2) {
      for (int t = int(threadIdx.x);; t += int(blockDim.x)) {
        const int place = t & (step - 1), first = 2 * (t - place) + place;
        if (first >= count) break;
        if (first + step < count) order_pair(first, first + step);
      }
      __syncthreads();
    }
  }
}

}  // namespace fasthash
