// SPDX-License-Identifier: Apache-2.0
// The count is one pass over the database: a thread counts its codes for a few queries in registers. The results are
// ranked (hamming_rank.h) with no distance beyond the radius counted. Prediction: the count is
// bound by POPC; ranking takes up to two more such passes, and additions in shared memory for codes within the radius
// only.
#include <algorithm>
#include <type_traits>

#include "common/cuda.h"
#include "hamming_range/hamming_range.h"
#include "hamming_scan/hamming_rank.h"
#include "hamming_scan/hamming_tile.cuh"

namespace fasthash {
namespace {

constexpr int threads = 256, tile_queries = 8;

template <class Words>
__global__ void __launch_bounds__(threads)
    range_count_kernel(HammingRange args, Words codes, int64_t segment_codes, int64_t* counts) {
  using Tile = QueryTile<Words, tile_queries, BlockTeam>;
  using Word = typename Words::Word;
  FH_SHARED(Word[Tile::room], memory);
  const int64_t first_query = int64_t(blockIdx.x) * tile_queries, begin = int64_t(blockIdx.y) * segment_codes;
  const int64_t past = begin + segment_codes, end = past < args.database.count ? past : args.database.count;
  Tile tile(codes, args.queries, memory);
  tile.take({nullptr, args.queries.count}, first_query);
  int32_t near[tile_queries] = {};
  for (int64_t first = begin; first < end; first += threads) {
    const int64_t n = first + threadIdx.x;
    int32_t distances[tile_queries];
    tile.distances(n < end ? n : begin, distances);
    const bool counts_here = n < end && is_allowed(args.allow, n);
#pragma unroll
    for (int i = 0; i < tile_queries; ++i) near[i] += counts_here && distances[i] <= args.radius;
  }
#pragma unroll
  for (int i = 0; i < tile_queries; ++i) {
    const int32_t sum = warp_reduce_sum(near[i]);
    if (lane_of_thread() == 0 && i < tile.live() && sum > 0)
      atomicAdd(reinterpret_cast<unsigned long long*>(&counts[first_query + i]), static_cast<unsigned long long>(sum));
  }
}

Ranking ranking_of(const HammingRange& args) {
  Ranking ranking{};
  ranking.queries = args.queries;
  ranking.database = args.database;
  ranking.ids = args.ids;
  ranking.allow = args.allow;
  ranking.most = ranking.positions = args.database.count;
  ranking.every = 1;
  ranking.cut = hamming_range_cut(args);
  return ranking;
}

}  // namespace

int hamming_range_count_cuda(const HammingRange& args, int64_t* counts, void* stream) {
  constexpr int64_t blocks = 1 << 13, least_codes = 4 * threads;
  const int64_t queries = args.queries.count, groups = ceil_div(queries, tile_queries);
  if (queries == 0) return int(cudaSuccess);
  const auto on = static_cast<cudaStream_t>(stream);
  const cudaError_t error = cudaMemsetAsync(counts, 0, size_t(queries) * sizeof(int64_t), on);
  if (error != cudaSuccess || args.database.count == 0) return int(error);
  const Segments segments = cut_segments(args.database.count, groups, blocks, least_codes, threads);
  const dim3 grid(unsigned(groups), unsigned(segments.count));
  return with_words(args.database, [&](const auto& words) {
    using Words = std::decay_t<decltype(words)>;
    return int(launch(range_count_kernel<Words>, grid, threads, 0, on, args, words, segments.codes, counts));
  });
}

int hamming_range_write_cuda(const HammingRange& args, const int64_t* order, const int64_t* offsets, int64_t total,
                             int32_t* workspace, int32_t* distances, int64_t* ids, void* stream) {
  if (total == 0) return int(cudaSuccess);
  if (args.database.count > hamming_range_cuda_max_codes) return int(cudaErrorInvalidValue);
  Ranking ranking = ranking_of(args);
  ranking.order = order;
  ranking.distances = distances;
  ranking.found = ids;
  ranking.workspace = workspace;
  const int64_t step = hamming_range_queries_at_once(args);
  for (int64_t first = 0; first < args.queries.count; first += step) {
    ranking.queries.data = args.queries.data + first * args.queries.stride;
    ranking.queries.count = ranking.list_longest = std::min(step, args.queries.count - first);
    ranking.offsets = offsets + first;
    const int error = rank_codes_cuda(ranking, stream);
    if (error != int(cudaSuccess)) return error;
  }
  return int(cudaSuccess);
}

}  // namespace fasthash
