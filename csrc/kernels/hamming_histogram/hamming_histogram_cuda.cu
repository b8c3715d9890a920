// SPDX-License-Identifier: Apache-2.0
// A block adds up one segment of the database for a few queries in shared memory, then adds these histograms to those
// of all.
//
// The addition of 1 in shared memory compiles to ATOMS.POPC.INC, which adds up the
// lanes that meet at one distance, so distances in the middle cost no more than others; distances less than 32 apart
// lie in different banks. Seven instructions a pair at 64 bits (2 LOP3, 2 POPC, 2 to the address, 1 ATOMS): POPC, 16
// lanes a cycle, is the limit with 8 pairs a cycle and multiprocessor (1.8 T pairs/s on 132 of them at 1.75 GHz), if
// ATOMS takes two cycles or less. To that end nothing in the loop branches: whether there are labels is known to the
// compiler, and queries that a tile lacks are counted, too, where nobody looks. With labels a pair takes a comparison
// and a second addition by the lanes that are relevant. Measured on an H100: 1.34 T pairs/s without labels, 0.64 with.
#include <algorithm>
#include <type_traits>

#include "common/cuda.h"
#include "hamming_histogram/hamming_histogram.h"
#include "hamming_histogram/hamming_histogram_math.h"
#include "hamming_scan/hamming_tile.cuh"

namespace fasthash {
namespace {

constexpr int threads = 256, many_queries = 8;
constexpr int codes_ahead = 4;               // that a thread reads for one query before it counts the first of them
constexpr int64_t counts_shared = 72 << 10;  // bytes; three such blocks run on a multiprocessor of sm_90, one of sm_86

using Total = unsigned long long;

// The first word of an item's label: the id, or up to 64 of its bits.
__device__ inline uint64_t label_word(const Labels& labels, int64_t i) {
  if (labels.ids != nullptr) return uint64_t(labels.ids[i]);
  return RowWords<uint64_t, uint8_t>{labels.bits}(i, 0);
}

// Decided by the first words alone wherever they tell.
__device__ inline bool relevant(const HammingHistogram& args, int64_t query, int64_t n, uint64_t a, uint64_t b) {
  const bool ids = args.query_labels.ids != nullptr;
  if (ids ? a == b : (a & b) != 0) return true;
  return !ids && args.query_labels.bits.width > 8 && is_relevant(args.query_labels, query, args.database_labels, n);
}

// In shared memory (queries, bins) of all and then of the relevant, or in the results themselves.
template <class Words, int kQueries, bool kShared, bool kLabelled>
__global__ void __launch_bounds__(threads)
    histogram_kernel(HammingHistogram args, Words codes, int64_t segment_codes, int bins) {
  static_assert(kShared || kQueries == 1, "queries that are not there have no results");
  using Tile = QueryTile<Words, kQueries, BlockTeam>;
  using Word = typename Words::Word;
  constexpr int ahead = kQueries == 1 ? codes_ahead : 1;
  FH_SHARED(Word[Tile::room], memory);
  FH_DYNAMIC_SHARED(int32_t, all);
  int32_t* const matching = all + kQueries * bins;
  const int64_t first_query = int64_t(blockIdx.x) * kQueries, begin = int64_t(blockIdx.y) * segment_codes;
  const int64_t past = begin + segment_codes, end = past < args.database.count ? past : args.database.count;
  const auto add = [&](int64_t* results, int32_t* counts, int bin) {
    if constexpr (kShared)
      atomicAdd(&counts[bin], 1);
    else
      atomicAdd(reinterpret_cast<Total*>(&results[first_query * bins + bin]), Total(1));
  };
  Tile tile(codes, args.queries, memory);
  tile.take({nullptr, args.queries.count}, first_query);
  uint64_t labels[kQueries] = {};
#pragma unroll
  for (int i = 0; i < kQueries; ++i)
    if (kLabelled && i < tile.live()) labels[i] = label_word(args.query_labels, first_query + i);
  const int used = kShared ? (kLabelled ? 2 : 1) * kQueries * bins : 0;
  for (int i = int(threadIdx.x); i < used; i += threads) all[i] = 0;
  __syncthreads();
  for (int64_t first = begin; first < end; first += ahead * threads) {
    int32_t distances[ahead][kQueries];
    uint64_t label[ahead] = {};
#pragma unroll
    for (int j = 0; j < ahead; ++j) {
      const int64_t n = first + j * threads + threadIdx.x;
      tile.distances(n < end ? n : begin, distances[j]);
      if (kLabelled) label[j] = label_word(args.database_labels, n < end ? n : begin);
    }
#pragma unroll
    for (int j = 0; j < ahead; ++j) {
      const int64_t n = first + j * threads + threadIdx.x;
      if (n >= end) continue;
#pragma unroll
      for (int i = 0; i < kQueries; ++i) {
        const int bin = i * bins + distances[j][i];
        add(args.total, all, bin);
        if constexpr (kLabelled) {
          // Rows of labels are only read for queries that are there.
          const int64_t query = i < tile.live() ? first_query + i : first_query;
          if (relevant(args, query, n, labels[i], label[j])) add(args.relevant, matching, bin);
        }
      }
    }
  }
  __syncthreads();
  const int live = kShared ? tile.live() * bins : 0;
  for (int i = int(threadIdx.x); i < live; i += threads) {
    if (all[i] != 0) atomicAdd(reinterpret_cast<Total*>(&args.total[first_query * bins + i]), Total(all[i]));
    if (kLabelled && matching[i] != 0)
      atomicAdd(reinterpret_cast<Total*>(&args.relevant[first_query * bins + i]), Total(matching[i]));
  }
}

template <class Words, int kQueries, bool kShared, bool kLabelled>
int launch_labelled(const HammingHistogram& args, const Words& words, int64_t bytes, void* stream) {
  constexpr int64_t blocks = 1 << 12;
  const int64_t bins = 8 * args.database.width + 1, groups = ceil_div(args.queries.count, kQueries);
  // A segment is longer than the histograms that are added up after it.
  const int64_t least = 4 * std::max<int64_t>(bins, threads);
  const Segments segments = cut_segments(args.database.count, groups, blocks, least, threads);
  const dim3 grid(unsigned(groups), unsigned(segments.count));
  return int(launch(histogram_kernel<Words, kQueries, kShared, kLabelled>, grid, threads, size_t(bytes),
                    static_cast<cudaStream_t>(stream), args, words, segments.codes, int(bins)));
}

template <class Words, int kQueries, bool kShared>
int launch_histogram(const HammingHistogram& args, const Words& words, int64_t bytes, void* stream) {
  return args.labelled() ? launch_labelled<Words, kQueries, kShared, true>(args, words, bytes, stream)
                         : launch_labelled<Words, kQueries, kShared, false>(args, words, bytes, stream);
}

}  // namespace

int hamming_histogram_cuda(const HammingHistogram& args, void* stream) {
  if (args.queries.count == 0 || args.database.count == 0) return int(cudaSuccess);
  const int64_t one = (8 * args.database.width + 1) * int64_t(sizeof(int32_t)) * (args.labelled() ? 2 : 1);
  return with_words(args.database, [&](const auto& words) {
    using Words = std::decay_t<decltype(words)>;
    if (one > counts_shared) return launch_histogram<Words, 1, false>(args, words, 0, stream);
    if (args.queries.count == 1 || many_queries * one > counts_shared)
      return launch_histogram<Words, 1, true>(args, words, one, stream);
    return launch_histogram<Words, many_queries, true>(args, words, many_queries * one, stream);
  });
}

}  // namespace fasthash
