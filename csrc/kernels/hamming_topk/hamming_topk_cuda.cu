// SPDX-License-Identifier: Apache-2.0
// Three passes, without a matrix of distances. A warp counts the codes of one segment by distance to one query; a block
// turns the counts of a query into places in the result, where distance goes before segment; the warp of each segment
// scans it again and puts its codes there, by rising id. See hamming_topk_plan.h for the workspace.
#include <algorithm>

#include "common/cuda.h"
#include "common/warp.cuh"
#include "hamming_scan/hamming_words.cuh"
#include "hamming_topk/hamming_topk.h"
#include "hamming_topk/hamming_topk_plan.h"

namespace fasthash {
namespace {

constexpr int scan_warps = 4;
constexpr int place_threads = 256;

// The workspace of one query.
struct Workspace {
  int32_t* counts;     // (segments, bins), later places
  int32_t* wanted;     // (segments) codes of a segment that are in the result
  int32_t* threshold;  // distance of the k-th nearest
};
__device__ inline Workspace workspace_of(int32_t* workspace, const HammingTopkPlan& plan, int64_t query) {
  int32_t* counts = workspace + query * plan.per_query();
  int32_t* wanted = counts + plan.segments * plan.bins;
  return {counts, wanted, wanted + plan.segments};
}

// What a warp works on: one segment of the database and one query.
template <class Word>
struct Segment {
  __device__ Segment(const HammingTopk& args, const HammingTopkPlan& plan)
      : index(int64_t(blockIdx.x) * warps_of_block() + warp_of_thread()),
        begin(index * plan.segment_codes),
        end(begin + plan.segment_codes < args.database.count ? begin + plan.segment_codes : args.database.count),
        words(args.database.width / int64_t(sizeof(Word))),
        query(code_words<Word>(args.queries, blockIdx.y)) {}

  __device__ int32_t distance(const CodeRows& database, int64_t n) const {
    const Word* code = code_words<Word>(database, n);
    int32_t sum = 0;
    for (int64_t w = 0; w < words; ++w) sum += word_distance(query[w], code[w]);
    return sum;
  }

