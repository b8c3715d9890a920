// SPDX-License-Identifier: Apache-2.0
// The sliced scan over the vector type of the including file, all with internal linkage. That file provides
//   Slice                       a vector of bits: load(p), store(p, v), splat(int32), splat64(uint64), &, |, ^, ~,
//                               shift_left<n>(v) and shift_right<n>(v) of its 64-bit lanes
//   lanes                       its number of 64-bit lanes
//   full_add(acc, x, y, carry)  bit by bit: acc + x + y -> acc, carry
//   majority(x, y, z)
//   any_zero(v)                 whether any bit is 0
//   load_half(p)                `lanes` 32-bit words, each filled up with zeros
//   transpose(v[lanes])         lane i of v[j] <-> lane j of v[i]
//   ones(uint64), ones(Slice)   the number of ones
//   units_at_once               how many units of codes of one word are added up side by side
//   paired_from                 words from which two queries are added up side by side instead, in passes; 0: none
#pragma once

#include "hamming_slices/hamming_slices_seam.h"

#define FH_INLINE __attribute__((always_inline)) inline

namespace {

using namespace fasthash;

constexpr int64_t slice_bytes = lanes * 8;

// A vector for each of the units that are added up side by side.
template <int units>
struct Slices {
  Slice at[units];
};

// acc, x, y -> the sum in acc, and the carry. Two instructions where three bits can be combined in one.
template <int units>
FH_INLINE Slices<units> full_add(Slices<units>& acc, const Slices<units>& x, const Slices<units>& y) {
  Slices<units> carry;
  for (int u = 0; u < units; ++u) full_add(acc.at[u], x.at[u], y.at[u], carry.at[u]);
  return carry;
}

template <int units>
FH_INLINE Slices<units> half_add(Slices<units>& acc, const Slices<units>& x) {
  Slices<units> carry;
  for (int u = 0; u < units; ++u) {
    carry.at[u] = acc.at[u] & x.at[u];
    acc.at[u] = acc.at[u] ^ x.at[u];
  }
  return carry;
}

// The planes of one word that a query adds up, one after the other. Four offsets come with one load.
template <int units>
class Program {
 public:
  FH_INLINE Program(const char* planes, int64_t unit_bytes, const uint16_t* offsets)
      : planes_(planes), unit_bytes_(unit_bytes), offsets_(offsets) {}

  FH_INLINE Slices<units> plane(int step) const {
    uint64_t four;
    __builtin_memcpy(&four, offsets_ + step / 4 * 4, 8);
    const char* at = planes_ + ((four >> (step % 4 * 16)) & 0xffff);
    Slices<units> result;
    for (int u = 0; u < units; ++u) result.at[u] = load(at + u * unit_bytes_);
    return result;
  }

 private:
  const char* planes_;
  int64_t unit_bytes_;
  const uint16_t* offsets_;
};

// The sum of planes: level i holds bit i of every code's distance.
template <int units, int levels>
struct Sum {
  using Group = Slices<units>;
  Group at[levels + 1];  // the last one: 2^levels is reached

  FH_INLINE Sum() {}
  FH_INLINE explicit Sum(const int32_t* bias) {
    for (int level = 0; level <= levels; ++level)
      for (int u = 0; u < units; ++u) at[level].at[u] = splat(bias[level]);
  }

  // A carry into `level` runs up to the end.
  FH_INLINE void ripple(int level, Group carry) {
#pragma GCC unroll 16
    for (int i = level; i < levels; ++i) carry = half_add(at[i], carry);
    for (int u = 0; u < units; ++u) at[levels].at[u] = at[levels].at[u] | carry.at[u];
  }

  // A pair of inputs of level 1 comes; pairs of carries of every level above wait for each other.
  template <int pairs>
  FH_INLINE void add_pair(int pair, const Group& x, const Group& y) {
    Group carry = full_add(at[1], x, y);
#pragma GCC unroll 8
    for (int level = 2; level < 8; ++level) {
      const int size = 1 << (level - 1);  // pairs that a carry of this level stands for
      if (size > pairs) {
        ripple(level, carry);
        return;
      }
      if ((pair + 1) % size != 0) {
        waiting[level] = carry;
        return;
      }
      carry = full_add(at[level], waiting[level], carry);
    }
  }
  Group waiting[8];

