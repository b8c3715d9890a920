// SPDX-License-Identifier: Apache-2.0
// Lists of the codes within a distance of each query, unordered, that one pass over the database fills.
#pragma once

#include <cstdint>

#include "hamming_topk/hamming_topk.h"
#include "hamming_topk/hamming_topk_plan.h"

namespace fasthash {

// `reach` is read at the stride that ranking leaves thresholds with. A list that is full keeps on counting.
struct Gathering {
  CodeRows queries;
  Database database;
  const uint8_t* allow;
  int32_t* reach;  // (Q), `reach_stride` apart: the largest distance that a query's list takes
  int64_t reach_stride, capacity;
  int32_t* distances;  // (Q, capacity)
  int32_t* places;     // (Q, capacity) positions in the database
  int32_t* lengths;    // (Q) zeros at first
  int64_t positions;   // codes to look at
  int64_t every;       // 1, or of a sample the step from one of its groups of 8 codes to the next

#if defined(__CUDACC__) || defined(FASTHASH_CUDA_ON_CPU)
  __device__ int64_t code_at(int64_t position) const {
    return every == 1 ? position : position / group_codes * (group_codes * every) + position % group_codes;
  }
  __device__ int32_t reach_of(int64_t query) const { return reach[query * reach_stride]; }
  __device__ void append(int64_t query, int64_t n, int32_t distance) const {
    const int32_t place = atomicAdd(&lengths[query], 1);
    if (place >= capacity) return;
    distances[query * capacity + place] = distance;
    places[query * capacity + place] = int32_t(n);
  }
#endif
};

// Enqueue on `stream` (a cudaStream_t); return a cudaError_t.
int gather_codes_cuda(const Gathering& args, void* stream);
// On tensor cores: where the current device is one of sm_90a that this was built for; codes of at most 512 bytes.
int gather_codes_tensor_cuda(const Gathering& args, void* stream);
bool gathers_on_tensor_cores();

}  // namespace fasthash
