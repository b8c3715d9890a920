// SPDX-License-Identifier: Apache-2.0
// Counts by distance over the planes of sums, for hamming_slices_vec.h. The codes at one distance are a mask, found
// by way of the masks of all codes whose distances begin with the same bits; where one is empty nothing below it is
// looked at. Beyond the vector type the including file provides
//   count_lanes              numbers in which the ones of a vector are counted
//   add_ones(counts, v)      counts (count_lanes) += ones of v
#pragma once

#include "hamming_slices/hamming_slices_vec.h"

namespace {

constexpr int leaf_bins = 16;   // distances that are told apart without a branch
constexpr int max_leaves = 32;  // of the 9 bits of a distance the upper 5

FH_INLINE bool none(Slice a) { return !any_zero(~a); }

// Counts of one query, in leaves of 16 distances; zero until they are touched.
class LeafCounts {
 public:
  FH_INLINE uint64_t* leaf(int index) {
    uint64_t* counts = counts_ + index * leaf_bins * count_lanes;
    if (!(touched_ >> index & 1)) {
      __builtin_memset(counts, 0, leaf_bins * count_lanes * sizeof(uint64_t));
      touched_ |= uint64_t(1) << index;
    }
    return counts;
  }

  void add_to(int64_t* out, int64_t bins) const {
    for (int index = 0; index < max_leaves; ++index) {
      if (!(touched_ >> index & 1)) continue;
      for (int64_t bin = index * leaf_bins; bin < bins && bin < (index + 1) * leaf_bins; ++bin)
        for (int64_t lane = 0; lane < count_lanes; ++lane) out[bin] += int64_t(counts_[bin * count_lanes + lane]);
    }
  }

 private:
  uint64_t touched_ = 0;
  alignas(64) uint64_t counts_[max_leaves * leaf_bins * count_lanes];
};

// The codes of a mask by the lowest `level` bits of their distances.
template <int level>
FH_INLINE void count_leaf(const Slice* planes, Slice mask, uint64_t* counts) {
  if constexpr (level == 0) {
    add_ones(counts, mask);
  } else {
    const Slice upper = mask & planes[level - 1];
    count_leaf<level - 1>(planes, mask ^ upper, counts);
    count_leaf<level - 1>(planes, upper, counts + (1 << (level - 1)) * count_lanes);
  }
}

template <int level>
inline void count_masked(const Slice* planes, Slice mask, int leaf, LeafCounts& counts) {
  if (none(mask)) return;
  if constexpr (level == 4) {
    count_leaf<4>(planes, mask, counts.leaf(leaf));
  } else {
    const Slice upper = mask & planes[level - 1];
    count_masked<level - 1>(planes, mask ^ upper, leaf, counts);
    count_masked<level - 1>(planes, upper, leaf | 1 << (level - 5), counts);
  }
}

template <int units, int levels, class AddUp>
inline void histogram_units(const SlicedCodes& codes, const SlicedHistogram& run, int64_t unit_bytes,
                            const AddUp& add_up) {
  LeafCounts total, relevant;
  const char* planes = static_cast<const char*>(codes.planes);
  for (int64_t unit = 0; unit < codes.units; unit += units, planes += units * unit_bytes) {
    const Sum<units, levels> sum = add_up(planes, Query{run.query});
    for (int u = 0; u < units; ++u) {
      Slice digits[levels];
      for (int i = 0; i < levels; ++i) digits[i] = sum.at[i].at[u];
      const Slice present = load(run.present + (unit + u) * lanes);
      count_masked<levels>(digits, present, 0, total);
      if (run.relevant) count_masked<levels>(digits, present & load(run.relevant + (unit + u) * lanes), 0, relevant);
    }
  }
  total.add_to(run.total, run.bins);
  if (run.relevant) relevant.add_to(run.relevant_counts, run.bins);
}

template <int levels, int words>
void histogram_words(const SlicedCodes& codes, const SlicedHistogram& run) {
  histogram_units<units_at_once, levels>(codes, run, words * word_planes * slice_bytes,
                                         [](const char* planes, Query query) __attribute__((always_inline)) {
                                           return sum_words<units_at_once, levels, words>(planes, query);
                                         });
}

inline void slice_histogram(const SlicedCodes& codes, const SlicedHistogram& run) {
  if (codes.half)
    return histogram_units<units_at_once, 6>(codes, run, half_planes * slice_bytes,
                                             [](const char* planes, Query query) __attribute__((always_inline)) {
                                               return sum_half<units_at_once>(planes, query);
                                             });
  switch (codes.words) {
    case 1: return histogram_words<7, 1>(codes, run);
    case 2: return histogram_words<8, 2>(codes, run);
    case 3: return histogram_words<8, 3>(codes, run);
    default: return histogram_words<9, 4>(codes, run);
  }
}

}  // namespace

#define FASTHASH_DEFINE_SLICES(machine)                                                                            \
  namespace fasthash {                                                                                             \
  const SliceKernels slices_##machine{slice_codes, slice_below, take_hits, slice_histogram, lanes, units_at_once}; \
  }
