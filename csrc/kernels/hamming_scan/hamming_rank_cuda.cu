// SPDX-License-Identifier: Apache-2.0
// Prediction: counting is bound by POPC (see hamming_tile.cuh): the one addition in shared memory
// for each pair compiles to ATOMS.POPC.INC, which adds up lanes that meet at one distance; a single query is bound by
// one read of the database, since only segments that hold a result are read again.
#include <cstdint>

#include "common/cuda.h"
#include "common/warp.cuh"
#include "hamming_scan/hamming_rank.h"
#include "hamming_scan/hamming_tile.cuh"

namespace fasthash {
namespace {

constexpr int count_threads = 256, place_threads = 512, emit_warps = 8;
constexpr int codes_ahead = 4;               // codes that a lane reads before it looks at the first of them
constexpr int64_t list_groups = 64;          // of blocks that share out the queries of a list
constexpr int64_t counts_shared = 72 << 10;  // bytes; three such blocks run on a multiprocessor of sm_90, one of sm_86

// The workspace of one query.
struct Workspace {
  __device__ Workspace(const Ranking& args, int64_t i)
      : counts(args.workspace + i * args.cut.per_query()),
        wanted(counts + args.cut.segments * args.cut.bins),
        threshold(args.threshold(i)) {}
  int32_t* counts;     // (bins, segments), later places
  int32_t* wanted;     // (segments) codes of a segment that are in the result
  int32_t* threshold;  // distance of the last code of the result
};

struct Segment {
  __device__ Segment(const Ranking& args, int64_t index) : begin(index * args.cut.segment_codes) {
    const int64_t past = begin + args.cut.segment_codes;
    end = past < args.positions ? past : args.positions;
  }
  int64_t begin, end;
};

__device__ inline int64_t code_at(const Ranking& args, int64_t position) {
  if (args.every > 1) return position / group_codes * (group_codes * args.every) + position % group_codes;
  return args.order == nullptr ? position : args.order[position];
}

// Adds up one segment for the queries of a tile, in shared memory (queries, bins) or in the workspace itself.
template <class Words, int kQueries, bool kShared>
__global__ void __launch_bounds__(count_threads) count_kernel(Ranking args, Words codes) {
  using Tile = QueryTile<Words, kQueries, BlockTeam>;
  using Word = typename Words::Word;
  FH_SHARED(Word[Tile::room], memory);
  FH_DYNAMIC_SHARED(int32_t, histograms);
  static_assert(kShared || kQueries == 1, "queries that are not there have no workspace");
  constexpr int ahead = kQueries == 1 ? codes_ahead : 1;
  const QueryList list{args.list, args.queries.count};
  const Segment segment(args, blockIdx.y);
  const int bins = int(args.cut.bins), thread = int(threadIdx.x);
  Tile tile(codes, args.queries, memory);
  for (int64_t group = blockIdx.x; group * kQueries < list.size(); group += gridDim.x) {
    tile.take(list, group * kQueries);
    const auto column = [&](int i) { return Workspace(args, group * kQueries + i).counts + blockIdx.y; };
    const auto bin = [&](int i, int distance) -> int32_t& {
      if constexpr (kShared) return histograms[i * bins + distance];
      return column(i)[distance * args.cut.segments];
    };
    for (int i = 0; i < tile.live(); ++i)
      for (int distance = thread; distance < bins; distance += count_threads) bin(i, distance) = 0;
    __syncthreads();
    for (int64_t first = segment.begin; first < segment.end; first += ahead * count_threads) {
      int64_t n[ahead];
      int32_t distances[ahead][kQueries];
#pragma unroll
      for (int j = 0; j < ahead; ++j) {
        const int64_t position = first + j * count_threads + thread;
        n[j] = position < segment.end ? code_at(args, position) : -1;
        tile.distances(n[j] < 0 ? 0 : n[j], distances[j]);
      }
#pragma unroll
      for (int j = 0; j < ahead; ++j) {
        if (n[j] < 0 || !is_allowed(args.allow, n[j])) continue;
#pragma unroll
        for (int i = 0; i < kQueries; ++i)
          if (distances[j][i] < bins) atomicAdd(&bin(i, distances[j][i]), 1);  // queries that are not there, too
      }
    }
    __syncthreads();
    if constexpr (kShared)
      for (int i = 0; i < tile.live(); ++i)
        for (int distance = thread; distance < bins; distance += count_threads)
          column(i)[distance * args.cut.segments] = bin(i, distance);
    __syncthreads();
  }
}

__device__ inline int32_t row_sum(const int32_t* row, int64_t segments) {
  int32_t sum = 0;
  for (int64_t segment = lane_of_thread(); segment < segments; segment += kWarpSize) sum += row[segment];
  return warp_reduce_sum(sum);
}

// One distance of one query: counts by segment become places from `place` on.
__device__ inline void place_row(int32_t* row, int64_t segments, int32_t place, int32_t most, int32_t* wanted) {
  for (int64_t first = 0; first < segments; first += kWarpSize) {
    const int64_t segment = first + lane_of_thread();
    const int32_t count = segment < segments ? row[segment] : 0;
    const int32_t upto = warp_inclusive_scan(count), at = place + upto - count;
    if (segment < segments) row[segment] = at;
    if (count > 0 && at < most) atomicAdd(&wanted[segment], min(count, most - at));
    place += __shfl_sync(kFullWarp, upto, kWarpSize - 1);
  }
}

__device__ inline void fill_in(const Ranking& args, int64_t query, int64_t from) {
  for (int64_t i = from + threadIdx.x; i < args.most; i += blockDim.x) {
    args.distances[query * args.most + i] = INT32_MAX;
    args.found[query * args.most + i] = -1;
  }
}

// How many codes there are at each of the next `rows` distances: a warp adds up a row, or a thread a short one.
__device__ inline void add_rows(const int32_t* counts, int64_t rows, int64_t segments, int32_t* totals) {
  for (int64_t i = warp_of_thread(); segments >= kWarpSize && i < rows; i += warps_of_block()) {
    const int32_t total = row_sum(counts + i * segments, segments);
    if (lane_of_thread() == 0) totals[i] = total;
  }
  for (int64_t i = threadIdx.x; segments < kWarpSize && i < rows; i += blockDim.x) {
    totals[i] = 0;
    for (int64_t segment = 0; segment < segments; ++segment) totals[i] += counts[i * segments + segment];
  }
}

// A few distances at a time, until the result is full.
__global__ void __launch_bounds__(place_threads) place_kernel(Ranking args, bool with_results) {
  FH_SHARED(int32_t[kMaxWarps], scratch);
  FH_SHARED(int32_t[place_threads], totals);
  FH_SHARED(int32_t[place_threads], places);
  const QueryList list{args.list, args.queries.count};
  const int64_t segments = args.cut.segments, bins = args.cut.bins;
  const int64_t step = segments < kWarpSize ? place_threads : place_threads / kWarpSize;
  const int32_t most = int32_t(args.most);
  const int thread = int(threadIdx.x);
  for (int64_t i = blockIdx.x; i < list.size(); i += gridDim.x) {
    const Workspace own(args, i);
    for (int64_t segment = thread; segment < segments; segment += place_threads) own.wanted[segment] = 0;
    int32_t before = 0;  // codes at distances below those of this step
    for (int64_t first = 0; first < bins && before < most; first += step) {
      const int64_t rows = bins - first < step ? bins - first : step;
      add_rows(own.counts + first * segments, rows, segments, totals);
      __syncthreads();
      const int32_t total = thread < rows ? totals[thread] : 0;
      const Scan<int32_t> scan = block_exclusive_scan(total, scratch);
      const int32_t place = places[thread] = before + scan.before;
      if (total > 0 && place < most && most - place <= total) *own.threshold = int32_t(first) + thread;
      before += scan.total;
      __syncthreads();
      for (int64_t row = warp_of_thread(); with_results && row < rows; row += place_threads / kWarpSize)
        if (totals[row] > 0 && places[row] < most)
          place_row(own.counts + (first + row) * segments, segments, places[row], most, own.wanted);
      __syncthreads();
    }
    if (before >= most) continue;
    if (thread == 0) *own.threshold = int32_t(bins) - 1;
    if (with_results && args.offsets == nullptr) fill_in(args, list[i], before);
  }
}

// Puts the near ones of 32 codes, one a lane, in their places; returns how many are in the result.
__device__ inline int emit_codes(const Ranking& args, int32_t* column, int64_t base, int64_t n, int32_t distance,
                                 bool near) {
  if (!__any_sync(kFullWarp, near)) return 0;
  // Lanes of equal distance take places one after the other; the first of them moves the place on.
  const unsigned equals = __match_any_sync(kFullWarp, near ? distance : -1);
  const int rank = __popc(equals & ((1u << lane_of_thread()) - 1));
  int32_t* const next = column + distance * args.cut.segments;
  const int32_t place = near ? *next + rank : INT32_MAX;
  __syncwarp();
  if (near && rank == 0) *next = place + __popc(equals);
  __syncwarp();
  const bool placed = place < args.most;
  if (placed) {
    args.distances[base + place] = distance;
    args.found[base + place] = args.ids == nullptr ? n : args.ids[n];
  }
  return __popc(__ballot_sync(kFullWarp, placed));
}

// Neighbouring warps take the same segment with different queries.
template <class Words>
__global__ void __launch_bounds__(emit_warps* kWarpSize) emit_kernel(Ranking args, Words codes) {
  using Tile = QueryTile<Words, 1, WarpTeam>;
  using Word = typename Words::Word;
  FH_SHARED(Word[emit_warps][Tile::room], memory);
  const QueryList list{args.list, args.queries.count};
  const int64_t queries = list.size(), items = queries * args.cut.segments, step = int64_t(gridDim.x) * emit_warps;
  Tile tile(codes, args.queries, memory[warp_of_thread()]);
  for (int64_t item = int64_t(blockIdx.x) * emit_warps + warp_of_thread(); item < items; item += step) {
    const int64_t i = item % queries, index = item / queries;
    const Workspace own(args, i);
    int32_t wanted = own.wanted[index];
    if (wanted == 0) continue;
    tile.take(list, i);
    const int64_t query = list[i], base = args.offsets == nullptr ? query * args.most : args.offsets[query];
    const int32_t threshold = *own.threshold;
    const Segment segment(args, index);
    for (int64_t first = segment.begin; first < segment.end && wanted > 0; first += codes_ahead * kWarpSize) {
      int64_t n[codes_ahead];
      int32_t distance[codes_ahead][1];
#pragma unroll
      for (int j = 0; j < codes_ahead; ++j) {
        const int64_t position = first + j * kWarpSize + lane_of_thread();
        n[j] = position < segment.end ? code_at(args, position) : -1;
        tile.distances(n[j] < 0 ? 0 : n[j], distance[j]);
      }
#pragma unroll
      for (int j = 0; j < codes_ahead; ++j) {
        const int32_t d = distance[j][0];
        const bool near = n[j] >= 0 && d <= threshold && is_allowed(args.allow, n[j]);
        wanted -= emit_codes(args, own.counts + index, base, n[j], d, near);
      }
    }
  }
}

template <class Words, int kQueries, bool kShared>
cudaError_t launch_count(const Ranking& args, const Words& codes, int64_t bytes, cudaStream_t stream) {
  const int64_t groups = ceil_div(args.list_longest, kQueries);
  const int64_t blocks = args.list == nullptr ? groups : std::min(groups, list_groups);
  return launch(count_kernel<Words, kQueries, kShared>, dim3(unsigned(blocks), unsigned(args.cut.segments)),
                count_threads, size_t(bytes), stream, args, codes);
}

template <class Words>
cudaError_t count(const Ranking& args, const Words& codes, cudaStream_t stream) {
  constexpr int many = 8;
  const int64_t bytes = args.cut.bins * int64_t(sizeof(int32_t));
  if (bytes > counts_shared) return launch_count<Words, 1, false>(args, codes, 0, stream);
  if (args.list_longest == 1 || many * bytes > counts_shared)
    return launch_count<Words, 1, true>(args, codes, bytes, stream);
  return launch_count<Words, many, true>(args, codes, many * bytes, stream);
}

cudaError_t place(const Ranking& args, bool with_results, cudaStream_t stream) {
  const int64_t blocks = args.list == nullptr ? args.list_longest : std::min(args.list_longest, list_groups);
  return launch(place_kernel, unsigned(blocks), place_threads, 0, stream, args, with_results);
}

template <class Words>
cudaError_t emit(const Ranking& args, const Words& codes, cudaStream_t stream) {
  constexpr int64_t most_blocks = 1 << 20, of_a_list = 1 << 12;
  const int64_t blocks = ceil_div(args.list_longest * args.cut.segments, emit_warps);
  return launch(emit_kernel<Words>, unsigned(std::min(blocks, args.list == nullptr ? most_blocks : of_a_list)),
                emit_warps * kWarpSize, 0, stream, args, codes);
}

}  // namespace

int rank_thresholds_cuda(const Ranking& args, void* stream) {
  return with_words(args.database, [&](const auto& codes) {
    const cudaError_t error = count(args, codes, static_cast<cudaStream_t>(stream));
    return int(error != cudaSuccess ? error : place(args, false, static_cast<cudaStream_t>(stream)));
  });
}

int rank_codes_cuda(const Ranking& args, void* stream) {
  return with_words(args.database, [&](const auto& codes) {
    cudaError_t error = count(args, codes, static_cast<cudaStream_t>(stream));
    if (error == cudaSuccess) error = place(args, true, static_cast<cudaStream_t>(stream));
    return int(error != cudaSuccess ? error : emit(args, codes, static_cast<cudaStream_t>(stream)));
  });
}

}  // namespace fasthash
