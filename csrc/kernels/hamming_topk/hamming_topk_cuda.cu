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

constexpr int pieces = 2048;                                       // of the positions, where a list is cut by them
constexpr int64_t sort_bytes = sizeof(int64_t) + sizeof(int32_t);  // of an entry

__device__ inline bool follows(int32_t distance, int64_t id, int32_t next_distance, int64_t next_id) {
  return distance > next_distance || (distance == next_distance && id > next_id);
}

// The first `most` entries of a list keep to the key `bound`; so many entries `upto` it there are, `at` it among them.
struct Cut {
  int32_t bound, upto, at;
};

// By the whole block. key(i) is that of entry i, below `bins`, or negative where the entry does not count; `counts` is
// shared memory for `bins` numbers. There are `most` entries that count, or more.
template <int kThreads, class Key>
__device__ inline Cut cut_list(int length, int64_t most, int bins, int32_t* counts, Cut* result, Key&& key) {
  for (int i = int(threadIdx.x); i < bins; i += kThreads) counts[i] = 0;
  __syncthreads();
  for (int i = int(threadIdx.x); i < length; i += kThreads)
    if (const int32_t bin = key(i); bin >= 0) atomicAdd(&counts[bin], 1);
  __syncthreads();
  if (warp_of_thread() == 0) {
    int32_t before = 0;
    for (int first = 0; first < bins && before < most; first += kWarpSize) {
      const int bin = first + lane_of_thread();
      const int32_t count = bin < bins ? counts[bin] : 0, upto = before + warp_inclusive_scan(count);
      if (upto >= most && upto - count < most) *result = {bin, upto, count};
      before = __shfl_sync(kFullWarp, upto, kWarpSize - 1);
    }
  }
  __syncthreads();
  const Cut cut = *result;
  __syncthreads();  // before anybody writes to `counts` or `result`
  return cut;
}

// What of a list is sorted: entries nearer than `distance`, and at it those at positions up to `last`.
struct Kept {
  int32_t distance, last;
  int length;
  __device__ bool takes(int32_t of, int32_t n) const { return of < distance || (of == distance && n <= last); }
};

// A block for each query: its list reaches no further than what the `most` nearest of its entries keep to, and is empty
// again. So does one that has lost entries, which reaches too far then; of too few entries nothing is learnt.
template <int kThreads>
__global__ void __launch_bounds__(kThreads) shorten_kernel(Gathering lists, int64_t most) {
  FH_DYNAMIC_SHARED(int32_t, counts);
  FH_SHARED(Cut, cut);
  const int64_t query = blockIdx.x;
  const int32_t* const distances = lists.distances + query * lists.capacity;
  const int32_t length = lists.lengths[query];
  const int listed = length < lists.capacity ? length : int(lists.capacity);
  const int bins = int(8 * lists.database.width + 1);
  int32_t bound = lists.reach_of(query);
  if (listed >= most)
    bound = cut_list<kThreads>(listed, most, bins, counts, &cut, [&](int i) { return distances[i]; }).bound;
  __syncthreads();
  if (threadIdx.x != 0) return;
  lists.reach[query * lists.reach_stride] = bound;
  lists.lengths[query] = 0;
}

// What the k nearest of a list keep to, where that is more than `room` holds also by position, which is their id.
template <int kThreads>
__device__ inline Kept kept_of(const HammingTopk& args, const int32_t* distances, const int32_t* places, int listed,
                               int room, int32_t* counts, Cut* result) {
  const int bins = int(8 * args.database.width + 1);
  const Cut near = cut_list<kThreads>(listed, args.k, bins, counts, result, [&](int i) { return distances[i]; });
  if (near.upto <= room || args.ids != nullptr) return {near.bound, INT32_MAX, near.upto};
  int shift = 0;
  while (args.database.count >> shift > pieces) ++shift;
  const int nearer = near.upto - near.at;
  const auto piece = [&](int i) { return distances[i] == near.bound ? places[i] >> shift : -1; };
  const Cut first = cut_list<kThreads>(listed, args.k - nearer, pieces + 1, counts, result, piece);
  return {near.bound, int32_t(((int64_t(first.bound) + 1) << shift) - 1), nearer + first.upto};
}

// A block for each query: its list sorted, or its number put down in `unfinished` behind how many there are. Of a list
// longer than there is room to sort only what the k nearest keep to is taken.
template <int kThreads>
__global__ void __launch_bounds__(kThreads)
    sort_kernel(HammingTopk args, Gathering lists, int room, int32_t* unfinished) {
  FH_DYNAMIC_SHARED(int64_t, ids);
  FH_SHARED(Cut, cut);
  FH_SHARED(int32_t, taken);
  const int64_t query = blockIdx.x, first = query * lists.capacity;
  int32_t* const distances = reinterpret_cast<int32_t*>(ids + room);
  const int listed = lists.lengths[query];
  const int32_t *all = lists.distances + first, *places = lists.places + first;
  const bool complete = listed >= args.k && listed <= lists.capacity, cuts = complete && listed > room;
  Kept kept{INT32_MAX, 0, listed};
  if (cuts) kept = kept_of<kThreads>(args, all, places, listed, room, reinterpret_cast<int32_t*>(ids), &cut);
  if (!complete || kept.length > room) {
    if (threadIdx.x == 0) unfinished[1 + atomicAdd(&unfinished[0], 1)] = int32_t(query);
    return;
  }
  if (threadIdx.x == 0) taken = 0;
  __syncthreads();
  for (int i = int(threadIdx.x); i < listed; i += kThreads) {
    const int32_t n = places[i];
    if (!kept.takes(all[i], n)) continue;
    const int at = cuts ? atomicAdd(&taken, 1) : i;
    ids[at] = args.ids == nullptr ? n : args.ids[n];
    distances[at] = all[i];
  }
  bitonic_sort(kept.length, [&](int i, int j) {
    const int64_t id = ids[i], next_id = ids[j];
    const int32_t distance = distances[i], next_distance = distances[j];
    if (!follows(distance, id, next_distance, next_id)) return;
    ids[i] = next_id;
    ids[j] = id;
    distances[i] = next_distance;
    distances[j] = distance;
  });
  for (int64_t i = threadIdx.x; i < args.k; i += kThreads) {
    args.distances[query * args.k + i] = distances[i];
    args.found[query * args.k + i] = ids[i];
  }
}

