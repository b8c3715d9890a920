// SPDX-License-Identifier: Apache-2.0
// order_aware_triplet: the (squared) hinge of every triplet (anchor, positive, negative), weighted by the change of the
// anchor's average precision when positive and negative swap places, and its gradient with respect to the distances
// (A, M). Memory is O(M) per thread, for any number of triplets.
#pragma once

#include <cstdint>

#include "common/dtype.h"
#include "hamming_scan/hamming_scan.h"

namespace fasthash {

// Sent through operator schemas as integers; the order is part of the interface.
enum class Weighting : int32_t { none, delta_ap, delta_ndcg, rank_difference };
enum class Reduction : int32_t { mean, sum, avg_nonzero };
// Items of equal Hamming distance stand in the order (distance, index), or all at their average rank.
enum class Ties : int32_t { index, mean };
// How the CPU adds up the triplets of an anchor: one by one, in O(P N), or by a sweep over the sorted items, in
// O((P + N) (log(P + N) + sqrt(bits))). `automatic` takes the faster one.
enum class TripletMethod : int32_t { automatic, pairs, sweep };

// What one anchor contributes to the batch. Only `avg_nonzero` counts `nonzero`, the triplets with a hinge above zero.
struct TripletSum {
  double loss;
  int64_t triplets, nonzero;
};

struct OrderAwareTriplet {
  const void* distances;   // (A, M), rows `distance_stride` elements apart
  const int8_t* relation;  // (A, M), rows `relation_stride` apart: > 0 positive, < 0 negative, 0 left out
  CodeRows anchor_codes;   // (A, W)
  CodeRows item_codes;     // (M, W)
  // (A, M), rows `gain_stride` apart, of positives alone, for delta_ndcg; null where each is 1. Proportions count.
  const float* gains;
  void* gradient;    // (A, M), contiguous: float64 for float64 distances, else float32
  TripletSum* sums;  // (A), on the CPU
  int64_t anchors, items, distance_stride, relation_stride, gain_stride;
  Dtype dtype;  // of the distances
  double margin;
  Weighting weighting;
  bool squared;
  Reduction reduction;
  bool normalize;        // weights of mean one for each anchor
  TripletMethod method;  // on the CPU; a sweep needs finite distances and a margin above 0
  Ties ties;
};

// The two numbers that stand once all anchors are summed.
struct TripletScale {
  double loss;      // the reduced loss of the batch
  double gradient;  // factor on what order_aware_triplet_cpu left in `gradient`
};

// On the CPU: every block of anchors, then the scale, then every block again. Blocks depend on the shape alone.
int64_t order_aware_triplet_blocks(int64_t anchors);
void order_aware_triplet_cpu(const OrderAwareTriplet& args, int64_t block);
TripletScale order_aware_triplet_scale(const OrderAwareTriplet& args);
void order_aware_triplet_rescale_cpu(const OrderAwareTriplet& args, double scale, int64_t block);

// Enqueues on `stream` (a cudaStream_t); returns a cudaError_t. `loss` receives the reduced loss, as float64 for
// float64 distances, else float32; `workspace` holds order_aware_triplet_cuda_workspace(args) bytes, aligned to 16.
int order_aware_triplet_cuda(const OrderAwareTriplet& args, void* loss, void* workspace, void* stream);

// The lists of one anchor: per item a sort key or a partial sum, three numbers in the computing type, with gains four,
// two integers, with average ranks five. Up to shared_bytes they lie in shared memory; longer ones in the workspace,
// one room for each of the blocks that run.
constexpr int64_t triplet_cuda_shared_bytes = 96 * 1024, triplet_cuda_max_rooms = 256;
inline int64_t triplet_cuda_room_bytes(const OrderAwareTriplet& args) {
  const int64_t integers = args.ties == Ties::mean ? 5 : 2, numbers = args.gains ? 4 : 3;
  const int64_t per_item = 8 + numbers * (args.dtype == Dtype::float64 ? 8 : 4) + integers * 4;
  return (args.items * per_item + 15) / 16 * 16;
}
inline int64_t order_aware_triplet_cuda_workspace(const OrderAwareTriplet& args) {
  const int64_t results = (args.anchors * int64_t(sizeof(TripletSum)) + int64_t(sizeof(TripletScale)) + 15) / 16 * 16;
  const int64_t room = triplet_cuda_room_bytes(args);
  if (room <= triplet_cuda_shared_bytes) return results;
  return results + room * (args.anchors < triplet_cuda_max_rooms ? args.anchors : triplet_cuda_max_rooms);
}

}  // namespace fasthash
