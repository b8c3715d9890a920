// SPDX-License-Identifier: Apache-2.0
// Reductions and scans over a warp and a block. The order of the additions depends on the block's shape alone, so
// floating sums have the same bits in every run. Every thread of the warp or block must call; a block holds whole
// warps (its size is a multiple of 32).
#pragma once

#include "common/cuda.h"

namespace fasthash {

constexpr int kWarpSize = 32;
constexpr int kMaxWarps = 32;  // of a block: the scratch space that the block functions need
constexpr unsigned kFullWarp = 0xffffffffu;

struct Add {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Min {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return b < a ? b : a;
  }
};
struct Max {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a < b ? b : a;
  }
};

__device__ inline int thread_rank() {
  return static_cast<int>((threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x);
}
__device__ inline int lane_of_thread() { return thread_rank() % kWarpSize; }
__device__ inline int warp_of_thread() { return thread_rank() / kWarpSize; }
__device__ inline int warps_of_block() {
  return static_cast<int>(blockDim.x * blockDim.y * blockDim.z + kWarpSize - 1) / kWarpSize;
}

// combine(...) of all 32 values, in every lane. `combine` must commute: the two lanes of a pair see it swapped.
template <class T, class Combine>
__device__ inline T warp_reduce(T value, Combine combine) {
#pragma unroll
  for (int lanes = kWarpSize / 2; lanes > 0; lanes /= 2) {
    value = combine(value, __shfl_xor_sync(kFullWarp, value, lanes));
  }
  return value;
}

template <class T>
__device__ inline T warp_reduce_sum(T value) {
  return warp_reduce(value, Add{});
}

// The sum of the values of lanes 0..lane, in each lane.
template <class T>
__device__ inline T warp_inclusive_scan(T value) {
  const int lane = lane_of_thread();
#pragma unroll
  for (int lanes = 1; lanes < kWarpSize; lanes *= 2) {
    const T before = __shfl_up_sync(kFullWarp, value, lanes);
    if (lane >= lanes) value = before + value;
  }
  return value;
}

// combine(...) of the values of all threads, in every thread. `scratch` is shared memory for kMaxWarps values, free to
// be used again on return; `identity` stands in for the warps that the block does not have.
template <class T, class Combine>
__device__ inline T block_reduce(T value, Combine combine, T identity, T* scratch) {
  value = warp_reduce(value, combine);
  if (lane_of_thread() == 0) scratch[warp_of_thread()] = value;
  __syncthreads();
  value = lane_of_thread() < warps_of_block() ? scratch[lane_of_thread()] : identity;
  __syncthreads();
  return warp_reduce(value, combine);
}

template <class T>
__device__ inline T block_reduce_sum(T value, T* scratch) {
  return block_reduce(value, Add{}, T(0), scratch);
}

template <class T>
struct Scan {
  T before;  // the sum over the threads before this one
  T total;   // the sum over all threads of the block
};

// Exclusive prefix sum over the threads by rank. `scratch` as for block_reduce.
template <class T>
__device__ inline Scan<T> block_exclusive_scan(T value, T* scratch) {
  const int lane = lane_of_thread(), warp = warp_of_thread();
  const T upto = warp_inclusive_scan(value);
  const T before = __shfl_up_sync(kFullWarp, upto, 1);
  if (lane == kWarpSize - 1) scratch[warp] = upto;
  __syncthreads();
  const T warps_upto = warp_inclusive_scan(lane < warps_of_block() ? scratch[lane] : T(0));
  __syncthreads();
  const T warps_before = __shfl_sync(kFullWarp, warps_upto, warp == 0 ? 0 : warp - 1);
  const T total = __shfl_sync(kFullWarp, warps_upto, kWarpSize - 1);
  return {(warp == 0 ? T(0) : warps_before) + (lane == 0 ? T(0) : before), total};
}

}  // namespace fasthash
