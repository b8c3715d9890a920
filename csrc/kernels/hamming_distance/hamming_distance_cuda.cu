// SPDX-License-Identifier: Apache-2.0
// A thread owns one database code and compares it with a few queries in shared memory. Prediction: bound by the writing
// of 4 bytes a pair up to 256 bits, by POPC beyond.
#include <algorithm>
#include <type_traits>

#include "common/cuda.h"
#include "hamming_distance/hamming_distance.h"
#include "hamming_scan/hamming_tile.cuh"

namespace fasthash {
namespace {

constexpr int threads = 256;
constexpr int tile_queries = 8;
constexpr int64_t max_grid_rows = 65535;

template <class Words>
__global__ void __launch_bounds__(threads) distance_kernel(HammingDistance args, Words codes) {
  using Tile = QueryTile<Words, tile_queries, BlockTeam>;
  using Word = typename Words::Word;
  FH_SHARED(Word[Tile::room], memory);
  const int64_t n = int64_t(blockIdx.x) * threads + threadIdx.x;
  const bool inside = n < args.database.count;
  Tile tile(codes, args.queries, memory);
  const int64_t step = int64_t(gridDim.y) * tile_queries;
  for (int64_t first = int64_t(blockIdx.y) * tile_queries; first < args.queries.count; first += step) {
    tile.take({nullptr, args.queries.count}, first);
    int32_t distances[tile_queries];
    tile.distances(inside ? n : 0, distances);
#pragma unroll
    for (int i = 0; i < tile_queries; ++i)
      if (inside && i < tile.live()) args.distances[(first + i) * args.database.count + n] = distances[i];
  }
}

}  // namespace

int hamming_distance_cuda(const HammingDistance& args, void* stream) {
  const dim3 grid(unsigned(ceil_div(args.database.count, threads)),
                  unsigned(std::min(ceil_div(args.queries.count, tile_queries), max_grid_rows)));
  return with_words(args.database, [&](const auto& codes) {
    using Words = std::decay_t<decltype(codes)>;
    return int(launch(distance_kernel<Words>, grid, threads, 0, static_cast<cudaStream_t>(stream), args, codes));
  });
}

}  // namespace fasthash
