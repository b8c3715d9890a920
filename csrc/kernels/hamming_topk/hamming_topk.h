// SPDX-License-Identifier: Apache-2.0
// hamming_topk: the k nearest database codes (N, W) of every query (Q, W), in the order (distance, id). 1 <= k <= N,
// W > 0; Q may be 0. Where fewer than k codes may be found the rest is id -1 at distance INT32_MAX.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "hamming_scan/hamming_scan.h"

namespace fasthash {

struct HammingTopk {
  CodeRows queries;   // (Q, W)
  Database database;  // (N, W)
  int64_t k;
  const int64_t* ids;    // (N) or null: positions are the ids
  const uint8_t* allow;  // (ceil(N / 8)) bits in numpy.packbits order, or null: every code may be found
  int32_t* distances;    // (Q, k)
  int64_t* found;        // (Q, k) ids
};

// The same search for `count` queries from `first` on.
HammingTopk topk_queries(const HammingTopk& args, int64_t first, int64_t count);

// How a search is shared out to threads. Many queries: each thread takes a batch of them through the whole database.
// Few queries: each thread takes all of them through a segment of the database. The result is the same.
struct HammingTopkShares {
  int64_t queries_at_once;  // in one search, whose memory stays within 64 MiB or what one query needs
  int64_t batches, segments;
};
HammingTopkShares hamming_topk_shares(const HammingTopk& args, int threads);

// One search on the CPU; the caller brings the threads.
//
//   do {
//     for round in [0, rounds()): scan(task, round) for all tasks, in parallel
//   } while (scan_again());
//   finish(query) for all queries, in parallel
class HammingTopkSearch {
 public:
  HammingTopkSearch(const HammingTopk& args, const HammingTopkShares& shares);
  ~HammingTopkSearch();

  int64_t tasks() const;
  int64_t rounds() const;
  void scan(int64_t task, int64_t round);
  bool scan_again();  // true at most once
  void finish(int64_t query);

 private:
  struct State;
  std::unique_ptr<State> state_;
  bool again_ = false;
};

// On a device; see hamming_topk_plan.h. Enqueues on `stream` (a cudaStream_t); returns a cudaError_t. `order` (N) lists
// positions by rising id; null where ids rise with the positions, or are the positions.
constexpr int64_t hamming_topk_cuda_max_codes = INT32_MAX;  // codes are counted in int32
struct HammingTopkPlan;
int hamming_topk_cuda(const HammingTopk& args, const int64_t* order, const HammingTopkPlan& plan, int32_t* workspace,
                      void* stream);

}  // namespace fasthash
