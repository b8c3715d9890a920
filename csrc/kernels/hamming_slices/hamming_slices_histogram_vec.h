// SPDX-License-Identifier: Apache-2.0
// Counts by distance over the planes of sums, for hamming_slices_vec.h.
//
// All distances of a block have one parity, so half of what the sum starts below them, h, tells them apart, and nearly
// every h lies in a window 0 ... bins - 1. There the codes of every product of planes are counted, one `and` a product,
// in place of those of every value: for a set of bits s, f(s) is the number of codes whose h contains s. The numbers at
// every value follow at the end: from f(s) those of the sets above s are taken, bit by bit. Sets below a value are
// smaller numbers, so a window of any size needs no more products than it has values.
// Codes outside of the window are few: those of many units are laid into one unit, side by side, until two of them
// meet in one place, and then counted by a walk down the bits of h.
// Beyond the vector type the including file provides
//   any_one(v)  whether any bit is 1
//   Ones        counts ones, of two vectors at a time, zero at first: add(v, w)
//   add_values<bins>(counts, out)  out[h] += the number at h, of such counts by set
#pragma once

#include "hamming_slices/hamming_slices_vec.h"

namespace {

constexpr int64_t counted_units = 2;  // side by side

constexpr int bits_below(int bins) {
  int bits = 0;
  while ((1 << bits) < bins) ++bits;
  return bits;
}

// The codes of a mask by the lowest `level` bits of h, which has the bits `value` above them; out[place(h)] += their
// number.
template <int level, class Place>
inline void walk(const Slice* planes, Slice mask, int64_t value, const Place& place, int64_t* out) {
  if (!any_one(mask)) return;
  if constexpr (level == 0) {
    uint64_t words[lanes];
    store(words, mask);
    for (uint64_t word : words) out[place(value)] += int64_t(ones(word));
  } else {
    const Slice upper = mask & planes[level - 1];
    walk<level - 1>(planes, mask ^ upper, value, place, out);
    walk<level - 1>(planes, upper, value | int64_t(1) << (level - 1), place, out);
  }
}

// The codes of one query that lie outside of its window. Nothing is set up until there is one.
template <int digits>
class Outliers {
 public:
  explicit Outliers(SlicedCounts& counts) : counts_(counts) {}

  void add(const Slice* h, Slice outside, Slice relevant) {
    if (!used_ || any_one(taken_ & outside)) flush();
    for (int i = 0; i < digits; ++i) planes_[i] = planes_[i] | (h[i] & outside);
    taken_ = taken_ | outside;
    relevant_ = relevant_ | (relevant & outside);
  }

  // Counts those that have come.
  void flush() {
    // h runs from the beginning of the window and comes back to the distances below it.
    const auto place = [&](int64_t h) { return (counts_.start + h) & ((int64_t(1) << digits) - 1); };
    if (used_) {
      const int64_t taken = ones_in(taken_);
      counts_.outliers += taken;
      if (taken <= few) {
        count_singly(place);
      } else {
        walk<digits>(planes_, taken_, 0, place, counts_.total);
        walk<digits>(planes_, relevant_, 0, place, counts_.relevant_counts);
      }
    }
    used_ = true;
    taken_ = relevant_ = splat(0);
    for (Slice& plane : planes_) plane = splat(0);
  }

 private:
  static constexpr int64_t few = 16;

  template <class Place>
  void count_singly(const Place& place) const {
    uint64_t taken[lanes], relevant[lanes], words[digits][lanes];
    store(taken, taken_);
    store(relevant, relevant_);
    for (int i = 0; i < digits; ++i) store(words[i], planes_[i]);
    for (int64_t lane = 0; lane < lanes; ++lane) {
      for (uint64_t left = taken[lane]; left; left &= left - 1) {
        const int bit = __builtin_ctzll(left);
        int64_t h = 0;
        for (int i = 0; i < digits; ++i) h |= int64_t(words[i][lane] >> bit & 1) << i;
        ++counts_.total[place(h)];
        if (relevant[lane] >> bit & 1) ++counts_.relevant_counts[place(h)];
      }
    }
  }