  // `sums` planes of weight 1 and `pairs` pairs of weight 2, of which sums / 2 are a carry and a majority: pair `begun`
  // and the following ones of `all` pairs.
  template <int sums, int pairs, int all = pairs, class Planes>
  FH_INLINE void add(const Planes& program, int begun = 0) {
    int step = 0;
#pragma GCC unroll 16
    for (int pair = 0; pair < pairs; ++pair) {
      Group x;
      if (2 * pair < sums) {
        const Group first = program.plane(step), second = program.plane(step + 1);
        x = full_add(at[0], first, second);
        step += 2;
      } else {
        x = program.plane(step++);
      }
      add_pair<all>(begun + pair, x, program.plane(step++));
    }
  }
};

// One query: see SlicedQueries.
struct Query {
  const int32_t* record;
  FH_INLINE const int32_t* bias() const { return record; }
  FH_INLINE const uint16_t* program() const { return reinterpret_cast<const uint16_t*>(record + query_biases); }
};

// Unrolled over the words: as a loop it takes a third longer.
template <int units, int levels, int words>
FH_INLINE Sum<units, levels> sum_words(const char* planes, const Query& query) {
  Sum<units, levels> sum(query.bias());
#pragma GCC unroll 4
  for (int w = 0; w < words; ++w) {
    const Program<units> word(planes + w * word_planes * slice_bytes, words * word_planes * slice_bytes,
                              query.program() + w * program_steps);
    sum.template add<22, 16>(word);
  }
  return sum;
}

template <int units>
FH_INLINE Sum<units, 6> sum_half(const char* planes, const Query& query) {
  Sum<units, 6> sum(query.bias());
  sum.template add<12, 8>(Program<units>(planes, half_planes * slice_bytes, query.program()));
  return sum;
}

// All steps of `units` units against all queries; far(planes, query) gives the planes of the codes that are not near.
template <int units, class Far>
FH_INLINE int64_t scan_units(const SlicedCodes codes, int64_t unit_bytes, const SlicedQueries queries, const Far& far,
                             SliceHits* hits, uint64_t* masks) {
  SliceHits* const begin = hits;
  const int32_t* record = queries.records;
  for (int32_t query = 0; query < queries.count; ++query, record += queries.stride) {
    const char* planes = static_cast<const char*>(codes.planes);
    for (int32_t step = 0; step < codes.units / units; ++step, planes += units * unit_bytes) {
      const Slices<units> result = far(planes, Query{record});
      Slice all = result.at[0];
      for (int u = 1; u < units; ++u) all = all & result.at[u];
      *hits = {query, step};
      for (int u = 0; u < units; ++u) store(masks + u * lanes, ~result.at[u]);
      const int64_t found = any_zero(all);
      hits += found;
      masks += found * units * lanes;
    }
  }
  return hits - begin;
}

template <int levels, int words>
int64_t below_words(const SlicedCodes& codes, const SlicedQueries& queries, SliceHits* hits, uint64_t* masks) {
  const auto far = [](const char* planes, Query query) __attribute__((always_inline)) {
    return sum_words<units_at_once, levels, words>(planes, query).at[levels];
  };
  return scan_units<units_at_once>(codes, words * word_planes * slice_bytes, queries, far, hits, masks);
}

inline int64_t below_half(const SlicedCodes& codes, const SlicedQueries& queries, SliceHits* hits, uint64_t* masks) {
  const auto far = [](const char* planes, Query query)
                       __attribute__((always_inline)) { return sum_half<units_at_once>(planes, query).at[6]; };
  return scan_units<units_at_once>(codes, half_planes * slice_bytes, queries, far, hits, masks);
}

}  // namespace

#include "hamming_slices/hamming_slices_pass_vec.h"

