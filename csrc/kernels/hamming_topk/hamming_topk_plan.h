// SPDX-License-Identifier: Apache-2.0
// How the search on a device is cut up. Plain arithmetic, also for builds without CUDA; the result does not depend on
// it.
#pragma once

#include <algorithm>
#include <cmath>

#include "hamming_scan/hamming_rank.h"
#include "hamming_topk/hamming_topk.h"

namespace fasthash {

// A part of the database, of which the k-th nearest code tells how far a list has to reach.
struct HammingTopkSample {
  RankCut cut;
  int64_t every;  // one group of 8 codes in as many
  int64_t codes, k;
};

// Queries are handled in rounds of `queries_at_once`. Every search can be done by ranking (hamming_rank.h). Many
// queries with a small k gather instead, where `capacity` > 0: a sample of the codes tells a distance that some more
// than k codes keep to; one pass over the database lists these, and the list is sorted. Queries whose list turns out
// too short or too long are ranked after all. A sample is ranked, at half the rate of the pass by POPC and less beside
// the one on tensor cores; so a large one is itself gathered, as far as a sample of it tells.
struct HammingTopkPlan {
  RankCut cut;
  int64_t queries_at_once;
  int64_t capacity;          // of the list of a query
  int64_t sort_room;         // entries that a block sorts in shared memory; a longer list is cut before
  HammingTopkSample sample;  // of the database
  HammingTopkSample first;   // of the sample, where that is gathered, else without codes
  bool tensor_cores;         // gather on those of sm_90a, where the device has them

  const HammingTopkSample& ranked() const { return first.codes > 0 ? first : sample; }
  bool gathers() const { return capacity > 0; }
  // Number of int32. Lists lie where ranking has its counts: (queries, capacity) distances and positions, (queries)
  // lengths. Behind them the queries to be ranked after all, and their number.
  int64_t of_a_query() const { return std::max(cut.per_query(), ranked().cut.per_query() + 2 * capacity + 1); }
  int64_t workspace() const { return queries_at_once * of_a_query() + (gathers() ? queries_at_once + 1 : 0); }
};

constexpr int64_t gather_capacity = 4096;            // of lists for a small k
constexpr int64_t gather_capacity_of_few = 1 << 16;  // of the lists of a few queries
constexpr int64_t gather_small_k = 1024;
constexpr int64_t gather_most_k = 10 << 10;
constexpr int64_t small_sort_room = 4096, large_sort_room = 1 << 14;  // 48 and 192 KiB
constexpr int64_t tensor_queries = 64;  // half of what the tensor cores multiply at a time
constexpr int64_t gather_few = 16;      // fewer queries than these are a few

// Where it pays to gather: lists are short beside the database and beside what they may hold. For a few queries more
// launches have to be paid for.
inline bool gathering_pays(const HammingTopk& args) {
  constexpr int64_t least_codes = 1 << 13, least_codes_of_few = 1 << 19, most_bytes = 512;
  const int64_t least = args.queries.count < gather_few ? least_codes_of_few : least_codes;
  return args.queries.count > 0 && args.database.count >= std::max(least, 8 * args.k) && args.k <= gather_most_k &&
         args.database.width <= most_bytes;
}

// One group in `every`, of which `expected` codes are among the nearest that are wanted, if these are anywhere: four
// standard deviations more than that.
inline HammingTopkSample hamming_topk_sample(const HammingTopk& args, int64_t every, double expected) {
  constexpr int64_t blocks = 1 << 12, counts = 1 << 14;  // which one block adds up for a query
  const int64_t most = std::clamp<int64_t>(counts / (8 * args.database.width + 1), 8, 64);
  const int64_t segments = std::clamp<int64_t>(blocks / std::max<int64_t>(args.queries.count, 1), 8, most);
  HammingTopkSample sample{};
  sample.every = every;
  sample.codes = std::max<int64_t>(args.database.count / group_codes / every, 1) * group_codes;
  sample.k = std::min(sample.codes, int64_t(std::ceil(expected + 4 * std::sqrt(expected) + 4)));
  sample.cut.bins = 8 * args.database.width + 1;
  sample.cut.segment_codes = ceil_div(ceil_div(sample.codes, segments), 32) * 32;
  sample.cut.segments = ceil_div(sample.codes, sample.cut.segment_codes);
  return sample;
}

// A list holds about sample.k * sample.every codes, and all others at the same distance: with random codes up to three
// times k. A few queries can afford long lists, and save on the sample.
inline void plan_gathering(const HammingTopk& args, HammingTopkPlan& plan, bool sample_twice) {
  constexpr int64_t sample_of_few = 1 << 14, most_share = 1024, share_of_sample = 32;
  const bool few = args.queries.count < gather_few, small_k = args.k <= gather_small_k;
  const int64_t usual = args.k <= 128 && !sample_twice ? 32 : 16;
  const int64_t share = few ? std::clamp(args.database.count / sample_of_few, usual, most_share) : usual;
  plan.tensor_cores = args.queries.count >= tensor_queries;
  plan.capacity = few ? gather_capacity_of_few : small_k ? gather_capacity : args.k <= 4096 ? 1 << 14 : 1 << 15;
  plan.sort_room = small_k ? small_sort_room : large_sort_room;
  plan.sample = hamming_topk_sample(args, share, double(args.k) / double(share));
  plan.first = {};
  if (sample_twice)
    plan.first = hamming_topk_sample(args, share * share_of_sample, double(plan.sample.k) / share_of_sample);
}

inline HammingTopkPlan hamming_topk_plan(const HammingTopk& args) {
  constexpr int64_t workspace = 1 << 24;
  HammingTopkPlan plan{};
  const int64_t queries = std::max<int64_t>(args.queries.count, 1);
  plan.cut = rank_cut(args.database.count, 8 * args.database.width + 1, queries);
  constexpr int64_t large_sample = 1 << 15;
  const bool sample_twice = args.queries.count >= gather_few && args.database.count / 16 >= large_sample;
  if (gathering_pays(args)) plan_gathering(args, plan, sample_twice);
  plan.queries_at_once = std::clamp<int64_t>(workspace / (plan.of_a_query() + plan.gathers()), 1, queries);
  return plan;
}

}  // namespace fasthash
