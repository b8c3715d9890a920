// SPDX-License-Identifier: Apache-2.0
#include <arm_neon.h>

#include <cstdint>

namespace {

constexpr int64_t lanes = 2;
constexpr int units_at_once = 2;

struct Slice {
  uint64x2_t v;
};
// By bytes, which need no alignment.
inline Slice load(const void* p) { return {vreinterpretq_u64_u8(vld1q_u8(static_cast<const uint8_t*>(p)))}; }
inline void store(void* p, Slice a) { vst1q_u8(static_cast<uint8_t*>(p), vreinterpretq_u8_u64(a.v)); }
inline Slice splat(int32_t x) { return {vreinterpretq_u64_s32(vdupq_n_s32(x))}; }
inline Slice splat64(uint64_t x) { return {vdupq_n_u64(x)}; }
inline Slice operator&(Slice a, Slice b) { return {vandq_u64(a.v, b.v)}; }
inline Slice operator|(Slice a, Slice b) { return {vorrq_u64(a.v, b.v)}; }
inline Slice operator^(Slice a, Slice b) { return {veorq_u64(a.v, b.v)}; }
inline Slice operator~(Slice a) { return {vreinterpretq_u64_u8(vmvnq_u8(vreinterpretq_u8_u64(a.v)))}; }
template <int n>
inline Slice shift_left(Slice a) {
  return {vshlq_n_u64(a.v, n)};
}
template <int n>
inline Slice shift_right(Slice a) {
  return {vshrq_n_u64(a.v, n)};
}

// The third one decides where the first two differ.
inline Slice majority(Slice a, Slice b, Slice c) { return {vbslq_u64(veorq_u64(a.v, b.v), c.v, a.v)}; }
inline void full_add(Slice& acc, Slice x, Slice y, Slice& carry) {
  const Slice either = acc ^ x;
  carry = {vbslq_u64(either.v, y.v, acc.v)};
  acc = either ^ y;
}
inline bool any_zero(Slice a) { return vminvq_u32(vreinterpretq_u32_u64(a.v)) != UINT32_MAX; }

inline Slice load_half(const void* p) {
  return {vmovl_u32(vreinterpret_u32_u8(vld1_u8(static_cast<const uint8_t*>(p))))};
}

inline void transpose(Slice (&v)[lanes]) {
  const uint64x2_t a = v[0].v, b = v[1].v;
  v[0].v = vzip1q_u64(a, b);
  v[1].v = vzip2q_u64(a, b);
}

inline uint64_t ones(uint64_t x) { return uint64_t(__builtin_popcountll(x)); }

constexpr int64_t count_lanes = 1;
inline void add_ones(uint64_t* counts, Slice a) {
  uint64_t words[lanes];
  store(words, a);
  for (uint64_t word : words) *counts += ones(word);
}

}  // namespace

// Scheduled before registers are given out, planes are loaded so early that the sums have to move to the stack.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-schedule-insns")
#endif

// The vector type comes first.
#include "hamming_slices/hamming_slices_histogram_vec.h"

FASTHASH_DEFINE_SLICES(neon)
