// SPDX-License-Identifier: Apache-2.0
// The scan over the vector type of the including file, all with internal linkage. That file provides
//   Lanes                eight 64-bit lanes: load(p), splat(x), ^, min (of values below 2^31)
//   BitSum               ones per lane: add(Lanes), at most `limit` times between calls of flush(); total()
//   HalfLanes            sixteen 32-bit lanes: load_half(p), splat_half(x), ^, min, ones(x)
//   batch                how many groups of 8 codes are summed side by side, 8 / batch whole
//   queries_at_once      how many queries of long codes are, scan_queries divided by a whole number
//   groups_alone         `batch` for a single query of long codes: few streams of memory
//   lanes_below(a, b)    bit i: lane i of a < lane i of b (values below 2^31)
//   put_hits, put_distances
#pragma once

#include "hamming_scan/hamming_scan_seam.h"

namespace {

using fasthash::Hit;
using fasthash::ScanRun;

constexpr int64_t tile_groups = 8;
// One query waits for memory: it asks for what it needs so many bytes ahead.
constexpr int64_t read_ahead = 12288;

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

// Codes of many words: `queries` against `groups` groups at a time. A code near enough is taken from the registers.
template <int queries, int groups, bool ahead>
class LongScan {
 public:
  LongScan(const ScanRun* runs, const int32_t* thresholds) : runs_(runs), words_(runs->words), count_(runs->count) {
    for (int q = 0; q < queries; ++q) limits_[q] = splat(uint64_t(thresholds[q]));
  }

  void below(Hit* const* hits, int64_t* found) const {
    const char* at = static_cast<const char*>(runs_->codes);
    for (int64_t place = 0; place < count_; place += groups * 8, at += groups * words_ * 64) {
      Lanes distances[queries][groups];
      sum(at, distances);
      unsigned near[queries], any = 0;
      for (int q = 0; q < queries; ++q) {
        Lanes least = distances[q][0];
        for (int g = 1; g < groups; ++g) least = min(least, distances[q][g]);
        any |= near[q] = lanes_below(least, limits_[q]);
      }
      if (!any) continue;
      for (int q = 0; q < queries; ++q)
        if (near[q]) found[q] += put(distances[q], limits_[q], place, hits[q] + found[q]);
    }
  }

 private:
  void sum(const char* at, Lanes (&distances)[queries][groups]) const {
    BitSum sums[queries][groups];
    add_word(at, 0, sums);  // ahead of the loop, where the sums are known to be zero
    for (int64_t first = 1; first < words_; first += BitSum::limit - 1) {
      const int64_t end = words_ - first < BitSum::limit ? words_ : first + BitSum::limit - 1;
      for (int64_t w = first; w < end; ++w) add_word(at, w, sums);
      for (int q = 0; q < queries; ++q)
        for (int g = 0; g < groups; ++g) sums[q][g].flush();
    }
    for (int q = 0; q < queries; ++q)
      for (int g = 0; g < groups; ++g) distances[q][g] = sums[q][g].total();
  }

  void add_word(const char* at, int64_t w, BitSum (&sums)[queries][groups]) const {
    if (ahead) __builtin_prefetch(at + w * 64 + read_ahead);
    Lanes codes[groups];
    for (int g = 0; g < groups; ++g) codes[g] = load(at + (g * words_ + w) * 64);
    for (int q = 0; q < queries; ++q) {
      const Lanes query = splat(runs_[q].query[w]);
      for (int g = 0; g < groups; ++g) sums[q][g].add(codes[g] ^ query);
    }
  }

  int64_t put(const Lanes (&distances)[groups], Lanes limit, int64_t place, Hit* hits) const {
    int64_t found = 0;
    for (int g = 0; g < groups && place < count_; ++g, place += 8) {
      const unsigned live = count_ - place < 8 ? (1u << (count_ - place)) - 1 : 255;
      found += put_hits(distances[g], lanes_below(distances[g], limit) & live, int32_t(place), hits + found);
    }
    return found;
  }

  const ScanRun* runs_;
  int64_t words_, count_;
  Lanes limits_[queries];
};

// Codes of at most 32 bits, 16 to the 64 bytes.
inline int64_t scan_below_half(const ScanRun& run, int32_t threshold, Hit* hits) {
  const HalfLanes query = splat_half(uint32_t(*run.query)), limit = splat_half(uint32_t(threshold));
  const char* at = static_cast<const char*>(run.codes);
  int64_t found = 0;
  for (int64_t place = 0; place < run.count; place += 64, at += 256) {
    HalfLanes distances[4];
    for (int i = 0; i < 4; ++i) distances[i] = ones(load_half(at + 64 * i) ^ query);
    const HalfLanes least = min(min(distances[0], distances[1]), min(distances[2], distances[3]));
    if (!lanes_below(least, limit)) continue;
    for (int i = 0; i < 4 && place + 16 * i < run.count; ++i) {
      const int64_t first = place + 16 * i;
      const unsigned live = run.count - first < 16 ? (1u << (run.count - first)) - 1 : 0xffff;
      found += put_hits(distances[i], lanes_below(distances[i], limit) & live, int32_t(first), hits + found);
    }
  }
  return found;
}

inline int64_t scan_below(const ScanRun& run, int32_t threshold, Hit* hits) {
  if (run.half) return scan_below_half(run, threshold, hits);
  switch (run.words) {
    case 1: return Scan<1>(run).below(threshold, hits);
    case 2: return Scan<2>(run).below(threshold, hits);
    default: break;
  }
  int64_t found = 0;
  if (fasthash::asks_ahead())
    LongScan<1, groups_alone, true>(&run, &threshold).below(&hits, &found);
  else
    LongScan<1, groups_alone, false>(&run, &threshold).below(&hits, &found);
  return found;
}

inline void scan_below_many(const ScanRun* runs, const int32_t* thresholds, Hit* const* hits, int64_t* found) {
  for (int q = 0; q < fasthash::scan_queries; q += queries_at_once)
    LongScan<queries_at_once, batch, false>(runs + q, thresholds + q).below(hits + q, found + q);
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
