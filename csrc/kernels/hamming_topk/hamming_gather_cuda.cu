// SPDX-License-Identifier: Apache-2.0
// A thread compares its code with up to 16 queries and looks at the database's next code; few pairs are near enough for
// a list. Many queries are bound by POPC: 1.75 T pairs/s of 64 bits on an H100 (88 % of the rate of xor, popcount and
// minimum out of registers) and .54 T of 256 bits. The database's words come once for 16 queries, and from the
// second-level cache for all but the first of the blocks that run at a time, which share a segment. A single query is
// bound by one read of the database: a thread asks for several codes before it looks at the first.
#include <type_traits>

#include "common/cuda.h"
#include "common/warp.cuh"
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
  const int64_t past = begin + segment_codes, end = past < args.positions ? past : args.positions;
  Tile tile(codes, args.queries, memory);
  tile.take({nullptr, args.queries.count}, first_query);
  int32_t reach[kQueries];
#pragma unroll
  for (int i = 0; i < kQueries; ++i) reach[i] = i < tile.live() ? args.reach_of(first_query + i) : -1;
  for (int64_t first = begin; first < end; first += kAhead * threads) {
    int32_t distances[kAhead][kQueries];
    if constexpr (kAhead == 1) {
      const int64_t n = first + threadIdx.x;
      tile.distances(args.code_at(n < end ? n : begin), distances[0]);
    } else {
      int64_t at[kAhead];
#pragma unroll
      for (int j = 0; j < kAhead; ++j)
        at[j] = args.code_at(first + j * threads + threadIdx.x < end ? first + j * threads + threadIdx.x : begin);
      tile.distances_ahead(at, distances);
    }
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      const int64_t position = first + j * threads + threadIdx.x, n = args.code_at(position);
      bool near = false;
#pragma unroll
      for (int i = 0; i < kQueries; ++i) near |= distances[j][i] <= reach[i];
      if (!near || position >= end || !is_allowed(args.allow, n)) continue;
#pragma unroll
      for (int i = 0; i < kQueries; ++i)
        if (distances[j][i] <= reach[i]) args.append(first_query + i, n, distances[j][i]);
    }
  }
}

// One query and codes of several words in the scan layout. A warp reads 256 bytes side by side: kWords words of
// 4 / kWords groups of 8 codes, a word of a code for each lane. Threads that read codes of their own, a word at a time,
// came to 62 % of the bandwidth.
template <int kWords>
__global__ void __launch_bounds__(threads)
    stream_kernel(Gathering args, PackedWords<uint64_t> codes, int64_t segment_codes) {
  constexpr int at_once = 4 / kWords, ahead = 8, warp_groups = ahead * at_once;
  constexpr int64_t block_groups = threads / kWarpSize * warp_groups;
  const int lane = lane_of_thread(), word = lane / group_codes % kWords, of_group = lane / group_codes / kWords;
  const int64_t begin = int64_t(blockIdx.y) * segment_codes, past = begin + segment_codes;
  const int64_t end = past < args.database.count ? past : args.database.count;
  const int words = int(codes.words);
  const RowWords<uint64_t, uint8_t> query{args.queries};
  const int32_t reach = args.reach_of(0);
  for (int64_t first = begin / group_codes + warp_of_thread() * warp_groups; first * group_codes < end;
       first += block_groups) {
    int32_t sum[ahead] = {};
    for (int w = 0; w < words; w += kWords) {
      uint64_t part[ahead];
#pragma unroll
      for (int j = 0; j < ahead; ++j) {
        const int64_t group = first + j * at_once + of_group;
        const int64_t known = group * group_codes < end ? group : first;
        part[j] = codes.data[(known * words + w + word) * group_codes + lane % group_codes];
      }
      const uint64_t asked = query(0, w + word);
#pragma unroll
      for (int j = 0; j < ahead; ++j) sum[j] += word_distance(part[j], asked);
    }
#pragma unroll
    for (int j = 0; j < ahead; ++j) {
#pragma unroll
      for (int other = group_codes; other < group_codes * kWords; other *= 2)
        sum[j] += __shfl_xor_sync(kFullWarp, sum[j], other);
      const int64_t n = (first + j * at_once + of_group) * group_codes + lane % group_codes;
      // Lanes of one code know the same: those of the first word speak.
      if (word == 0 && sum[j] <= reach && n < end && is_allowed(args.allow, n)) args.append(0, n, sum[j]);
    }
  }
}

template <int kWords>
cudaError_t launch_stream(const Gathering& args, const PackedWords<uint64_t>& words, cudaStream_t stream) {
  constexpr int64_t blocks = 1 << 13, least_codes = 16 * threads,
                    step = threads / kWarpSize * 8 * (4 / kWords) * group_codes;
  const Segments segments = cut_segments(args.database.count, 1, blocks, least_codes, step);
  return launch(stream_kernel<kWords>, dim3(1, unsigned(segments.count)), threads, 0, stream, args, words,
                segments.codes);
}

template <int kQueries, int kAhead, class Words>
cudaError_t launch_gather(const Gathering& args, const Words& words, cudaStream_t stream) {
  constexpr int64_t blocks = 1 << 13, least_codes = 16 * threads;
  const int64_t groups = ceil_div(args.queries.count, kQueries);
  const Segments segments = cut_segments(args.positions, groups, blocks, least_codes, kAhead * threads);
  const dim3 grid(unsigned(groups), unsigned(segments.count));
  return launch(gather_kernel<Words, kQueries, kAhead>, grid, threads, 0, stream, args, words, segments.codes);
}

}  // namespace

int gather_codes_cuda(const Gathering& args, void* stream) {
  constexpr int few = 4;
  return with_words(args.database, [&](const auto& words) {
    const auto on = static_cast<cudaStream_t>(stream);
    if constexpr (std::is_same_v<std::decay_t<decltype(words)>, PackedWords<uint64_t>>) {
      if (args.queries.count == 1 && words.words % 4 == 0) return int(launch_stream<4>(args, words, on));
      if (args.queries.count == 1 && words.words % 2 == 0) return int(launch_stream<2>(args, words, on));
    }
    if (args.queries.count == 1) return int(launch_gather<1, 8>(args, words, on));
    if (args.queries.count <= few) return int(launch_gather<few, 2>(args, words, on));
    return int(launch_gather<most_queries, 1>(args, words, on));
  });
}

}  // namespace fasthash