  static int64_t ones_in(Slice mask) {
    uint64_t words[lanes];
    store(words, mask);
    int64_t sum = 0;
    for (uint64_t word : words) sum += int64_t(ones(word));
    return sum;
  }

  SlicedCounts& counts_;
  bool used_ = false;
  Slice taken_, relevant_, planes_[digits];
};

// A pair of units.
struct Pair {
  Slice a, b;
};
FH_INLINE Pair operator&(Pair x, Pair y) { return {x.a & y.a, x.b & y.b}; }
FH_INLINE Pair operator|(Pair x, Pair y) { return {x.a | y.a, x.b | y.b}; }

// Of every product of planes the ones, by its set of planes.
template <int bins>
struct Products {
  static constexpr int bits = bits_below(bins);
  Ones counts[bins];

  // The product of `set`, and all that come of it with planes below `bit`.
  template <int set, int bit>
  FH_INLINE void add(const Pair* planes, Pair product) {
    counts[set].add(product.a, product.b);
    extend<set, bit - 1>(planes, product);
  }
  template <int set, int bit>
  FH_INLINE void extend(const Pair* planes, Pair product) {
    if constexpr (bit >= 0) {
      if constexpr ((set | 1 << bit) < bins) add<(set | 1 << bit), bit>(planes, product & planes[bit]);
      extend<set, bit - 1>(planes, product);
    }
  }
  template <int bit = bits - 1>
  FH_INLINE void add_all(const Pair* planes) {
    if constexpr (bit >= 0) {
      add<1 << bit, bit>(planes, planes[bit]);
      add_all<bit - 1>(planes);
    }
  }
};

// The planes of h of two units, and the codes outside of the window.
template <int bins, int digits>
struct Digits {
  static constexpr int bits = bits_below(bins);
  Pair plane[bits], outside;

