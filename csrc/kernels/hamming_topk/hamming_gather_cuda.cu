// SPDX-License-Identifier: Apache-2.0
// A thread compares its code with 16 queries and looks at the database's next code; few pairs are near enough for a
// list. Not run on a device. Prediction: bound by POPC, at 132 * 16 / cycle 1.9 T pairs/s of 64 bits and 0.6 T of 256
// on an H200, while the database's words come once for 16 queries, and from the second-level cache for all but the
// first of the blocks that run at a time, which share a segment.
#include <type_traits>

#include "common/cuda.h"
#include "hamming_scan/hamming_tile.cuh"
#include "hamming_topk/hamming_gather.cuh"

namespace fasthash {
namespace {

constexpr int threads = 256, tile_queries = 16;

template <class Words>
__global__ void __launch_bounds__(threads) gather_kernel(Gathering args, Words codes, int64_t segment_codes) {
  using Tile = QueryTile<Words, tile_queries, BlockTeam>;
  using Word = typename Words::Word;
  FH_SHARED(Word[Tile::room], memory);
  const int64_t first_query = int64_t(blockIdx.x) * tile_queries, begin = int64_t(blockIdx.y) * segment_codes;
  const int64_t past = begin + segment_codes, end = past < args.database.count ? past : args.database.count;
  Tile tile(codes, args.queries, memory);
  tile.take({nullptr, args.queries.count}, first_query);
  int32_t reach[tile_queries];
#pragma unroll
  for (int i = 0; i < tile_queries; ++i) reach[i] = i < tile.live() ? args.reach_of(first_query + i) : -1;
  for (int64_t first = begin; first < end; first += threads) {
    const int64_t n = first + threadIdx.x;
    int32_t distances[tile_queries];
    tile.distances(n < end ? n : begin, distances);
    bool near = false;
#pragma unroll
    for (int i = 0; i < tile_queries; ++i) near |= distances[i] <= reach[i];
    if (!near || n >= end || !is_allowed(args.allow, n)) continue;
#pragma unroll
    for (int i = 0; i < tile_queries; ++i)
      if (distances[i] <= reach[i]) args.append(first_query + i, n, distances[i]);
  }
}

}  // namespace

int gather_codes_cuda(const Gathering& args, void* stream) {
  constexpr int64_t blocks = 1 << 13, least_codes = 16 * threads;
  const int64_t groups = ceil_div(args.queries.count, tile_queries);
  const Segments segments = cut_segments(args.database.count, groups, blocks, least_codes, threads);
  const dim3 grid(unsigned(groups), unsigned(segments.count));
  return with_words(args.database, [&](const auto& words) {
    using Words = std::decay_t<decltype(words)>;
    return int(
        launch(gather_kernel<Words>, grid, threads, 0, static_cast<cudaStream_t>(stream), args, words, segments.codes));
  });
}

}  // namespace fasthash
