// SPDX-License-Identifier: Apache-2.0
// A thread owns one database code and compares it with a few queries, whose words every thread of the block reads from
// the same address. Codes are read in the widest words that their addresses and their width allow.
#include <algorithm>

#include "common/cuda.h"
#include "hamming_distance/hamming_distance.h"
#include "hamming_scan/hamming_math.h"

namespace fasthash {
namespace {

constexpr int threads = 256;
constexpr int queries_per_thread = 8;
constexpr int64_t max_grid_rows = 65535;

template <class Word>
__device__ inline Word word_of(const CodeRows& rows, int64_t row, int64_t word) {
  return reinterpret_cast<const Word*>(rows.data + row * rows.stride)[word];
}

template <class Word>
__global__ void __launch_bounds__(threads) distance_kernel(HammingDistance args, int64_t words) {
  const int64_t n = int64_t(blockIdx.x) * threads + threadIdx.x;
  if (n >= args.database.count) return;
  const int64_t step = int64_t(gridDim.y) * queries_per_thread;
  for (int64_t first = int64_t(blockIdx.y) * queries_per_thread; first < args.queries.count; first += step) {
    const int64_t left = args.queries.count - first;
    const int live = int(left < queries_per_thread ? left : queries_per_thread);
    int distance[queries_per_thread] = {};
    for (int64_t w = 0; w < words; ++w) {
      const Word code = word_of<Word>(args.database.rows(), n, w);
#pragma unroll
      for (int i = 0; i < queries_per_thread; ++i)
        if (i < live) distance[i] += word_distance(code, word_of<Word>(args.queries, first + i, w));
    }
#pragma unroll
    for (int i = 0; i < queries_per_thread; ++i)
      if (i < live) args.distances[(first + i) * args.database.count + n] = distance[i];
  }
}

bool whole_words(const CodeRows& rows, int64_t bytes) {
  return reinterpret_cast<uintptr_t>(rows.data) % bytes == 0 && rows.stride % bytes == 0 && rows.width % bytes == 0;
}

template <class Word>
int launch_words(const HammingDistance& args, void* stream) {
  const dim3 grid(unsigned(ceil_div(args.database.count, threads)),
                  unsigned(std::min(ceil_div(args.queries.count, queries_per_thread), max_grid_rows)));
  return launch(distance_kernel<Word>, grid, dim3(threads), 0, static_cast<cudaStream_t>(stream), args,
                args.queries.width / int64_t(sizeof(Word)));
}

}  // namespace

int hamming_distance_cuda(const HammingDistance& args, void* stream) {
  if (whole_words(args.queries, 8) && whole_words(args.database.rows(), 8)) return launch_words<uint64_t>(args, stream);
  if (whole_words(args.queries, 4) && whole_words(args.database.rows(), 4)) return launch_words<uint32_t>(args, stream);
  return launch_words<uint8_t>(args, stream);
}

}  // namespace fasthash
