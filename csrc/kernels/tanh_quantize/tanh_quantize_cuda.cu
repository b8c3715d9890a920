// SPDX-License-Identifier: Apache-2.0
// One thread handles a group of up to eight neighbouring bits of one row, which is one byte of packed codes. The
// penalty is summed in a fixed order: per thread, per block into `partials`, then over the blocks by one last block.
#include <algorithm>

#include "common/cuda.h"
#include "common/dispatch.h"
#include "common/warp.cuh"
#include "tanh_quantize/tanh_quantize.h"
#include "tanh_quantize/tanh_quantize_math.h"

namespace fasthash {
namespace {

constexpr int group = 8;
constexpr int threads = 256;

struct Groups {
  int64_t per_row, count;
};
Groups groups_of(int64_t rows, int64_t bits) {
  const int64_t per_row = (bits + group - 1) / group;
  return {per_row, per_row * rows};
}

// Depends on the shape alone, so that sums are the same on every GPU.
unsigned grid_of(int64_t count) {
  return unsigned(std::min<int64_t>((count + threads - 1) / threads, tanh_quantize_cuda_partials));
}

__device__ inline double sharpness_of(double value, const float* on_device) {
  return on_device ? double(*on_device) : value;
}

// Eight elements side by side: vector loads and stores where the address allows it, else one by one.
template <class T>
struct alignas(sizeof(T) * group < 16 ? sizeof(T) * group : 16) Pack {
  T at[group];
};

template <class T>
__device__ inline void load_group(const T* from, int live, bool aligned, T (&to)[group]) {
  if (aligned && live == group) {
    const Pack<T> pack = *reinterpret_cast<const Pack<T>*>(from);
#pragma unroll
    for (int i = 0; i < group; ++i) to[i] = pack.at[i];
    return;
  }
  for (int i = 0; i < live; ++i) to[i] = from[i];
}

template <class T>
__device__ inline void store_group(T* to, int live, bool aligned, const T (&from)[group]) {
  if (aligned && live == group) {
    Pack<T> pack;
#pragma unroll
    for (int i = 0; i < group; ++i) pack.at[i] = from[i];
    *reinterpret_cast<Pack<T>*>(to) = pack;
    return;
  }
  for (int i = 0; i < live; ++i) to[i] = from[i];
}

template <class T>
bool vector_access(const void* base, int64_t row_stride) {
  constexpr size_t bytes = alignof(Pack<T>);
  return reinterpret_cast<uintptr_t>(base) % bytes == 0 && (row_stride * sizeof(T)) % bytes == 0;
}

template <class T>
__global__ void __launch_bounds__(threads)
    forward_kernel(TanhQuantizeForward args, int64_t groups, int64_t groups_per_row, bool aligned) {
  using C = Compute<T>;
  FH_SHARED(double[kMaxWarps], scratch);
  const C sharpness = C(sharpness_of(args.sharpness, args.sharpness_on_device));
  double sum = 0;
  for (int64_t g = int64_t(blockIdx.x) * threads + threadIdx.x; g < groups; g += int64_t(gridDim.x) * threads) {
    const int64_t row = g / groups_per_row, first = (g - row * groups_per_row) * group;
    const int live = int(args.bits - first < group ? args.bits - first : group);
    T z[group], h[group];
    load_group(static_cast<const T*>(args.logits) + row * args.row_stride + first, live, aligned, z);
    unsigned byte = 0;
    C group_sum = C(0);
#pragma unroll
    for (int i = 0; i < group; ++i) {
      if (i >= live) break;
      const C logit = load(z[i]);
      const C code = tanh(sharpness * logit);
      h[i] = Store<T>::from(code);
      if (args.penalty != Penalty::none) group_sum += penalty_value(code, args.penalty);
      byte |= unsigned(logit >= C(0)) << (7 - i);
      if (args.saturation && fabs(code) > C(args.threshold))
        atomicAdd(reinterpret_cast<unsigned long long*>(args.saturation) + first + i, 1ull);
    }
    sum += double(group_sum);
    store_group(static_cast<T*>(args.codes) + row * args.bits + first, live, aligned, h);
    if (args.packed) args.packed[g] = uint8_t(byte);
  }
  if (args.penalty == Penalty::none) return;
  sum = block_reduce_sum(sum, scratch);
  if (threadIdx.x == 0) args.partials[blockIdx.x] = sum;
}

template <class Wide>
__global__ void __launch_bounds__(threads) mean_kernel(const double* partials, int count, double elements, Wide* mean) {
  FH_SHARED(double[kMaxWarps], scratch);
  double sum = 0;
  for (int i = threadIdx.x; i < count; i += threads) sum += partials[i];
  sum = block_reduce_sum(sum, scratch);
  if (threadIdx.x == 0) *mean = Wide(sum / elements);
}

template <class T>
__global__ void __launch_bounds__(threads)
    backward_kernel(TanhQuantizeBackward args, int64_t groups, int64_t groups_per_row, bool aligned) {
  using C = Compute<T>;
  const C sharpness = C(sharpness_of(args.sharpness, args.sharpness_on_device));
  C grad_penalty = C(0);
  if (args.grad_penalty)
    grad_penalty = C(double(*static_cast<const C*>(args.grad_penalty)) / (double(args.rows) * double(args.bits)));
  for (int64_t g = int64_t(blockIdx.x) * threads + threadIdx.x; g < groups; g += int64_t(gridDim.x) * threads) {
    const int64_t row = g / groups_per_row, first = (g - row * groups_per_row) * group;
    const int live = int(args.bits - first < group ? args.bits - first : group);
    T z[group], grad[group], out[group];
    load_group(static_cast<const T*>(args.logits) + row * args.row_stride + first, live, aligned, z);
    if (args.grad_codes)
      load_group(static_cast<const T*>(args.grad_codes) + row * args.bits + first, live, aligned, grad);
#pragma unroll
    for (int i = 0; i < group; ++i) {
      if (i >= live) break;
      const C grad_code = args.grad_codes ? C(load(grad[i])) : C(0);
      out[i] = Store<T>::from(
          tanh_quantize_gradient<C>(load(z[i]), grad_code, grad_penalty, sharpness, args.penalty, args.rule));
    }
    store_group(static_cast<T*>(args.grad_logits) + row * args.bits + first, live, aligned, out);
  }
}

template <class T>
cudaError_t launch_forward(const TanhQuantizeForward& args, void* penalty_mean, cudaStream_t stream) {
  const Groups groups = groups_of(args.rows, args.bits);
  const bool aligned = vector_access<T>(args.logits, args.row_stride) && vector_access<T>(args.codes, args.bits);
  const unsigned grid = grid_of(groups.count);
  const cudaError_t error =
      launch(forward_kernel<T>, grid, threads, 0, stream, args, groups.count, groups.per_row, aligned);
  if (error != cudaSuccess || args.penalty == Penalty::none) return error;
  using Wide = Compute<T>;
  const double elements = double(args.rows) * double(args.bits);
  return launch(mean_kernel<Wide>, 1, threads, 0, stream, args.partials, int(grid), elements,
                static_cast<Wide*>(penalty_mean));
}

template <class T>
cudaError_t launch_backward(const TanhQuantizeBackward& args, cudaStream_t stream) {
  const Groups groups = groups_of(args.rows, args.bits);
  const bool aligned = vector_access<T>(args.logits, args.row_stride) &&
                       vector_access<T>(args.grad_logits, args.bits) &&
                       (!args.grad_codes || vector_access<T>(args.grad_codes, args.bits));
  return launch(backward_kernel<T>, grid_of(groups.count), threads, 0, stream, args, groups.count, groups.per_row,
                aligned);
}

}  // namespace

int tanh_quantize_cuda(const TanhQuantizeForward& args, void* penalty_mean, void* stream) {
  return for_float_dtype(args.dtype, [&](auto tag) {
    return int(launch_forward<decltype(tag)>(args, penalty_mean, static_cast<cudaStream_t>(stream)));
  });
}

int tanh_quantize_backward_cuda(const TanhQuantizeBackward& args, void* stream) {
  return for_float_dtype(args.dtype, [&](auto tag) {
    return int(launch_backward<decltype(tag)>(args, static_cast<cudaStream_t>(stream)));
  });
}

}  // namespace fasthash