  FH_INLINE explicit Digits(const char* at) {
    for (int i = 0; i < bits; ++i) plane[i] = plane_at(at, i);
    outside = {splat(0), splat(0)};
    for (int i = bits; i < digits; ++i) outside = outside | plane_at(at, i);
    if constexpr (bins < 1 << bits) outside = outside | (plane[bits - 1] & plane[bits - 2]);
  }
  static FH_INLINE Pair plane_at(const char* at, int i) {
    return {load(at + i * slice_bytes), load(at + (digits + i) * slice_bytes)};
  }
  FH_INLINE bool complete() const { return !any_one(outside.a | outside.b); }
  FH_INLINE void mask(Pair kept) {
    for (Pair& p : plane) p = p & kept;
  }
};

FH_INLINE Pair relevant_at(const SlicedCounts& counts, int64_t unit) {
  const uint64_t* words = counts.relevant + unit * lanes;
  return {load(words), load(words + lanes)};
}

// Codes outside of the window, which the products must not see.
template <int bins, int digits>
__attribute__((noinline)) Digits<bins, digits> take_outliers(const char* at, const SlicedCounts& counts, int64_t unit,
                                                             Outliers<digits>& outliers) {
  Digits<bins, digits> units(at);
  const bool labelled = unit >= counts.relevant_begin && unit < counts.relevant_end;
  const Pair relevant = labelled ? relevant_at(counts, unit) : Pair{splat(0), splat(0)};
  Slice h[digits];
  for (int u = 0; u < 2; ++u) {
    const Slice outside = u ? units.outside.b : units.outside.a;
    if (!any_one(outside)) continue;
    for (int i = 0; i < digits; ++i) h[i] = load(at + (u * digits + i) * slice_bytes);
    outliers.add(h, outside, u ? relevant.b : relevant.a);
  }
  units.mask({~units.outside.a, ~units.outside.b});
  return units;
}

template <int bins, int digits>
void count_relevant(const char* at, SlicedCounts& counts) {
  Products<bins> products;
  for (int64_t unit = counts.relevant_begin; unit < counts.relevant_end; unit += 2) {
    Digits<bins, digits> units(at + unit * digits * slice_bytes);
    const Pair inside = relevant_at(counts, unit) & Pair{~units.outside.a, ~units.outside.b};
    if (!any_one(inside.a | inside.b)) continue;
    units.mask(inside);
    products.counts[0].add(inside.a, inside.b);
    products.add_all(units.plane);
  }
  add_values<bins>(products.counts, counts.relevant_counts + counts.start);
}

// `units` units, an even number.
template <int bins, int digits>
__attribute__((noinline)) void count_window(const char* at, int64_t units, SlicedCounts& counts) {
  Products<bins> products;
  Outliers<digits> outliers(counts);
  for (int64_t unit = 0; unit < units; unit += 2) {
    const char* here = at + unit * digits * slice_bytes;
    Digits<bins, digits> pair(here);
    if (!pair.complete()) [[unlikely]]
      pair = take_outliers<bins, digits>(here, counts, unit, outliers);
    products.add_all(pair.plane);
  }
  outliers.flush();
  counts.total[counts.start] += units * lanes * 64 - counts.outliers;
  add_values<bins>(products.counts, counts.total + counts.start);
  if (counts.relevant_begin < counts.relevant_end) count_relevant<bins, digits>(at, counts);
}

template <int digits>
inline void count_units(const char* at, int64_t units, SlicedCounts& counts) {
  switch (counts.window) {
    case 8: return count_window<8, digits>(at, units, counts);
    case 12: return count_window<12, digits>(at, units, counts);
    case 16: return count_window<16, digits>(at, units, counts);
    case 24: return count_window<24, digits>(at, units, counts);
    default: return count_window<32, digits>(at, units, counts);
  }
}

// The planes of h of the queries, units of the first-level cache at a time.
template <int units, int levels, class AddUp>
inline void histogram_units(const SlicedHistogram& run, int64_t unit_bytes, const AddUp& add_up) {
  constexpr int digits = levels - 1;
  const int64_t stride = run.codes.units * digits * slice_bytes;
  char* const memory = static_cast<char*>(run.memory);
  const char* planes = static_cast<const char*>(run.codes.planes);
  for (int64_t first = 0; first < run.codes.units; first += run.step) {
    const int64_t end = first + run.step < run.codes.units ? first + run.step : run.codes.units;
    const int32_t* record = run.queries.records;
    for (int64_t query = 0; query < run.queries.count; ++query, record += run.queries.stride) {
      char* out = memory + query * stride + first * digits * slice_bytes;
      for (int64_t unit = first; unit < end; unit += units, out += units * digits * slice_bytes) {
        const Sum<units, levels> sum = add_up(planes + unit * unit_bytes, Query{record});
        for (int u = 0; u < units; ++u)
          for (int i = 0; i < digits; ++i) store(out + (u * digits + i) * slice_bytes, sum.at[i + 1].at[u]);
      }
    }
  }
  for (int64_t query = 0; query < run.queries.count; ++query)
    count_units<digits>(memory + query * stride, run.codes.units, run.counts[query]);
}

template <int levels, int words>
void histogram_words(const SlicedHistogram& run) {
  histogram_units<units_at_once, levels>(run, words * word_planes * slice_bytes,
                                         [](const char* planes, Query query) __attribute__((always_inline)) {
                                           return sum_words<units_at_once, levels, words>(planes, query);
                                         });
}

inline void slice_histogram(const SlicedHistogram& run) {
  if (run.codes.half)
    return histogram_units<units_at_once, 6>(run, half_planes * slice_bytes,
                                             [](const char* planes, Query query) __attribute__((always_inline)) {
                                               return sum_half<units_at_once>(planes, query);
                                             });
  switch (run.codes.words) {
    case 1: return histogram_words<7, 1>(run);
    case 2: return histogram_words<8, 2>(run);
    case 3: return histogram_words<8, 3>(run);
    default: return histogram_words<9, 4>(run);
  }
}

}  // namespace

#define FASTHASH_DEFINE_SLICES(machine)                                                        \
  namespace fasthash {                                                                         \
  const SliceKernels slices_##machine{slice_codes, slice_below,   take_hits,  slice_histogram, \
                                      lanes,       units_at_once, paired_from};                \
  }
