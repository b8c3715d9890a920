// SPDX-License-Identifier: Apache-2.0
// Ranks the codes, or gathers the near ones and sorts them: see hamming_topk_plan.h. Not run on a device. Prediction
// for many queries: the gathering pass takes nine tenths of the time; the sample, 1/32 or 1/16 of the database at about
// twice the effort of a pair, and the sorting of lists the rest.
#include <algorithm>

#include "common/bitonic.cuh"
#include "common/cuda.h"
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

// A block for each query: its list sorted, or its number put down in `unfinished` behind how many there are.
__global__ void __launch_bounds__(sort_threads) sort_kernel(HammingTopk args, Gathering lists, int32_t* unfinished) {
  FH_DYNAMIC_SHARED(int64_t, ids);
  int32_t* const distances = reinterpret_cast<int32_t*>(ids + lists.capacity);
  const int64_t query = blockIdx.x, first = query * lists.capacity;
  const int32_t length = lists.lengths[query];
  if (length < args.k || length > lists.capacity) {
    if (threadIdx.x == 0) unfinished[1 + atomicAdd(&unfinished[0], 1)] = int32_t(query);
    return;
  }
  for (int i = int(threadIdx.x); i < length; i += sort_threads) {
    const int64_t n = lists.places[first + i];
    ids[i] = args.ids == nullptr ? n : args.ids[n];
    distances[i] = lists.distances[first + i];
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
  const auto fill = plan.tensor_cores ? gather_codes_tensor_cuda : gather_codes_cuda;
  if (error == cudaSuccess) error = cudaError_t(fill(lists, stream));
  if (error != cudaSuccess) return error;
  return launch(sort_kernel, unsigned(args.queries.count), sort_threads,
                size_t(plan.capacity) * (sizeof(int64_t) + sizeof(int32_t)), stream, args, lists, unfinished);
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
