// SPDX-License-Identifier: Apache-2.0
// hamming_range: every database code (N, W) within `radius` of each query (Q, W), in the order (distance, id). How many
// there are is known only when all distances are: a first pass counts, a second one writes.
#pragma once

#include <algorithm>
#include <cstdint>

#include "hamming_scan/codes.h"
#include "hamming_scan/hamming_rank.h"

namespace fasthash {

struct HammingRange {
  CodeRows queries;      // (Q, W)
  Database database;     // (N, W)
  int64_t radius;        // >= 0
  const int64_t* ids;    // (N) or null: positions are the ids
  const uint8_t* allow;  // (ceil(N / 8)) bits in numpy.packbits order, or null: every code may be found
};

// On the CPU, in independent blocks of queries. `counts` (Q) codes within the radius.
int64_t hamming_range_blocks(const HammingRange& args);
void hamming_range_count_cpu(const HammingRange& args, int64_t block, int64_t* counts);
// Query q's results go to places offsets[q] ... offsets[q + 1] - 1 of `distances` and `ids`.
void hamming_range_write_cpu(const HammingRange& args, int64_t block, const int64_t* offsets, int32_t* distances,
                             int64_t* ids);

// On a device: enqueue on `stream` (a cudaStream_t), return a cudaError_t. `order` (N) lists positions by rising id;
// null where ids rise with the positions, or are the positions.
constexpr int64_t hamming_range_cuda_max_codes = INT32_MAX;  // codes are counted in int32
int hamming_range_count_cuda(const HammingRange& args, int64_t* counts, void* stream);
inline int64_t hamming_range_workspace(const HammingRange& args, int64_t total);  // number of int32
int hamming_range_write_cuda(const HammingRange& args, const int64_t* order, const int64_t* offsets, int64_t total,
                             int32_t* workspace, int32_t* distances, int64_t* ids, void* stream);

// How results are ranked on a device (hamming_rank.h): in rounds of some queries. Plain arithmetic, also for builds
// without CUDA.
inline RankCut hamming_range_cut(const HammingRange& args) {
  const int64_t bits = 8 * args.database.width;
  return rank_cut(args.database.count, std::min(args.radius, bits) + 1, args.queries.count);
}
inline int64_t hamming_range_queries_at_once(const HammingRange& args) {
  constexpr int64_t workspace = 1 << 24;
  const int64_t fitting = workspace / std::max<int64_t>(hamming_range_cut(args).per_query(), 1);
  return std::clamp<int64_t>(fitting, 1, std::max<int64_t>(args.queries.count, 1));
}
inline int64_t hamming_range_workspace(const HammingRange& args, int64_t total) {
  return total == 0 ? 0 : hamming_range_queries_at_once(args) * hamming_range_cut(args).per_query();
}

}  // namespace fasthash
