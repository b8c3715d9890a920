// SPDX-License-Identifier: Apache-2.0
// What the instruction-set variants of the sliced scan implement; hamming_slices.h explains the method.
//
// A unit is as many codes as a vector has bits. For every word of its codes it has `word_planes` planes, one vector
// each: for each of the 21 groups of three bits the sum, its complement and the 8 majorities, then the last bit and its
// complement. Codes of at most 32 bits have `half_planes`: 10 groups, and two bits left over.
#pragma once

#include <cstdint>

namespace fasthash {

constexpr int slice_group_planes = 10;
constexpr int slice_word_groups = 21, slice_half_groups = 10;
constexpr int64_t word_planes = slice_word_groups * slice_group_planes + 2;
constexpr int64_t half_planes = slice_half_groups * slice_group_planes + 4;

// What a query adds up: a record of int32, `stride` of them to the next one.
//   (query_biases) -1 where the bias has the bit of this level, else 0
//   (words, program_steps) uint16: the byte offsets of the planes of each word, in the order in which they are added
constexpr int query_biases = 16;
constexpr int program_steps = 44;
constexpr int64_t max_sliced_words = 4, max_paired_words = 32;  // where queries are paired: see SliceKernels

struct SlicedQueries {
  const int32_t* records;
  int64_t stride, count;
};

// Units of codes as planes.
struct SlicedCodes {
  const void* planes;  // (units, words, word_planes) vectors, or (units, half_planes)
  int64_t units, words;
  bool half;   // codes of at most 32 bits
  int levels;  // 2^levels is above the greatest distance
};

// Codes in the scan layout, `first` of them a whole number of units from its beginning, into planes.
struct SliceRun {
  const uint8_t* codes;  // where the first unit begins
  int64_t units, words;
  bool half;
  void* planes;
};

// A step is as many units as are added up side by side. One that holds codes near enough to a query has a mask: bit i
// is code i of the step.
struct SliceHits {
  int32_t query, step;
};

// A candidate is the word distance << 40 | position in the database.
constexpr int position_bits = 40;

// The candidates of one query by rising position; only distances below `threshold` need to come.
struct CandidateList {
  uint64_t* data;
  int64_t size, threshold;

  uint64_t* end() const { return data + size; }
};

// Codes whose bits are set in masks are put into the lists of their queries, which have room for a block each.
struct TakeRun {
  const SliceHits* hits;
  const uint64_t* masks;  // (count, words of a mask)
  int64_t count;
  const uint64_t* allowed;  // a bit for each code of the block, or null
  const uint8_t* codes;     // the block in the scan layout
  const uint64_t* queries;  // (queries, words)
  int64_t words;
  bool half;
  int64_t first;         // position of the block
  CandidateList* lists;  // (queries)
};

// What one thread needs to take hits: `count` nonzero words of masks, and where they come from.
struct TakeMemory {
  uint64_t* words;
  uint32_t* places;  // record * 256 + word
};

// One query's counts of a block whose distances all have one parity. Half of a distance is its place in the counts,
// which have room for `window_room` places below the first and above the last.
struct SlicedCounts {
  int64_t start;   // the place from which the window begins: the sum starts twice as far, and the parity, below 0
  int64_t window;  // 8, 12, 16, 24 or 32 places
  int64_t* total;  // added to, as is relevant_counts
  // (units, lanes) a bit for each code that is relevant to the query, zeros but in an even number of units:
  const uint64_t* relevant;
  int64_t relevant_begin, relevant_end;
  int64_t* relevant_counts;
  int64_t outliers;  // added to: codes outside of the window
};
constexpr int64_t window_room = 32;
// The window must not reach beyond the distances by more than comes back modulo 2^levels.

// Numbers at every value from those of the sets of its bits: product(s) is the number of codes whose value contains s.
template <int bins, class Product>
void add_differences(const Product& product, int64_t* out) {
  int64_t at[bins];
  for (int set = 0; set < bins; ++set) at[set] = product(set);
  for (int bit = 1; bit < bins; bit *= 2)
    for (int set = 0; set < bins; ++set)
      if (!(set & bit) && (set | bit) < bins) at[set] -= at[set | bit];
  for (int value = 0; value < bins; ++value) out[value] += at[value];
}

// Units (an even number, as is `step`) against a few queries.
struct SlicedHistogram {
  SlicedCodes codes;
  SlicedQueries queries;
  int64_t step;          // units that stay in the first-level cache
  void* memory;          // (queries, units, levels - 1) vectors
  SlicedCounts* counts;  // (queries)
};

// One variant; every instruction set defines its own.
struct SliceKernels {
  void (*slice_codes)(const SliceRun& run);
  int64_t (*below)(const SlicedCodes& codes, const SlicedQueries& queries, SliceHits* hits, uint64_t* masks);
  void (*take)(const TakeRun& run, const TakeMemory& memory);
  void (*histogram)(const SlicedHistogram& run);
  int64_t lanes;  // 64-bit lanes of a vector
  int64_t units_at_once;
  int64_t paired_from;  // codes of so many words are scanned for two queries at a time, a unit a step; 0: none are

  int64_t max_words() const { return paired_from > 0 ? max_paired_words : max_sliced_words; }
  bool paired(int64_t words) const { return paired_from > 0 && words >= paired_from; }
  int64_t units_of_step(int64_t words) const { return paired(words) ? 1 : units_at_once; }
  int64_t unit_codes() const { return 64 * lanes; }
  int64_t step_codes(int64_t words) const { return unit_codes() * units_of_step(words); }
  int64_t mask_words(int64_t words) const { return lanes * units_of_step(words); }
};
extern const SliceKernels slices_scalar, slices_avx2, slices_avx512, slices_avx512_vpopcnt, slices_neon;

}  // namespace fasthash