// Entries that a block of the current device has room to sort, at most as many as planned.
int64_t sort_room_of(const HammingTopkPlan& plan) {
  constexpr int64_t own = 1024;  // shared memory that is not asked for at the launch
  int device = 0, bytes = 0;
  if (cudaGetDevice(&device) != cudaSuccess ||
      cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device) != cudaSuccess) {
    (void)cudaGetLastError();
    return std::min(plan.sort_room, small_sort_room);
  }
  return std::min({plan.sort_room, plan.capacity, (bytes - own) / sort_bytes});
}

Ranking ranking_of(const HammingTopk& args, const int64_t* order, const HammingTopkPlan& plan, int32_t* workspace) {
  return {args.queries, args.database,       args.ids, order,    args.allow, args.k,  nullptr,           args.distances,
          args.found,   args.database.count, 1,        plan.cut, workspace,  nullptr, args.queries.count};
}

// The workspace behind what the sample's ranking leaves there.
Gathering gathering_of(const HammingTopk& args, const HammingTopkPlan& plan, int32_t* workspace,
                       const Ranking& sample) {
  int32_t* const distances = workspace + plan.queries_at_once * sample.cut.per_query();
  int32_t* const places = distances + plan.queries_at_once * plan.capacity;
  return {args.queries,
          args.database,
          args.allow,
          sample.threshold(0),
          sample.cut.per_query(),
          plan.capacity,
          distances,
          places,
          places + plan.queries_at_once * plan.capacity,
          args.database.count,
          1};
}

Ranking ranking_of_sample(const HammingTopk& args, const HammingTopkPlan& plan, int32_t* workspace) {
  const HammingTopkSample& sample = plan.ranked();
  Ranking ranking = ranking_of(args, nullptr, plan, workspace);
  ranking.cut = sample.cut;
  ranking.most = sample.k;
  ranking.positions = sample.codes;
  ranking.every = sample.every;
  return ranking;
}

// How far the lists reach, by a sample or two of them.
cudaError_t set_reach(const HammingTopk& args, const HammingTopkPlan& plan, const Ranking& sample,
                      const Gathering& lists, bool on_tensor_cores, cudaStream_t stream) {
  constexpr unsigned threads = 256;
  cudaError_t error = cudaError_t(rank_thresholds_cuda(sample, stream));
  if (error != cudaSuccess || plan.first.codes == 0) return error;
  Gathering of_sample = lists;
  of_sample.positions = plan.sample.codes;
  of_sample.every = plan.sample.every;
  error = cudaError_t(on_tensor_cores ? gather_codes_tensor_cuda(of_sample, stream)  //
                                      : gather_codes_cuda(of_sample, stream));
  if (error != cudaSuccess) return error;
  const size_t shared = size_t(8 * args.database.width + 1) * sizeof(int32_t);
  return launch(shorten_kernel<threads>, unsigned(args.queries.count), threads, shared, stream, lists, plan.sample.k);
}

// Leaves in `unfinished` the queries that remain to be ranked.
cudaError_t gather(const HammingTopk& args, const HammingTopkPlan& plan, int64_t room, int32_t* workspace,
                   int32_t* unfinished, cudaStream_t stream) {
  const Ranking sample = ranking_of_sample(args, plan, workspace);
  const Gathering lists = gathering_of(args, plan, workspace, sample);
  const bool on_tensor_cores = plan.tensor_cores && gathers_on_tensor_cores();
  auto error = cudaMemsetAsync(lists.lengths, 0, size_t(args.queries.count) * sizeof(int32_t), stream);
  if (error == cudaSuccess) error = cudaMemsetAsync(unfinished, 0, sizeof(int32_t), stream);
  if (error == cudaSuccess) error = set_reach(args, plan, sample, lists, on_tensor_cores, stream);
  if (error == cudaSuccess)
    error = cudaError_t(on_tensor_cores ? gather_codes_tensor_cuda(lists, stream) : gather_codes_cuda(lists, stream));
  if (error != cudaSuccess) return error;
  const auto sort = [&](auto kernel, unsigned threads) {
    const int64_t counts = std::max<int64_t>(8 * args.database.width, pieces) + 1;
    const size_t shared = size_t(std::max<int64_t>(room * sort_bytes, counts * int64_t(sizeof(int32_t))));
    return launch(kernel, unsigned(args.queries.count), threads, shared, stream, args, lists, int(room), unfinished);
  };
  return room > small_sort_room ? sort(sort_kernel<1024>, 1024) : sort(sort_kernel<512>, 512);
}

cudaError_t search(const HammingTopk& args, const int64_t* order, const HammingTopkPlan& plan, int32_t* workspace,
                   cudaStream_t stream) {
  Ranking ranking = ranking_of(args, order, plan, workspace);
  const int64_t room = plan.gathers() ? sort_room_of(plan) : 0;
  if (room >= args.k) {
    int32_t* const unfinished = workspace + plan.queries_at_once * plan.of_a_query();
    const cudaError_t error = gather(args, plan, room, workspace, unfinished, stream);
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
