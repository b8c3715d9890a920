// SPDX-License-Identifier: Apache-2.0
#include "hamming_slices/hamming_slices.h"

#include <algorithm>

#include "common/machine.h"
#include "hamming_scan/hamming_math.h"

// The scalar variant: a vector of one lane.
namespace {

constexpr int64_t lanes = 1;
constexpr int units_at_once = 1;
constexpr int paired_from = 0;
using Slice = uint64_t;

inline Slice load(const void* p) {
  Slice a;
  __builtin_memcpy(&a, p, 8);
  return a;
}
inline void store(void* p, Slice a) { __builtin_memcpy(p, &a, 8); }
inline Slice splat(int32_t x) { return Slice(int64_t(x)); }
inline Slice splat64(uint64_t x) { return x; }
template <int n>
inline Slice shift_left(Slice a) {
  return a << n;
}
template <int n>
inline Slice shift_right(Slice a) {
  return a >> n;
}
inline Slice majority(Slice a, Slice b, Slice c) { return (a & b) | ((a | b) & c); }
inline void full_add(Slice& acc, Slice x, Slice y, Slice& carry) {
  const Slice either = acc ^ x;
  carry = (acc & x) | (either & y);
  acc = either ^ y;
}
inline bool any_zero(Slice a) { return ~a != 0; }
inline Slice load_half(const void* p) {
  uint32_t a;
  __builtin_memcpy(&a, p, 4);
  return a;
}
inline void transpose(Slice (&)[lanes]) {}
inline bool any_one(Slice a) { return a != 0; }
inline uint64_t ones(uint64_t x) { return uint64_t(fasthash::popcount(x)); }

struct Ones {
  int64_t count = 0;

  void add(Slice v, Slice w) { count += fasthash::popcount(v) + fasthash::popcount(w); }
  int64_t total() const { return count; }
};

template <int bins>
void add_values(const Ones* counts, int64_t* out) {
  fasthash::add_differences<bins>([&](int set) { return counts[set].total(); }, out);
}

}  // namespace

// The vector type comes first.
#include "hamming_slices/hamming_slices_histogram_vec.h"

FASTHASH_DEFINE_SLICES(scalar)

namespace fasthash {
namespace {

#if defined(FASTHASH_X86_VARIANTS)
const Variants<const SliceKernels> variants{"hamming_slices",
                                            {FH_VARIANTS(slices), FH_VARIANT(slices, avx512_vpopcnt)}};
#else
const Variants<const SliceKernels> variants{"hamming_slices", {FH_VARIANTS(slices)}};
#endif

int levels_of(int64_t words, bool half) {
  if (half) return 6;
  int levels = 7;
  while ((int64_t(1) << levels) <= 64 * words) ++levels;
  return levels;
}

// The offsets of the planes of one word in the order in which Sum::add takes them.
class ProgramWriter {
 public:
  ProgramWriter(uint64_t query, int64_t slice_bytes, bool half)
      : query_(query), slice_bytes_(slice_bytes), groups_(half ? slice_half_groups : slice_word_groups) {}

  void write(uint16_t* out, int sums, int pairs) {
    int sum = 0, upper = 0;
    for (int pair = 0; pair < pairs; ++pair) {
      const bool carry = 2 * pair < sums;
      for (int i = 0; i < 2 && carry; ++i) *out++ = offset(sum_plane(sum++));
      if (!carry) *out++ = offset(upper_plane(upper++));
      *out++ = offset(upper_plane(upper++));
    }
  }

 private:
  int bit(int i) const { return int(query_ >> i & 1); }
  int sum_plane(int i) const {
    if (i < groups_) return i * slice_group_planes + (bit(3 * i) ^ bit(3 * i + 1) ^ bit(3 * i + 2));
    const int left = i - groups_;
    return groups_ * slice_group_planes + 2 * left + bit(3 * groups_ + left);
  }
  int upper_plane(int i) const {
    return i * slice_group_planes + 2 + (bit(3 * i) | bit(3 * i + 1) << 1 | bit(3 * i + 2) << 2);
  }
  uint16_t offset(int plane) const { return uint16_t(plane * slice_bytes_); }

  uint64_t query_;
  int64_t slice_bytes_;
  int groups_;
};

}  // namespace

const SliceKernels& select_slices() { return *variants.select(); }

// Measured, on machines with an instruction that counts ones.
int64_t queries_for_slices(int64_t width) {
  const int64_t words = words_of(width);
  if (words > select_slices().max_words()) return -1;
  return words == 1 ? 32 : words == 2 ? 64 : words <= max_sliced_words ? 128 : 256;
}

SliceShape::SliceShape(int64_t width) : words(words_of(width)), half(width <= 4), levels(levels_of(words, half)) {}

QueryPrograms::QueryPrograms(const SliceShape& shape, const SliceKernels& kernels, const uint64_t* words, int64_t count)
    : shape_(shape), stride_(query_biases + shape.words * program_steps / 2), records_(size_t(count * stride_)) {
  for (int64_t i = 0; i < count; ++i) {
    uint16_t* out = reinterpret_cast<uint16_t*>(&records_[size_t(i * stride_ + query_biases)]);
    for (int64_t w = 0; w < shape.words; ++w, out += program_steps) {
      ProgramWriter writer(words[i * shape.words + w], kernels.lanes * 8, shape.half);
      shape.half ? writer.write(out, 12, 8) : writer.write(out, 22, 16);
    }
  }
}

void QueryPrograms::set_threshold(int64_t index, int64_t threshold) {
  const int64_t top = int64_t(1) << shape_.levels;
  set_start(index, std::min(threshold, top) - top);
}

void QueryPrograms::set_start(int64_t index, int64_t start) {
  int32_t* out = &records_[size_t(index * stride_)];
  for (int level = 0; level <= shape_.levels; ++level) out[level] = -int32_t(-start >> level & 1);
}

SlicedQueries QueryPrograms::range(int64_t first, int64_t count) const {
  return {&records_[size_t(first * stride_)], stride_, count};
}

SlicedBlock::SlicedBlock(const SliceShape& shape, const SliceKernels& kernels)
    : SlicedBlock(shape, kernels,
                  shape.words > 2 && kernels.paired(shape.words) ? second_level_bytes : first_level_bytes,
                  max_block_codes, kernels.units_of_step(shape.words)) {}

SlicedBlock::SlicedBlock(const SliceShape& shape, const SliceKernels& kernels, int64_t bytes, int64_t codes,
                         int64_t step)
    : shape_(shape), kernels_(&kernels) {
  const int64_t unit_bytes = shape.planes() * kernels.lanes * 8;
  const int64_t fitting = std::min(bytes / unit_bytes, codes / kernels.unit_codes());
  units_ = std::max<int64_t>(1, fitting / step) * step;
  planes_.resize(size_t(ceil_div(units_ * unit_bytes, 64)));
}

SlicedCodes SlicedBlock::load(const uint8_t* layout, int64_t units) {
  kernels_->slice_codes({layout, units, shape_.words, shape_.half, planes_.data()});
  return {planes_.data(), units, shape_.words, shape_.half, shape_.levels};
}

}  // namespace fasthash
