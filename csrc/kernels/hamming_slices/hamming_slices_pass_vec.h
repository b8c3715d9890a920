// SPDX-License-Identifier: Apache-2.0
// The part of hamming_slices_vec.h, which includes it, that adds up long codes: for two queries side by side, two words
// at a time.
#pragma once

namespace {

// The same for two queries and one unit.
class PairProgram {
 public:
  FH_INLINE PairProgram(const char* planes, const uint16_t* first, const uint16_t* second)
      : planes_(planes), offsets_{first, second} {}

  FH_INLINE Slices<2> plane(int step) const {
    Slices<2> result;
    for (int q = 0; q < 2; ++q) {
      uint64_t four;
      __builtin_memcpy(&four, offsets_[q] + step / 4 * 4, 8);
      result.at[q] = load(planes_ + ((four >> (step % 4 * 16)) & 0xffff));
    }
    return result;
  }

 private:
  const char* planes_;
  const uint16_t* offsets_[2];
};

// Two words at a time for a group of queries, so that planes and sums stay in the first-level cache from one pass to
// the next. The lower levels of a sum are added up in registers; one carry runs through the upper ones, in memory.
constexpr int lower_levels = 7, words_of_pass = 2, queries_of_pass = 64;

struct Pass {
  const char* planes;  // of its first word
  const int32_t* records;
  int64_t stride, count;  // queries
  int64_t word;
  int levels;
  char* sums;  // (pairs of queries, levels + 1, 2) vectors
};

struct HitWriter {
  SliceHits* hits;
  uint64_t* masks;

  FH_INLINE void write(int32_t query, int32_t step, Slice far) {
    *hits = {query, step};
    store(masks, ~far);
    const int64_t found = any_zero(far);
    hits += found;
    masks += found * lanes;
  }
};

template <bool first, bool last, int words>
FH_INLINE Slices<2> add_pass(const Pass& pass, const Query (&queries)[2], char* sums) {
  const auto begun = [&](int level) __attribute__((always_inline)) {
    Slices<2> x;
    for (int q = 0; q < 2; ++q)
      x.at[q] = first ? splat(queries[q].bias()[level]) : load(sums + (2 * level + q) * slice_bytes);
    return x;
  };
  const auto keep = [&](int level, const Slices<2>& x) __attribute__((always_inline)) {
    for (int q = 0; q < 2; ++q) store(sums + (2 * level + q) * slice_bytes, x.at[q]);
  };
  Sum<2, lower_levels> sum;
  for (int level = 0; level < lower_levels; ++level) sum.at[level] = begun(level);
  for (int q = 0; q < 2; ++q) sum.at[lower_levels].at[q] = splat(0);
#pragma GCC unroll 2
  for (int w = 0; w < words; ++w) {
    const int64_t at = (pass.word + w) * program_steps;
    const PairProgram program(pass.planes + w * word_planes * slice_bytes, queries[0].program() + at,
                              queries[1].program() + at);
    sum.template add<22, 16, 16 * words>(program, 16 * w);
  }
  Slices<2> carry = sum.at[lower_levels];
  for (int level = lower_levels; level < pass.levels; ++level) {
    Slices<2> x = begun(level);
    carry = half_add(x, carry);
    if (!last) keep(level, x);
  }
  Slices<2> far = begun(pass.levels);
  for (int q = 0; q < 2; ++q) far.at[q] = far.at[q] | carry.at[q];
  if (!last) {
    for (int level = 0; level < lower_levels; ++level) keep(level, sum.at[level]);
    keep(pass.levels, far);
  }
  return far;
}

// An odd query is its own partner.
template <bool first, bool last, int words>
void run_pass(const Pass& pass, int32_t query, int32_t step, HitWriter* out) {
  HitWriter writer = *out;
  char* sums = pass.sums;
  for (int64_t i = 0; i < pass.count; i += 2, sums += 2 * (pass.levels + 1) * slice_bytes) {
    const int64_t partner = i + 1 < pass.count ? i + 1 : i;
    const Query pair[2] = {{pass.records + i * pass.stride}, {pass.records + partner * pass.stride}};
    const Slices<2> far = add_pass<first, last, words>(pass, pair, sums);
    if (!last) continue;
    writer.write(query + int32_t(i), step, far.at[0]);
    if (partner != i) writer.write(query + int32_t(partner), step, far.at[1]);
  }
  *out = writer;
}

inline int64_t below_paired(const SlicedCodes& codes, const SlicedQueries& queries, SliceHits* hits, uint64_t* masks) {
  alignas(64) char sums[queries_of_pass * query_biases * slice_bytes];
  HitWriter writer{hits, masks};
  const auto run = [](bool first, bool last, bool two) {
    if (first && last) return two ? run_pass<true, true, 2> : run_pass<true, true, 1>;
    if (first) return run_pass<true, false, 2>;
    if (!last) return run_pass<false, false, 2>;
    return two ? run_pass<false, true, 2> : run_pass<false, true, 1>;
  };
  for (int64_t begin = 0; begin < queries.count; begin += queries_of_pass) {
    const int64_t count = queries.count - begin < queries_of_pass ? queries.count - begin : queries_of_pass;
    for (int64_t unit = 0; unit < codes.units; ++unit) {
      for (int64_t word = 0; word < codes.words; word += words_of_pass) {
        const int64_t left = codes.words - word;
        const Pass pass{
            static_cast<const char*>(codes.planes) + (unit * codes.words + word) * word_planes * slice_bytes,
            queries.records + begin * queries.stride,
            queries.stride,
            count,
            word,
            codes.levels,
            sums};
        run(word == 0, left <= words_of_pass, left > 1)(pass, int32_t(begin), int32_t(unit), &writer);
      }
    }
  }
  return writer.hits - hits;
}

}  // namespace
