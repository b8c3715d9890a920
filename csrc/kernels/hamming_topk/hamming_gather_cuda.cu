// SPDX-License-Identifier: Apache-2.0
// A thread compares its code with up to 16 queries and looks at the database's next code; few pairs are near enough for
// a list. Many queries are bound by POPC: 1.75 T pairs/s of 64 bits on an H100 (88 % of the rate of xor, popcount and
// minimum out of registers) and .54 T of 256 bits. The database's words come once for 16 queries, and from the
// second-level cache for all but the first of the blocks that run at a time, which share a segment. A single query is
// bound by one read of the database: a thread asks for several codes before it looks at the first.
#include <type_traits>

#include "common/cuda.h"
#include "hamming_scan/hamming_tile.cuh"
#include "hamming_topk/hamming_gather.cuh"

namespace fasthash {
namespace {

constexpr int threads = 256, most_queries = 16;

// kAhead codes of a thread are read side by side.
template <class Words, int kQueries, int kAhead>
__global__ void __launch_bounds__(threads) gather_kernel(Gathering args, Words codes, int64_t segment_codes) {
  using Tile = QueryTile<Words, kQueries, BlockTeam>;
  using Word = typename Words::Word;
  FH_SHARED(Word[Tile::room], memory);
  const int64_t first_query = int64_t(blockIdx.x) * kQueries, begin = int64_t(blockIdx.y) * segment_codes;
  const int64_t past = begin + segment_codes, end = past < args.database.count ? past : args.database.count;
  Tile tile(codes, args.queries, memory);
  tile.take({nullptr, args.queries.count}, first_query);
  int32_t reach[kQueries];
#pragma unroll
  for (int i = 0; i < kQueries; ++i) reach[i] = i < tile.live() ? args.reach_of(first_query + i) : -1;
  for (int64_t first = begin; first < end; first += kAhead * threads) {
    int32_t distances[kAhead][kQueries];
    if constexpr (kAhead == 1) {
      const int64_t n = first + threadIdx.x;
      tile.distances(n < end ? n : begin, distances[0]);
    } else {
      int64_t at[kAhead];
#pragma unroll
      for (int j = 0; j < kAhead; ++j)
        at[j] = first + j * threads + threadIdx.x < end ? first + j * threads + threadIdx.x : begin;
      tile.distances_ahead(at, distances);
    }
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      const int64_t n = first + j * threads + threadIdx.x;
      bool near = false;
#pragma unroll
      for (int i = 0; i < kQueries; ++i) near |= distances[j][i] <= reach[i];
      if (!near || n >= end || !is_allowed(args.allow, n)) continue;
#pragma unroll
      for (int i = 0; i < kQueries; ++i)
        if (distances[j][i] <= reach[i]) args.append(first_query + i, n, distances[j][i]);
    }
  }
}

template <int kQueries, int kAhead, class Words>
cudaError_t launch_gather(const Gathering& args, const Words& words, cudaStream_t stream) {
  constexpr int64_t blocks = 1 << 13, least_codes = 16 * threads;
  const int64_t groups = ceil_div(args.queries.count, kQueries);
  const Segments segments = cut_segments(args.database.count, groups, blocks, least_codes, kAhead * threads);
  const dim3 grid(unsigned(groups), unsigned(segments.count));
  return launch(gather_kernel<Words, kQueries, kAhead>, grid, threads, 0, stream, args, words, segments.codes);
}

}  // namespace

int gather_codes_cuda(const Gathering& args, void* stream) {
  constexpr int few = 4;
  return with_words(args.database, [&](const auto& words) {
    const auto on = static_cast<cudaStream_t>(stream);
    if (args.queries.count == 1) return int(launch_gather<1, 8>(args, words, on));
    if (args.queries.count <= few) return int(launch_gather<few, 2>(args, words, on));
    return int(launch_gather<most_queries, 1>(args, words, on));
  });
}

}  // namespace fasthash
