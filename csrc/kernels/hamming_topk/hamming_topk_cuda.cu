// SPDX-License-Identifier: Apache-2.0
// Ranks the codes, or gathers the near ones and sorts them: see hamming_topk_plan.h. With many queries the gathering
// pass takes most of the time; of 10,000 queries against 10 M codes the sample, 1/32 of the database at about half the
// rate of the pass by POPC, and the sorting of lists took 4 and 1 ms on an H100.
#include <algorithm>

#include "common/bitonic.cuh"
#include "common/cuda.h"
#include "common/warp.cuh"
#include "hamming_scan/hamming_rank.h"
#include "hamming_topk/hamming_gather.cuh"
#include "hamming_topk/hamming_topk.h"
#include "hamming_topk/hamming_topk_plan.h"

namespace fasthash {
namespace {

constexpr int sort_threads = 512;

__device__ inline bool follows(int32_t distance, int64_t id, int32_t next_distance, int64_t next_id) {
  return distance > next_distance || (distance == next_distance && id > next_id);
}

// The distance that the k nearest of a list keep to, and in `kept` how many entries do. By the whole block; `counts` is
// shared memory for `bins` numbers.
__device__ inline int32_t bound_of_list(const int32_t* distances, int length, int64_t k, int bins, int32_t* counts,
                                        int32_t* result, int& kept) {
  for (int i = int(threadIdx.x); i < bins; i += sort_threads) counts[i] = 0;
  __syncthreads();
  for (int i = int(threadIdx.x); i < length; i += sort_threads) atomicAdd(&counts[distances[i]], 1);
  __syncthreads();
  if (warp_of_thread() == 0) {
    int32_t before = 0;
    for (int first = 0; first < bins && before < k; first += kWarpSize) {
      const int bin = first + lane_of_thread();
      const int32_t count = bin < bins ? counts[bin] : 0, upto = before + warp_inclusive_scan(count);
      if (upto >= k && upto - count < k) {
        result[0] = bin;
        result[1] = upto;
      }
      before = __shfl_sync(kFullWarp, upto, kWarpSize - 1);
    }
  }
  __syncthreads();
  kept = result[1];
  const int32_t bound = result[0];
  __syncthreads();  // before anybody writes to `counts`
  return bound;
}

// A block for each query: its list sorted, or its number put down in `unfinished` behind how many there are. Of a list
// that is longer than can be sorted only the distances of the k nearest are taken.
__global__ void __launch_bounds__(sort_threads) sort_kernel(HammingTopk args, Gathering lists, int32_t* unfinished) {
  FH_DYNAMIC_SHARED(int64_t, ids);
  FH_SHARED(int32_t[2], bound_and_kept);
  FH_SHARED(int32_t, taken);
  const int64_t query = blockIdx.x, first = query * lists.capacity;
  const int room = int(lists.sortable());
  int32_t* const distances = reinterpret_cast<int32_t*>(ids + room);
  const int listed = lists.lengths[query];
  const int32_t *all = lists.distances + first, *places = lists.places + first;
  int length = listed;
  int32_t bound = INT32_MAX;
  const bool complete = listed >= args.k && listed <= lists.capacity;
  if (complete && listed > room)
    bound = bound_of_list(all, listed, args.k, int(8 * args.database.width + 1), reinterpret_cast<int32_t*>(ids),
                          bound_and_kept, length);
  if (!complete || length > room) {
    if (threadIdx.x == 0) unfinished[1 + atomicAdd(&unfinished[0], 1)] = int32_t(query);
    return;
  }
  if (threadIdx.x == 0) taken = 0;
  __syncthreads();
  for (int i = int(threadIdx.x); i < listed; i += sort_threads) {
    if (all[i] > bound) continue;
    const int at = bound == INT32_MAX ? i : atomicAdd(&taken, 1);
    const int64_t n = places[i];
    ids[at] = args.ids == nullptr ? n : args.ids[n];
    distances[at] = all[i];
  }
  bitonic_sort(length, [&](int i, int j) {
    const int64_t id = ids[i], next_id = ids[j];
    const int32_t distance = distances[i], next_distance = distances[j];
    if (!follows(distance, id, next_distance, next_id)) return;
    ids[i] = next_id;
    ids[j] = id;
    distances[i] = next_distance;
    distances[j] = distance;
  });
  for (int64_t i = threadIdx.x; i < args.k; i += sort_threads) {
    args.distances[query * args.k + i] = distances[i];
    args.found[query * args.k + i] = ids[i];
  }
}

Ranking ranking_of(const HammingTopk& args, const int64_t* order, const HammingTopkPlan& plan, int32_t* workspace) {
  return {args.queries, args.database,       args.ids, order,    args.allow, args.k,  nullptr,           args.distances,
          args.found,   args.database.count, 1,        plan.cut, workspace,  nullptr, args.queries.count};
}

// The workspace behind what the sample's ranking leaves there.
Gathering gathering_of(const HammingTopk& args, const HammingTopkPlan& plan, int32_t* workspace,
                       const Ranking& sample) {
  int32_t* const distances = workspace + plan.queries_at_once * plan.sample.per_query();
  int32_t* const places = distances + plan.queries_at_once * plan.capacity;
  return {args.queries,
          args.database,
          args.allow,
          sample.threshold(0),
          plan.sample.per_query(),
          plan.capacity,
          distances,
          places,
          places + plan.queries_at_once * plan.capacity};
}

// Leaves in `unfinished` the queries that remain to be ranked.
cudaError_t gather(const HammingTopk& args, const HammingTopkPlan& plan, int32_t* workspace, int32_t* unfinished,
                   cudaStream_t stream) {
  Ranking sample = ranking_of(args, nullptr, plan, workspace);
  sample.cut = plan.sample;
  sample.most = plan.sample_k;
  sample.positions = plan.sample_codes;
  sample.every = plan.sample_every;
  const Gathering lists = gathering_of(args, plan, workspace, sample);
  auto error = cudaMemsetAsync(lists.lengths, 0, size_t(args.queries.count) * sizeof(int32_t), stream);
  if (error == cudaSuccess) error = cudaMemsetAsync(unfinished, 0, sizeof(int32_t), stream);
  if (error == cudaSuccess) error = cudaError_t(rank_thresholds_cuda(sample, stream));
  const auto fill = plan.tensor_cores && gathers_on_tensor_cores() ? gather_codes_tensor_cuda : gather_codes_cuda;
  if (error == cudaSuccess) error = cudaError_t(fill(lists, stream));
  if (error != cudaSuccess) return error;
  return launch(sort_kernel, unsigned(args.queries.count), sort_threads,
                size_t(lists.sortable()) * (sizeof(int64_t) + sizeof(int32_t)), stream, args, lists, unfinished);
}

cudaError_t search(const HammingTopk& args, const int64_t* order, const HammingTopkPlan& plan, int32_t* workspace,
                   cudaStream_t stream) {
  Ranking ranking = ranking_of(args, order, plan, workspace);
  if (plan.gathers()) {
    int32_t* const unfinished = workspace + plan.queries_at_once * plan.of_a_query();
    const cudaError_t error = gather(args, plan, workspace, unfinished, stream);
    if (error != cudaSuccess) return error;
    ranking.list = unfinished;
  }
  return cudaError_t(rank_codes_cuda(ranking, stream));
}

}  // namespace

int hamming_topk_cuda(const HammingTopk& args, const int64_t* order, const HammingTopkPlan& plan, int32_t* workspace,
                      void* stream) {
  cudaError_t error = cudaSuccess;
  for (int64_t first = 0; first < args.queries.count && error == cudaSuccess; first += plan.queries_at_once) {
    const int64_t count = std::min(plan.queries_at_once, args.queries.count - first);
    error = search(topk_queries(args, first, count), order, plan, workspace, static_cast<cudaStream_t>(stream));
  }
  return int(error);
}

}  // namespace fasthash
