// SPDX-License-Identifier: Apache-2.0
#include <arm_neon.h>

#include <cstdint>

#include "hamming_slices/hamming_slices_seam.h"

namespace {

constexpr int64_t lanes = 2;
constexpr int units_at_once = 2;
constexpr int paired_from = 0;

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

inline bool any_one(Slice a) { return vmaxvq_u32(vreinterpretq_u32_u64(a.v)) != 0; }

inline Slice load_half(const void* p) {
  return {vmovl_u32(vreinterpret_u32_u8(vld1_u8(static_cast<const uint8_t*>(p))))};
}

inline void transpose(Slice (&v)[lanes]) {
  const uint64x2_t a = v[0].v, b = v[1].v;
  v[0].v = vzip1q_u64(a, b);
  v[1].v = vzip2q_u64(a, b);
}

inline uint64_t ones(uint64_t x) { return uint64_t(__builtin_popcountll(x)); }

// Of bytes, added up in pairs: good for 2,000 additions.
struct Ones {
  uint16x8_t lanes = vdupq_n_u16(0);

  void add(Slice v, Slice w) {
    const uint8x16_t a = vcntq_u8(vreinterpretq_u8_u64(v.v)), b = vcntq_u8(vreinterpretq_u8_u64(w.v));
    lanes = vpadalq_u8(lanes, vaddq_u8(a, b));
  }
  int64_t total() const { return int64_t(vaddlvq_u16(lanes)); }
};

template <int bins>
void add_values(const Ones* counts, int64_t* out) {
  fasthash::add_differences<bins>([&](int set) { return counts[set].total(); }, out);
}

}  // namespace

// Scheduled before registers are given out, planes are loaded so early that the sums have to move to the stack.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-schedule-insns")
#endif

// The vector type comes first.
#include "hamming_slices/hamming_slices_histogram_vec.h"

FASTHASH_DEFINE_SLICES(neon)
