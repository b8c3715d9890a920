// SPDX-License-Identifier: Apache-2.0
// A block for each query and a thread for each column. A warp looks at 32 items at a time, and adds those that share a
// label one after the other.
#include "common/cuda.h"
#include "common/dispatch.h"
#include "common/warp.cuh"
#include "label_sums/label_sums.h"

namespace fasthash {
namespace {

constexpr int most_threads = 256;

__device__ inline bool related(const ItemLabels& items, const ItemLabels& queries, int64_t item, int64_t query) {
  if (items.ids != nullptr) return items.ids[item] == queries.ids[query];
  const uint8_t *a = items.bits + item * items.stride, *b = queries.bits + query * queries.stride;
  for (int64_t i = 0; i < items.bytes; ++i)
    if ((a[i] & b[i]) != 0) return true;
  return false;
}

__device__ inline double wide(int8_t x) { return x; }
template <class T>
__device__ inline double wide(T x) {
  return double(load(x));
}

template <class T>
__global__ void __launch_bounds__(most_threads) label_sums_kernel(LabelSums args) {
  const int64_t query = blockIdx.x;
  const int64_t column = int64_t(blockIdx.y) * blockDim.x + threadIdx.x;
  const T* values = static_cast<const T*>(args.values) + column;
  double sum = 0;
  int64_t count = 0;
  for (int64_t first = 0; first < args.items.count; first += kWarpSize) {
    const int64_t item = first + lane_of_thread();
    unsigned found =
        __ballot_sync(kFullWarp, item < args.items.count && related(args.items, args.queries, item, query));
    count += __popc(found);
    for (; found != 0; found &= found - 1) {
      const int64_t next = first + __ffs(int(found)) - 1;
      if (column < args.columns) sum = sum + wide(values[next * args.value_stride]);
    }
  }
  if (column < args.columns) args.sums[query * args.columns + column] = sum;
  if (column == 0) args.counts[query] = count;
}

template <class T>
cudaError_t launch_sums(const LabelSums& args, cudaStream_t stream) {
  const int64_t warps = (args.columns + kWarpSize - 1) / kWarpSize;
  const unsigned block = unsigned(warps * kWarpSize < most_threads ? warps * kWarpSize : most_threads);
  const dim3 grid(unsigned(args.queries.count), unsigned((args.columns + block - 1) / block), 1);
  return launch(label_sums_kernel<T>, grid, block, 0, stream, args);
}

}  // namespace

int label_sums_cuda(const LabelSums& args, void* stream) {
  const auto cuda_stream = static_cast<cudaStream_t>(stream);
  if (args.dtype == Dtype::int8) return int(launch_sums<int8_t>(args, cuda_stream));
  return for_float_dtype(args.dtype, [&](auto tag) { return int(launch_sums<decltype(tag)>(args, cuda_stream)); });
}

}  // namespace fasthash
