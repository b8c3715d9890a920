// SPDX-License-Identifier: Apache-2.0
// The scan over the vector type of the including file, all with internal linkage. That file provides
//   Lanes                eight 64-bit lanes: load(p), splat(x), ^, min (of values below 2^31)
//   BitSum               ones per lane: add(Lanes), at most `limit` times between calls of flush(); total()
//   batch                how many groups of 8 codes are summed side by side, 8 / batch whole
//   lanes_below(a, b)    bit i: lane i of a < lane i of b (values below 2^31)
//   put_hits, put_distances
#pragma once

#include "hamming_scan/hamming_scan_seam.h"

namespace {

using fasthash::Hit;
using fasthash::ScanRun;

constexpr int64_t tile_groups = 8;

// The scan of one query; `fixed` is the number of words where it is known to the compiler, else 0.
template <int fixed>
class Scan {
 public:
  explicit Scan(const ScanRun& run)
      : query_(run.query),
        codes_(static_cast<const char*>(run.codes)),
        words_(fixed ? fixed : run.words),
        count_(run.count) {}

  // Most tiles hold no code near enough, which their least distance tells.
  int64_t below(int32_t threshold, Hit* hits) const {
    const Lanes limit = splat(uint64_t(threshold));
    int64_t found = 0;
    for (int64_t group = 0; group * 8 < count_; group += tile_groups) {
      Lanes least = limit;
      for (int64_t g = 0; g < tile_groups; g += batch) {
        Lanes distances[batch];
        sum(group + g, distances);
        for (int i = 0; i < batch; ++i) least = min(least, distances[i]);
      }
      if (lanes_below(least, limit)) found += collect(group, limit, hits + found);
    }
    return found;
  }

  void all(int32_t* out) const {
    for (int64_t group = 0; group * 8 < count_; group += batch) {
      Lanes distances[batch];
      sum(group, distances);
      for (int i = 0; i < batch; ++i) {
        const int64_t place = (group + i) * 8;
        if (place < count_) put_distances(distances[i], live(place), out + place);
      }
    }
  }

 private:
  // The number of real codes in the group that begins at `place`.
  int live(int64_t place) const { return count_ - place < 8 ? int(count_ - place) : 8; }

  void sum(int64_t group, Lanes (&distances)[batch]) const {
    const int64_t words = fixed ? fixed : words_;
    const char* at = codes_ + group * words * 64;
    BitSum sums[batch];
    for (int64_t first = 0; first < words; first += BitSum::limit) {
      const int64_t end = words - first < BitSum::limit ? words : first + BitSum::limit;
      for (int64_t w = first; w < end; ++w) {
        const Lanes query = splat(query_[w]);
        for (int i = 0; i < batch; ++i) sums[i].add(load(at + (i * words + w) * 64) ^ query);
      }
      for (int i = 0; i < batch; ++i) sums[i].flush();
    }
    for (int i = 0; i < batch; ++i) distances[i] = sums[i].total();
  }

  int64_t collect(int64_t group, Lanes limit, Hit* hits) const {
    int64_t found = 0;
    for (int64_t g = 0; g < tile_groups; g += batch) {
      Lanes distances[batch];
      sum(group + g, distances);
      for (int i = 0; i < batch; ++i) {
        const int64_t place = (group + g + i) * 8;
        if (place >= count_) return found;
        const unsigned near = lanes_below(distances[i], limit) & ((1u << live(place)) - 1);
        found += put_hits(distances[i], near, int32_t(place), hits + found);
      }
    }
    return found;
  }

  const uint64_t* query_;
  const char* codes_;
  int64_t words_, count_;
};

inline int64_t scan_below(const ScanRun& run, int32_t threshold, Hit* hits) {
  switch (run.words) {
    case 1: return Scan<1>(run).below(threshold, hits);
    case 2: return Scan<2>(run).below(threshold, hits);
    case 4: return Scan<4>(run).below(threshold, hits);
    default: return Scan<0>(run).below(threshold, hits);
  }
}

inline void scan_all(const ScanRun& run, int32_t* distances) {
  switch (run.words) {
    case 1: return Scan<1>(run).all(distances);
    case 2: return Scan<2>(run).all(distances);
    case 4: return Scan<4>(run).all(distances);
    default: return Scan<0>(run).all(distances);
  }
}

}  // namespace
