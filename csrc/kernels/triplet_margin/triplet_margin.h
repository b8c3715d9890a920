// SPDX-License-Identifier: Apache-2.0
// triplet_margin: the hinge (or its smooth form) of triplets (anchor, positive, negative) and its gradient with respect
// to the distances (A, M), in one pass. Memory is O(M) per thread, for any number of triplets.
#pragma once

#include <cstdint>

#include "common/dtype.h"
#include "order_aware_triplet/order_aware_triplet.h"

namespace fasthash {

// Which triplets count. Sent through operator schemas as integers; the order is part of the interface.
//   all        every positive with every negative of the anchor
//   semi_hard  every positive with the nearest negative that is farther away than it, or with the farthest negative
//              where none is
//   hard       the farthest positive with the nearest negative
// Among equal distances the first item is taken.
enum class Mining : int32_t { all, semi_hard, hard };

struct TripletMargin {
  const void* distances;   // (A, M), rows `distance_stride` elements apart
  const int8_t* relation;  // (A, M), rows `relation_stride` apart: > 0 positive, < 0 negative, 0 left out
  void* gradient;          // (A, M), contiguous: float64 for float64 distances, else float32
  TripletSum* sums;        // (A), on the CPU
  int64_t anchors, items, distance_stride, relation_stride;
  Dtype dtype;  // of the distances
  double margin;
  Mining mining;
  bool swap;    // the smaller of d_an and d_pn; only with `all` and a square matrix
  bool smooth;  // log(1 + exp(x)) in place of max(0, x)
  Reduction reduction;
};

// On the CPU: every block of anchors, then the scale, then every block again. Blocks depend on the shape alone.
int64_t triplet_margin_blocks(int64_t anchors);
void triplet_margin_cpu(const TripletMargin& args, int64_t block);
TripletScale triplet_margin_scale(const TripletMargin& args);
void triplet_margin_rescale_cpu(const TripletMargin& args, double scale, int64_t block);

// Enqueues on `stream` (a cudaStream_t); returns a cudaError_t. `loss` receives the reduced loss, as float64 for
// float64 distances, else float32; `workspace` holds triplet_margin_cuda_workspace(args) bytes, aligned to 16.
int triplet_margin_cuda(const TripletMargin& args, void* loss, void* workspace, void* stream);

// The lists of one anchor: per item its distance and its place. Up to margin_cuda_shared_bytes they lie in
// shared memory; longer ones in the workspace, one room for each of the blocks that run.
constexpr int64_t margin_cuda_shared_bytes = 96 * 1024, margin_cuda_max_rooms = 256;
inline int64_t margin_cuda_room_bytes(const TripletMargin& args) {
  const int64_t per_item = 4 + (args.dtype == Dtype::float64 ? 8 : 4);
  return (args.items * per_item + 15) / 16 * 16;
}
inline int64_t triplet_margin_cuda_workspace(const TripletMargin& args) {
  const int64_t per_anchor = int64_t(sizeof(TripletSum)) + (args.swap ? 1 : 0);
  const int64_t results = (args.anchors * per_anchor + int64_t(sizeof(TripletScale)) + 15) / 16 * 16;
  const int64_t room = margin_cuda_room_bytes(args);
  if (room <= margin_cuda_shared_bytes) return results;
  return results + room * (args.anchors < margin_cuda_max_rooms ? args.anchors : margin_cuda_max_rooms);
}

}  // namespace fasthash
