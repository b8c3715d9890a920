// SPDX-License-Identifier: Apache-2.0
// How the search on a device is cut up. Plain arithmetic, also for builds without CUDA; the result does not depend on
// it.
#pragma once

#include <algorithm>

#include "common/platform.h"
#include "hamming_topk/hamming_topk.h"

namespace fasthash {

// The database is cut into segments, one warp for each segment and query; queries are handled in tiles. The workspace
// holds, for each query of a tile,
//   (segments, bins) codes of a segment by distance, bins = 8 W + 1; later the place of the next one in the result
//   (segments) how many codes of a segment are in the result
//   () the distance of the k-th nearest
struct HammingTopkPlan {
  int64_t bins, segment_codes, segments, queries_at_once;
  int64_t workspace() const { return queries_at_once * per_query(); }  // number of int32
  FH_HD int64_t per_query() const { return segments * (bins + 1) + 1; }
};

inline HammingTopkPlan hamming_topk_plan(const HammingTopk& args) {
  constexpr int64_t warps = 1 << 14, workspace = 1 << 24, max_queries = 65535;  // the last is a limit of grids
  HammingTopkPlan plan{};
  const int64_t queries = std::max<int64_t>(args.queries.count, 1), codes = args.database.count;
  plan.bins = 8 * args.database.width + 1;
  const int64_t segments = std::clamp<int64_t>(warps / queries, 64, 1024);
  // A segment is no shorter than its histogram, so that the workspace of a query grows with N alone.
  const int64_t shortest = std::max<int64_t>(plan.bins, 256);
  plan.segment_codes = ceil_div(std::max(ceil_div(codes, segments), shortest), 32) * 32;
  plan.segments = ceil_div(codes, plan.segment_codes);
  plan.queries_at_once = std::clamp<int64_t>(workspace / plan.per_query(), 1, std::min(queries, max_queries));
  return plan;
}

}  // namespace fasthash
