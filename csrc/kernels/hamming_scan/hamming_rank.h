// SPDX-License-Identifier: Apache-2.0
// The codes near each query put in the order (distance, id), on a device. Three passes, without a matrix of distances:
// a block counts the codes of one segment of the database by distance to a few queries; a block turns the counts of a
// query into places in the result, where distance goes before segment; a warp for each segment and query scans the
// segment again, where any of it is in the result, and puts its codes there, by rising position.
#pragma once

#include <algorithm>

#include "hamming_scan/codes.h"

namespace fasthash {

// How the database is cut, and the workspace of a query in int32:
//   (bins, segments) codes of a segment by distance; later the place of the next one in the result
//   (segments) how many codes of a segment are in the result
//   () the distance of the last code of the result
struct RankCut {
  int64_t bins;  // distances that are counted: 0 ... bins - 1
  int64_t segment_codes, segments;
  FH_HD int64_t per_query() const { return segments * (bins + 1) + 1; }
};

inline RankCut rank_cut(int64_t codes, int64_t bins, int64_t queries) {
  constexpr int64_t blocks = 1 << 14;
  const int64_t segments = std::clamp<int64_t>(blocks / std::max<int64_t>(queries, 1), 64, 1024);
  // A segment is no shorter than its histogram, so that the workspace of a query grows with the database alone.
  const int64_t shortest = std::max<int64_t>(bins, 256);
  const int64_t length = ceil_div(std::max(ceil_div(codes, segments), shortest), 32) * 32;
  return {bins, length, ceil_div(codes, length)};
}

// What is ranked. Codes are taken by position: position p is code order[p], or p, or, of a sample, the p-th code of the
// groups 0, every, 2 every, ...
struct Ranking {
  CodeRows queries;
  Database database;
  const int64_t* ids;      // (N) or null: positions are the ids
  const int64_t* order;    // (N) or null
  const uint8_t* allow;    // or null
  int64_t most;            // results of a query: the first `most` of its codes
  const int64_t* offsets;  // (Q) where a query's results begin; null: at query * most, and missing ones are filled in
  int32_t* distances;
  int64_t* found;
  int64_t positions, every;  // every: 1, or the step of a sample

  RankCut cut;
  int32_t* workspace;    // (queries, cut.per_query())
  const int32_t* list;   // null: all queries; else their number and the queries, as numbers below queries.count
  int64_t list_longest;  // queries that the workspace has room for

  FH_HD int32_t* threshold(int64_t i) const { return workspace + (i + 1) * cut.per_query() - 1; }
};

// Both enqueue on `stream` (a cudaStream_t) and return a cudaError_t. The first one leaves the distance of the last
// code of every query's result in the workspace and writes no result, the second does all.
int rank_thresholds_cuda(const Ranking& args, void* stream);
int rank_codes_cuda(const Ranking& args, void* stream);

}  // namespace fasthash