namespace {

inline int64_t slice_below(const SlicedCodes& codes, const SlicedQueries& queries, SliceHits* hits, uint64_t* masks) {
  if constexpr (paired_from > 0) {
    if (codes.words >= paired_from) return below_paired(codes, queries, hits, masks);
  }
  if (codes.half) return below_half(codes, queries, hits, masks);
  switch (codes.words) {
    case 1: return below_words<7, 1>(codes, queries, hits, masks);
    case 2: return below_words<8, 2>(codes, queries, hits, masks);
    case 3: return below_words<8, 3>(codes, queries, hits, masks);
    default: return below_words<9, 4>(codes, queries, hits, masks);
  }
}

// Swaps the upper right and the lower left quarter of every 2 n x 2 n square of bits.
template <int n>
FH_INLINE void swap_quarters(Slice& a, Slice& b) {
  constexpr uint64_t masks[] = {0x5555555555555555, 0x3333333333333333, 0x0f0f0f0f0f0f0f0f,
                                0x00ff00ff00ff00ff, 0x0000ffff0000ffff, 0x00000000ffffffff};
  constexpr int index = n == 1 ? 0 : n == 2 ? 1 : n == 4 ? 2 : n == 8 ? 3 : n == 16 ? 4 : 5;
  const Slice wrong = (shift_right<n>(a) ^ b) & splat64(masks[index]);
  b = b ^ wrong;
  a = a ^ shift_left<n>(wrong);
}

// Three of the six steps of a transposition of 64 x 64 bits, on rows `step` apart.
template <int step>
FH_INLINE void transpose_eight(Slice* rows) {
  Slice v[8];
  for (int i = 0; i < 8; ++i) v[i] = rows[i * step];
  for (int i = 0; i < 4; ++i) swap_quarters<4 * step>(v[i], v[i + 4]);
  for (int i = 0; i < 8; ++i)
    if (!(i & 2)) swap_quarters<2 * step>(v[i], v[i + 2]);
  for (int i = 0; i < 8; i += 2) swap_quarters<step>(v[i], v[i + 1]);
  for (int i = 0; i < 8; ++i) rows[i * step] = v[i];
}

// Lane j of row i: word w of code 64 j + i; afterwards bit i of lane j of row b: bit b of that word.
FH_INLINE void bit_planes(const SliceRun& run, const uint8_t* unit, int64_t w, Slice (&rows)[64]) {
  for (int64_t i = 0; i < 64; i += lanes) {
    Slice block[lanes];
    for (int64_t j = 0; j < lanes; ++j) {
      const int64_t n = 64 * j + i;
      block[j] = run.half ? load_half(unit + n * 4) : load(unit + (n / 8 * run.words + w) * 64 + n % 8 * 8);
    }
    transpose(block);
    for (int64_t j = 0; j < lanes; ++j) rows[i + j] = block[j];
  }
  for (int i = 0; i < 8; ++i) transpose_eight<8>(rows + i);
  for (int i = 0; i < 64; i += 8) transpose_eight<1>(rows + i);
}

FH_INLINE char* put(char* at, Slice value) {
  store(at, value);
  return at + slice_bytes;
}

// The planes of three bits: see hamming_slices_seam.h.
FH_INLINE char* put_group(char* at, Slice a, Slice b, Slice c) {
  const Slice sum = a ^ b ^ c, not_a = ~a, not_b = ~b;
  at = put(put(at, sum), ~sum);
  const Slice upper[4] = {majority(a, b, c), majority(not_a, b, c), majority(a, not_b, c), majority(not_a, not_b, c)};
  for (int i = 0; i < 4; ++i) at = put(at, upper[i]);
  for (int i = 3; i >= 0; --i) at = put(at, ~upper[i]);  // all three inverted
  return at;
}

inline void slice_codes(const SliceRun& run) {
  char* at = static_cast<char*>(run.planes);
  const int groups = run.half ? slice_half_groups : slice_word_groups, bits = run.half ? 32 : 64;
  const int64_t unit_bytes = 64 * lanes * run.words * (run.half ? 4 : 8);
  for (int64_t unit = 0; unit < run.units; ++unit) {
    for (int64_t w = 0; w < run.words; ++w) {
      Slice rows[64];
      bit_planes(run, run.codes + unit * unit_bytes, w, rows);
      for (int i = 0; i < groups; ++i) at = put_group(at, rows[3 * i], rows[3 * i + 1], rows[3 * i + 2]);
      for (int i = 3 * groups; i < bits; ++i) at = put(put(at, rows[i]), ~rows[i]);
    }
  }
}

FH_INLINE uint64_t word_at(const uint8_t* p, bool half) {
  uint64_t word = 0;
  __builtin_memcpy(&word, p, 4);
  if (!half) __builtin_memcpy(&word, p, 8);
  return word;
}

FH_INLINE int64_t mask_words_of(const TakeRun& run) {
  return lanes * (paired_from > 0 && run.words >= paired_from ? 1 : units_at_once);
}

// Nonzero words first, without a branch: how many of them a mask has cannot be foretold.
inline int64_t nonzero_words(const TakeRun& run, const TakeMemory& memory) {
  const int64_t mask_words = mask_words_of(run);
  int64_t found = 0;
  for (int64_t i = 0; i < run.count; ++i) {
    const uint64_t* mask = run.masks + i * mask_words;
    const uint64_t* allowed = run.allowed ? run.allowed + run.hits[i].step * mask_words : nullptr;
    for (int64_t j = 0; j < mask_words; ++j) {
      const uint64_t word = allowed ? mask[j] & allowed[j] : mask[j];
      memory.words[found] = word;
      memory.places[found] = uint32_t(i << 8 | j);
      found += word != 0;
    }
  }
  return found;
}

template <bool half, int fixed>
FH_INLINE uint64_t distance_to(const TakeRun& run, const uint64_t* query, int64_t n) {
  const int64_t words = fixed ? fixed : run.words;
  const uint8_t* code = run.codes + (half ? n * 4 : n / 8 * words * 64 + n % 8 * 8);
  uint64_t distance = 0;
  for (int64_t w = 0; w < words; ++w) distance += ones(word_at(code + w * 64, half) ^ query[w]);
  return distance;
}

template <bool half, int fixed>
void take_words(const TakeRun& run, const TakeMemory& memory) {
  const int64_t mask_words = mask_words_of(run);
  const int64_t found = nonzero_words(run, memory);
  for (int64_t i = 0; i < found; ++i) {
    const SliceHits hit = run.hits[memory.places[i] >> 8];
    const int64_t at = (hit.step * mask_words + (memory.places[i] & 255)) * 64;
    const uint64_t* query = run.queries + hit.query * (fixed ? fixed : run.words);
    CandidateList& list = run.lists[hit.query];
    uint64_t bits = memory.words[i];
    do {
      const int64_t n = at + __builtin_ctzll(bits);
      *list.end() = distance_to<half, fixed>(run, query, n) << position_bits | uint64_t(run.first + n);
      ++list.size;
      bits &= bits - 1;
    } while (bits);
  }
}

inline void take_hits(const TakeRun& run, const TakeMemory& memory) {
  if (run.half) return take_words<true, 1>(run, memory);
  if (run.words == 1) return take_words<false, 1>(run, memory);
  take_words<false, 0>(run, memory);
}

}  // namespace
