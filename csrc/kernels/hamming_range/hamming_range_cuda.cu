// SPDX-License-Identifier: Apache-2.0
// One thread for each query: it counts, then writes by rising distance, one scan of the database for each. Not run on a
// device.
#include "common/cuda.h"
#include "hamming_range/hamming_range.h"
#include "hamming_scan/allow.h"
#include "hamming_scan/hamming_math.h"

namespace fasthash {
namespace {

constexpr int threads = 32;

// Byte i of code n.
__device__ inline uint8_t byte_of(const Database& database, int64_t n, int64_t i) {
  if (!database.packed()) return database.data[n * database.stride + i];
  const int64_t bytes = word_bytes(database.width);
  return database.data[packed_place(database.width, n, i / bytes) + i % bytes];
}

// The distance of a code to be found, else -1.
__device__ inline int64_t distance_of(const HammingRange& args, int64_t q, int64_t n) {
  if (!is_allowed(args.allow, n)) return -1;
  int64_t distance = 0;
  for (int64_t i = 0; i < args.database.width; ++i)
    distance += word_distance(args.queries.data[q * args.queries.stride + i], byte_of(args.database, n, i));
  return distance <= args.radius ? distance : -1;
}

__global__ void __launch_bounds__(threads) count_kernel(HammingRange args, int64_t* counts) {
  const int64_t q = int64_t(blockIdx.x) * threads + threadIdx.x;
  if (q >= args.queries.count) return;
  int64_t found = 0;
  for (int64_t n = 0; n < args.database.count; ++n) found += distance_of(args, q, n) >= 0;
  counts[q] = found;
}

__global__ void __launch_bounds__(threads)
    write_kernel(HammingRange args, const int64_t* order, const int64_t* offsets, int32_t* distances, int64_t* ids) {
  const int64_t q = int64_t(blockIdx.x) * threads + threadIdx.x;
  if (q >= args.queries.count) return;
  int64_t place = offsets[q];
  for (int64_t distance = 0; place < offsets[q + 1]; ++distance) {
    for (int64_t i = 0; i < args.database.count; ++i) {
      const int64_t n = order ? order[i] : i;
      if (distance_of(args, q, n) != distance) continue;
      distances[place] = int32_t(distance);
      ids[place++] = args.ids ? args.ids[n] : n;
    }
  }
}

dim3 grid_of(const HammingRange& args) { return dim3(unsigned(ceil_div(args.queries.count, threads))); }

}  // namespace

int64_t hamming_range_workspace(const HammingRange&, int64_t) { return 0; }

int hamming_range_count_cuda(const HammingRange& args, int64_t* counts, void* stream) {
  return launch(count_kernel, grid_of(args), dim3(threads), 0, static_cast<cudaStream_t>(stream), args, counts);
}

int hamming_range_write_cuda(const HammingRange& args, const int64_t* order, const int64_t* offsets, int64_t, int32_t*,
                             int32_t* distances, int64_t* ids, void* stream) {
  return launch(write_kernel, grid_of(args), dim3(threads), 0, static_cast<cudaStream_t>(stream), args, order, offsets,
                distances, ids);
}

}  // namespace fasthash
