// SPDX-License-Identifier: Apache-2.0
// hamming_distance: the number of bits in which every query (Q, W) differs from every database code (N, W).
#pragma once

#include <cstdint>

#include "hamming_scan/hamming_scan.h"

namespace fasthash {

struct HammingDistance {
  CodeRows queries;    // (Q, W)
  Database database;   // (N, W)
  int32_t* distances;  // (Q, N)
};

// Blocks of (queries, database codes) on the CPU, independent of each other.
int64_t hamming_distance_blocks(const HammingDistance& args);
void hamming_distance_cpu(const HammingDistance& args, int64_t block);

// Enqueues on `stream` (a cudaStream_t); returns a cudaError_t.
int hamming_distance_cuda(const HammingDistance& args, void* stream);

}  // namespace fasthash
