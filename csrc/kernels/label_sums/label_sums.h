// SPDX-License-Identifier: Apache-2.0
// label_sums: for each query the sum and the number of the items that share a label with it. Items are added in their
// order, in float64, one after the other: the same bits on every machine and device.
#pragma once

#include <cstdint>
#include <vector>

#include "common/dtype.h"

namespace fasthash {

// Class ids (rows), or multi-hot rows of `bytes` bytes, related where they have a bit in common.
struct ItemLabels {
  const int64_t* ids;   // or null
  const uint8_t* bits;  // or null
  int64_t count, bytes, stride;
};

struct LabelSums {
  const void* values;  // (M, K), rows `value_stride` elements apart; a floating type or int8
  Dtype dtype;
  int64_t columns, value_stride;
  ItemLabels items, queries;  // M and A
  double* sums;               // (A, K), contiguous
  int64_t* counts;            // (A)
};

// Ids: the first query of each item's id (-1: none), and of each query's own id.
struct FirstQueries {
  std::vector<int64_t> of_items, of_queries;
};
FirstQueries label_sums_first_queries(const LabelSums& args);

// Ids: a block of columns, for all queries. Then once, after all blocks: the queries that share an id with an earlier
// one, and all counts.
int64_t label_sums_id_blocks(int64_t columns);
void label_sums_ids_cpu(const LabelSums& args, const FirstQueries& first, int64_t block);
void label_sums_ids_finish_cpu(const LabelSums& args, const FirstQueries& first);

// Multi-hot labels: a block of queries.
int64_t label_sums_bit_blocks(int64_t queries);
void label_sums_bits_cpu(const LabelSums& args, int64_t block);

// Enqueues on `stream` (a cudaStream_t); returns a cudaError_t.
int label_sums_cuda(const LabelSums& args, void* stream);

}  // namespace fasthash