  int64_t index, begin, end, words;
  const Word* query;
};

// Counts in shared memory where it holds them, else in the workspace itself.
template <class Word>
__global__ void __launch_bounds__(scan_warps* kWarpSize)
    count_kernel(HammingTopk args, HammingTopkPlan plan, int32_t* workspace, bool in_shared) {
  FH_DYNAMIC_SHARED(int32_t, histograms);
  const Segment<Word> segment(args, plan);
  if (segment.index >= plan.segments) return;
  const Workspace own = workspace_of(workspace, plan, blockIdx.y);
  const int lane = lane_of_thread();
  int32_t* const out = own.counts + segment.index * plan.bins;
  int32_t* const counts = in_shared ? histograms + warp_of_thread() * plan.bins : out;
  for (int64_t bin = lane; bin < plan.bins; bin += kWarpSize) counts[bin] = 0;
  __syncwarp();
  for (int64_t n = segment.begin + lane; n < segment.end; n += kWarpSize)
    atomicAdd(&counts[segment.distance(args.database.rows(), n)], 1);
  __syncwarp();
  if (lane == 0) own.wanted[segment.index] = 0;
  if (!in_shared) return;
  for (int64_t bin = lane; bin < plan.bins; bin += kWarpSize) out[bin] = counts[bin];
}

// One distance of one query: counts by segment become places from `place` on.
__device__ inline void place_segments(const Workspace& own, const HammingTopkPlan& plan, int64_t distance,
                                      int32_t place, int32_t k) {
  int32_t* at = own.counts + distance;
  for (int64_t segment = 0; segment < plan.segments; ++segment, at += plan.bins) {
    const int32_t count = *at;
    *at = place;
    if (count > 0 && place < k) atomicAdd(&own.wanted[segment], min(count, k - place));
    place += count;
  }
}

__global__ void __launch_bounds__(place_threads) place_kernel(HammingTopkPlan plan, int32_t k, int32_t* workspace) {
  FH_SHARED(int32_t[kMaxWarps], scratch);
  const Workspace own = workspace_of(workspace, plan, blockIdx.x);
  int32_t before = 0;  // codes at distances below those of this step
  for (int64_t first = 0; first < plan.bins && before < k; first += place_threads) {
    const int64_t distance = first + threadIdx.x;
    int32_t total = 0;
    if (distance < plan.bins)
      for (int64_t segment = 0; segment < plan.segments; ++segment) total += own.counts[segment * plan.bins + distance];
    const Scan<int32_t> scan = block_exclusive_scan(total, scratch);
    const int32_t place = before + scan.before;
    if (distance < plan.bins) place_segments(own, plan, distance, place, k);
    if (place < k && k <= place + total) *own.threshold = int32_t(distance);
    before += scan.total;
  }
}

template <class Word>
__global__ void __launch_bounds__(scan_warps* kWarpSize)
    emit_kernel(HammingTopk args, HammingTopkPlan plan, int32_t* workspace) {
  const Segment<Word> segment(args, plan);
  if (segment.index >= plan.segments) return;
  const Workspace own = workspace_of(workspace, plan, blockIdx.y);
  const int lane = lane_of_thread();
  const int32_t threshold = *own.threshold;
  int32_t* const places = own.counts + segment.index * plan.bins;
  int32_t wanted = own.wanted[segment.index];
  for (int64_t first = segment.begin; first < segment.end && wanted > 0; first += kWarpSize) {
    const int64_t n = first + lane;
    const int32_t distance = n < segment.end ? segment.distance(args.database.rows(), n) : INT32_MAX;
    const bool near = distance <= threshold;
    if (!__any_sync(kFullWarp, near)) continue;
    // Lanes of equal distance take places one after the other; the first of them moves the place on.
    const unsigned equals = __match_any_sync(kFullWarp, near ? distance : -1);
    const int rank = __popc(equals & ((1u << lane) - 1));
    const int32_t place = near ? places[distance] + rank : INT32_MAX;
    __syncwarp();
    if (near && rank == 0) places[distance] += __popc(equals);
    __syncwarp();
    const bool placed = place < args.k;
    if (placed) {
      args.distances[int64_t(blockIdx.y) * args.k + place] = distance;
      args.found[int64_t(blockIdx.y) * args.k + place] = n;
    }
    wanted -= __popc(__ballot_sync(kFullWarp, placed));
  }
}

// Warps of a block, and whether their histograms fit into its shared memory.
struct CountShape {
  int warps;
  bool in_shared;
  size_t shared_bytes;
};
CountShape count_shape(int64_t bins) {
  const int64_t bytes = bins * int64_t(sizeof(int32_t)), fitting = int64_t(kDefaultSharedBytes) / bytes;
  if (fitting == 0) return {scan_warps, false, 0};
  const int warps = int(std::min<int64_t>(fitting, scan_warps));
  return {warps, true, size_t(warps * bytes)};
}

template <class Word>
cudaError_t search_tile(const HammingTopk& args, const HammingTopkPlan& plan, int32_t* workspace, cudaStream_t stream) {
  const unsigned queries = unsigned(args.queries.count);
  const auto grid = [&](int warps) { return dim3(unsigned(ceil_div(plan.segments, warps)), queries); };
  const CountShape shape = count_shape(plan.bins);
  cudaError_t error = launch(count_kernel<Word>, grid(shape.warps), shape.warps * kWarpSize, shape.shared_bytes, stream,
                             args, plan, workspace, shape.in_shared);
  if (error != cudaSuccess) return error;
  error = launch(place_kernel, queries, place_threads, 0, stream, plan, int32_t(args.k), workspace);
  if (error != cudaSuccess) return error;
  return launch(emit_kernel<Word>, grid(scan_warps), scan_warps * kWarpSize, 0, stream, args, plan, workspace);
}

}  // namespace

int hamming_topk_cuda(const HammingTopk& args, const HammingTopkPlan& plan, int32_t* workspace, void* stream) {
  return for_word(args.queries, args.database.rows(), [&](auto word) {
    cudaError_t error = cudaSuccess;
    for (int64_t first = 0; first < args.queries.count && error == cudaSuccess; first += plan.queries_at_once) {
      const int64_t count = std::min(plan.queries_at_once, args.queries.count - first);
      error = search_tile<decltype(word)>(topk_queries(args, first, count), plan, workspace,
                                          static_cast<cudaStream_t>(stream));
    }
    return int(error);
  });
}

}  // namespace fasthash
