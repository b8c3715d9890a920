// SPDX-License-Identifier: Apache-2.0
// A few queries in shared memory, which all threads of a team compare with a code each.
//
// A word of 64 bits of a pair takes 2 POPC, at a quarter of the rate of LOP3 and IADD3 (measured on an H100: 4.0 T/s
// against 16.2 T/s of LOP3), of which it takes 2 and 1. From three words on a full adder (4 LOP3) turns 6 POPC into 4,
// after which both units are about equally busy. A word of a code is read once for all queries of the tile, a word of a
// query from one address by the whole warp.
#pragma once

#include <cstdint>

#include "common/warp.cuh"
#include "hamming_scan/hamming_words.cuh"
#include "hamming_scan/segments.h"

namespace fasthash {

struct BlockTeam {
  static __device__ int rank() { return int(threadIdx.x); }
  static __device__ int size() { return int(blockDim.x); }
  static __device__ void sync() { __syncthreads(); }
};
struct WarpTeam {
  static __device__ int rank() { return lane_of_thread(); }
  static __device__ int size() { return kWarpSize; }
  static __device__ void sync() { __syncwarp(); }
};

// The queries that a launch works on: all of them, or those of a list in device memory, which holds its length first.
struct QueryList {
  const int32_t* list;  // or null
  int64_t count;        // of all

  __device__ int64_t size() const { return list == nullptr ? count : list[0]; }
  __device__ int64_t operator[](int64_t i) const { return list == nullptr ? i : list[1 + i]; }
};

// The number of ones of three words.
template <class Word>
FH_HD inline int popcount_of_three(Word a, Word b, Word c) {
  return popcount(Word(a ^ b ^ c)) + 2 * popcount(Word((a & b) | (a & c) | (b & c)));
}

template <class Words, int kQueries, class Team>
class QueryTile {
 public:
  using Word = typename Words::Word;
  static constexpr int chunk = 96;               // words of a query that are held at once
  static constexpr int room = chunk * kQueries;  // words of shared memory

  __device__ QueryTile(const Words& codes, const CodeRows& queries, Word* memory)
      : codes_(codes), queries_{queries}, memory_(memory), words_(words_of(queries.width)) {}

  // Takes the queries from `first` on. All threads of the team call this and distances().
  __device__ void take(const QueryList& list, int64_t first) {
    const int64_t left = list.size() - first;
    list_ = list;
    first_ = first;
    live_ = left < kQueries ? int(left) : kQueries;
    if (words_ <= chunk) load(0, words_);
  }

  __device__ int live() const { return live_; }
  __device__ int64_t query(int i) const { return list_[first_ + i]; }

  // The distances of the queries to code n of this thread.
  __device__ void distances(int64_t n, int32_t (&sum)[kQueries]) const {
#pragma unroll
    for (int i = 0; i < kQueries; ++i) sum[i] = 0;
    if (words_ <= chunk) return add(n, 0, int(words_), sum);
    for (int64_t first = 0; first < words_; first += chunk) {
      const int64_t left = words_ - first, count = left < chunk ? left : chunk;
      load(first, count);
      add(n, first, int(count), sum);
    }
  }

  // The same of several codes, whose words are asked for side by side: for few queries, which wait for memory.
  template <int kAhead>
  __device__ void distances_ahead(const int64_t (&n)[kAhead], int32_t (&sum)[kAhead][kQueries]) const {
    if (words_ > chunk) {
#pragma unroll
      for (int j = 0; j < kAhead; ++j) distances(n[j], sum[j]);
      return;
    }
#pragma unroll
    for (int j = 0; j < kAhead; ++j)
#pragma unroll
      for (int i = 0; i < kQueries; ++i) sum[j][i] = 0;
#pragma unroll 1
    for (int w = 0; w < int(words_); ++w) {
      Word code[kAhead];
#pragma unroll
      for (int j = 0; j < kAhead; ++j) code[j] = codes_(n[j], w);
#pragma unroll
      for (int j = 0; j < kAhead; ++j)
#pragma unroll
        for (int i = 0; i < kQueries; ++i) sum[j][i] += word_distance(code[j], memory_[w * kQueries + i]);
    }
  }

 private:
  __device__ void load(int64_t first, int64_t count) const {
    Team::sync();
    for (int i = Team::rank(); i < int(count) * kQueries; i += Team::size()) {
      const int query = i % kQueries;
      memory_[i] = query < live_ ? queries_(list_[first_ + query], first + i / kQueries) : Word(0);
    }
    Team::sync();
  }

  __device__ void add(int64_t n, int64_t first, int count, int32_t (&sum)[kQueries]) const {
    int w = 0;
    for (; w + 3 <= count; w += 3) {
      const Word a = codes_(n, first + w), b = codes_(n, first + w + 1), c = codes_(n, first + w + 2);
      const Word* const query = memory_ + w * kQueries;
#pragma unroll
      for (int i = 0; i < kQueries; ++i)
        sum[i] +=
            popcount_of_three(Word(a ^ query[i]), Word(b ^ query[kQueries + i]), Word(c ^ query[2 * kQueries + i]));
    }
    for (; w < count; ++w) {
      const Word code = codes_(n, first + w);
#pragma unroll
      for (int i = 0; i < kQueries; ++i) sum[i] += word_distance(code, memory_[w * kQueries + i]);
    }
  }

  Words codes_;
  RowWords<Word, uint8_t> queries_;
  Word* memory_;  // (chunk, queries)
  int64_t words_, first_ = 0;
  int live_ = 0;
  QueryList list_{};
};

}  // namespace fasthash
