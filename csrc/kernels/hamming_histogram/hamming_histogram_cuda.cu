// SPDX-License-Identifier: Apache-2.0
// One thread for each query and code, one atomic addition for each count. Not run on a device.
#include <algorithm>

#include "common/cuda.h"
#include "hamming_histogram/hamming_histogram.h"
#include "hamming_histogram/hamming_histogram_math.h"
#include "hamming_scan/hamming_math.h"

namespace fasthash {
namespace {

constexpr int threads = 256;
constexpr int64_t max_grid_rows = 65535;

// Byte i of code n.
__device__ inline uint8_t byte_of(const Database& database, int64_t n, int64_t i) {
  if (!database.packed()) return database.data[n * database.stride + i];
  const int64_t bytes = word_bytes(database.width);
  return database.data[packed_place(database.width, n, i / bytes) + i % bytes];
}

__device__ inline void add_one(int64_t* count) { atomicAdd(reinterpret_cast<unsigned long long*>(count), 1ull); }

__global__ void __launch_bounds__(threads) histogram_kernel(HammingHistogram args) {
  const int64_t n = int64_t(blockIdx.x) * threads + threadIdx.x;
  if (n >= args.database.count) return;
  const int64_t width = args.database.width, bins = 8 * width + 1;
  for (int64_t q = blockIdx.y; q < args.queries.count; q += gridDim.y) {
    int64_t distance = 0;
    for (int64_t i = 0; i < width; ++i)
      distance += word_distance(args.queries.data[q * args.queries.stride + i], byte_of(args.database, n, i));
    add_one(args.total + q * bins + distance);
    if (args.relevant && is_relevant(args.query_labels, q, args.database_labels, n))
      add_one(args.relevant + q * bins + distance);
  }
}

}  // namespace

int hamming_histogram_cuda(const HammingHistogram& args, void* stream) {
  const dim3 grid(unsigned(ceil_div(args.database.count, threads)),
                  unsigned(std::min(args.queries.count, max_grid_rows)));
  return launch(histogram_kernel, grid, dim3(threads), 0, static_cast<cudaStream_t>(stream), args);
}

}  // namespace fasthash
