// SPDX-License-Identifier: Apache-2.0
// A thread for each row, its codes in a column of shared memory; the Gram matrix comes through the first cache, the
// same four numbers for all threads. Prediction: 50,000 rows of 48 bits take tens of microseconds, most of them waiting
// for one addition after the other.
#include <algorithm>
#include <limits>

#include "common/cuda.h"
#include "common/dispatch.h"
#include "common/warp.cuh"
#include "discrete_code_update/discrete_code_update.h"
#include "discrete_code_update/discrete_code_update_math.h"

namespace fasthash {
namespace {

constexpr int gram_threads = 128;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// What lies in the workspace, in this order.
struct Workspace {
  Four* gram;     // (padded / 4, padded)
  double* parts;  // (parts, K, K)
  float* bound;   // (padded)
};
Workspace workspace_of(const DiscreteCodeUpdate& args, void* room) {
  const int64_t padded = padded_bits(args.bits);
  double* parts = reinterpret_cast<double*>(static_cast<float*>(room) + padded * padded);
  return {static_cast<Four*>(room), parts,
          reinterpret_cast<float*>(parts + gram_parts(args.samples) * args.bits * args.bits)};
}

// One block for a part and a k; a thread for each l <= k.
template <class T>
__global__ void __launch_bounds__(gram_threads) part_kernel(DiscreteCodeUpdate args, int64_t part_rows, double* parts) {
  const int64_t k = blockIdx.x, begin = int64_t(blockIdx.y) * part_rows;
  const int64_t past = begin + part_rows, end = past < args.samples ? past : args.samples;
  const T* relaxed = static_cast<const T*>(args.relaxed);
  for (int64_t l = threadIdx.x; l <= k; l += gram_threads) {
    double sum = 0;
    for (int64_t i = begin; i < end; ++i) {
      const T* row = relaxed + i * args.relaxed_stride;
      sum += double(float(load(row[k]))) * double(float(load(row[l])));  // the product is exact, fused or not
    }
    parts[(int64_t(blockIdx.y) * args.bits + k) * args.bits + l] = sum;
  }
}

__device__ inline float gram_entry(const double* parts, int64_t count, int64_t bits, int64_t k, int64_t l) {
  const int64_t at = k > l ? k * bits + l : l * bits + k;
  double sum = 0;
  for (int64_t part = 0; part < count; ++part) sum += parts[part * bits * bits + at];
  return float(sum);
}

// One block for each k up to the padded number of bits. The bound is summed by one thread, in order.
__global__ void __launch_bounds__(gram_threads)
    gram_kernel(const double* parts, int64_t count, DescentView descent, Four* gram, float* bound, float infinity) {
  FH_SHARED(double[most_code_bits], magnitudes);
  const int64_t k = blockIdx.x, bits = descent.bits;
  Four* row = gram + k / bits_together * descent.padded;
  for (int64_t l = threadIdx.x; l < descent.padded; l += gram_threads) {
    const float g = k < bits && l < bits ? gram_entry(parts, count, bits, k, l) : 0.0f;
    row[l].at[k % bits_together] = l == k ? 0.0f : -g;
    magnitudes[l] = double(fabsf(g));
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  double magnitude = 0;
  for (int64_t l = 0; l < bits; ++l) magnitude += magnitudes[l];
  bound[k] = k < bits ? float(double(descent.relative) * magnitude) : infinity;
}

// This thread's column of codes (padded, threads).
struct CodeColumn {
  float* values;
  int stride;
  __device__ float at(int64_t l) const { return values[l * stride]; }
  __device__ void set(int64_t l, float value) const { values[l * stride] = value; }
};

__global__ void descent_kernel(DiscreteCodeUpdate args, DescentView descent) {
  FH_DYNAMIC_SHARED(float, all);
  const int64_t row = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  int64_t changed = 0;
  if (row < args.rows) {
    const CodeColumn codes{all + threadIdx.x, int(blockDim.x)};
    const int8_t* from = args.codes + row * args.code_stride;
    int8_t* to = args.updated + row * args.bits;
    for (int64_t k = 0; k < descent.padded; ++k) codes.set(k, k < args.bits && from[k] < 0 ? -1.0f : 1.0f);
    descend_row(codes, descent, args.targets + args.target_of[row] * args.target_stride, args.sweeps);
    for (int64_t k = 0; k < args.bits; ++k) {
      to[k] = int8_t(codes.at(k));
      changed += (to[k] < 0) != (from[k] < 0);
    }
  }
  changed = warp_reduce_sum(changed);
  if (lane_of_thread() == 0 && changed != 0)
    atomicAdd(reinterpret_cast<unsigned long long*>(args.changed), static_cast<unsigned long long>(changed));
}

template <class T>
cudaError_t launch_update(const DiscreteCodeUpdate& args, const Workspace& work, cudaStream_t stream) {
  const int64_t padded = padded_bits(args.bits), parts = gram_parts(args.samples);
  const DescentView descent{work.gram, work.bound, args.bits, padded, relative_bound(args.bits)};
  cudaError_t error = launch(part_kernel<T>, dim3(unsigned(args.bits), unsigned(parts), 1), gram_threads, 0, stream,
                             args, gram_part_rows(args.samples), work.parts);
  if (error != cudaSuccess) return error;
  error = launch(gram_kernel, unsigned(padded), gram_threads, 0, stream, work.parts, parts, descent, work.gram,
                 work.bound, std::numeric_limits<float>::infinity());
  if (error != cudaSuccess) return error;
  const unsigned threads = padded <= 512 ? 64 : 32;  // at most 128 KiB of codes
  return launch(descent_kernel, unsigned(ceil_div(args.rows, threads)), threads,
                size_t(padded) * threads * sizeof(float), stream, args, descent);
}

}  // namespace

int discrete_code_update_cuda(const DiscreteCodeUpdate& args, void* workspace, void* stream) {
  const Workspace work = workspace_of(args, workspace);
  return for_float_dtype(args.dtype, [&](auto tag) {
    return int(launch_update<decltype(tag)>(args, work, static_cast<cudaStream_t>(stream)));
  });
}

}  // namespace fasthash
