// SPDX-License-Identifier: Apache-2.0
// hamming_histogram: for each query (Q, W) the number of database codes (N, W) at every distance 0 ... 8 W, and the
// number of those that are relevant to it.
#pragma once

#include <cstdint>

#include "hamming_scan/codes.h"

namespace fasthash {

// Labels: class ids (rows,) int64, or packed multi-hot (rows, width) uint8 whose rows may be strided. An item is
// relevant where the ids are equal, or the bits have a one in common.
struct Labels {
  const int64_t* ids;  // (rows) or null
  CodeRows bits;       // data null where ids are given, or where there are no labels at all
};

struct HammingHistogram {
  CodeRows queries;     // (Q, W)
  Database database;    // (N, W)
  Labels query_labels;  // of both sides or of none
  Labels database_labels;
  int64_t* total;     // (Q, 8 W + 1), zeros at first
  int64_t* relevant;  // (Q, 8 W + 1), zeros at first; null without labels

  FH_HD bool labelled() const { return relevant != nullptr; }
};

// On the CPU, in independent blocks of queries, for a number of threads.
int64_t hamming_histogram_blocks(const HammingHistogram& args, int threads);
void hamming_histogram_cpu(const HammingHistogram& args, int64_t block, int64_t blocks);

// Enqueues on `stream` (a cudaStream_t); returns a cudaError_t.
int hamming_histogram_cuda(const HammingHistogram& args, void* stream);

}  // namespace fasthash
