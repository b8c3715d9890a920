// SPDX-License-Identifier: Apache-2.0
#include <arm_neon.h>

#include <cstdint>

#include "hamming_scan/hamming_scan_seam.h"

namespace {

constexpr int batch = 2, queries_at_once = 1, groups_alone = 1;
constexpr int parts = 4;  // two lanes each

struct Lanes {
  uint64x2_t part[parts];
};
// Calls f(i) for every part, for the lanes f returns.
template <class F>
inline Lanes each_part(const F& f) {
  return {{f(0), f(1), f(2), f(3)}};
}
// By bytes, which need no alignment.
inline Lanes load(const void* p) {
  const auto* at = static_cast<const uint8_t*>(p);
  return each_part([&](int i) { return vreinterpretq_u64_u8(vld1q_u8(at + 16 * i)); });
}
inline Lanes splat(uint64_t x) {
  return each_part([&](int) { return vdupq_n_u64(x); });
}
inline Lanes operator^(Lanes a, Lanes b) {
  return each_part([&](int i) { return veorq_u64(a.part[i], b.part[i]); });
}
// 32-bit lanes: NEON has no minimum of 64-bit ones, and the upper halves are zero.
inline Lanes min(Lanes a, Lanes b) {
  return each_part([&](int i) {
    return vreinterpretq_u64_u32(vminq_u32(vreinterpretq_u32_u64(a.part[i]), vreinterpretq_u32_u64(b.part[i])));
  });
}

// The lower halves of lanes 4 i ... 4 i + 3.
inline int32x4_t as_int32(const Lanes& a, int i) {
  return vuzp1q_s32(vreinterpretq_s32_u64(a.part[2 * i]), vreinterpretq_s32_u64(a.part[2 * i + 1]));
}
inline unsigned lanes_below(Lanes a, Lanes b) {
  constexpr uint16_t lane_bits[8] = {1, 2, 4, 8, 16, 32, 64, 128};
  const uint32x4_t low = vcltq_s32(as_int32(a, 0), as_int32(b, 0)), high = vcltq_s32(as_int32(a, 1), as_int32(b, 1));
  const uint16x8_t below = vuzp1q_u16(vreinterpretq_u16_u32(low), vreinterpretq_u16_u32(high));
  return vaddvq_u16(vandq_u16(below, vld1q_u16(lane_bits)));
}

inline void put_distances(Lanes distances, int live, int32_t* out) {
  int32_t lanes[8];
  int32_t* to = live == 8 ? out : lanes;
  for (int i = 0; i < 2; ++i) vst1q_s32(to + 4 * i, as_int32(distances, i));
  for (int i = 0; live < 8 && i < live; ++i) out[i] = lanes[i];
}

inline int64_t put_hits(Lanes distances, unsigned near, int32_t place, fasthash::Hit* hits) {
  int32_t lanes[8];
  put_distances(distances, 8, lanes);
  int64_t found = 0;
  for (; near; near &= near - 1) {
    const int lane = __builtin_ctz(near);
    hits[found++] = {place + lane, lanes[lane]};
  }
  return found;
}

inline uint8x16_t ones_of_bytes(uint64x2_t x) { return vcntq_u8(vreinterpretq_u8_u64(x)); }
inline uint64x2_t add_bytes(uint64x2_t sum, uint8x16_t bytes) {
  return vpadalq_u32(sum, vpaddlq_u16(vpaddlq_u8(bytes)));
}

// A byte holds the sum of 31 words.
class BitSum {
 public:
  static constexpr int64_t limit = 31;
  void add(Lanes x) {
    for (int i = 0; i < parts; ++i) bytes_[i] = vaddq_u8(bytes_[i], ones_of_bytes(x.part[i]));
  }
  void flush() {
    for (int i = 0; i < parts; ++i) {
      sum_.part[i] = add_bytes(sum_.part[i], bytes_[i]);
      bytes_[i] = vdupq_n_u8(0);
    }
  }
  Lanes total() const { return sum_; }

 private:
  uint8x16_t bytes_[parts] = {vdupq_n_u8(0), vdupq_n_u8(0), vdupq_n_u8(0), vdupq_n_u8(0)};
  Lanes sum_ = splat(0);
};

struct HalfLanes {
  uint32x4_t part[parts];
};
template <class F>
inline HalfLanes each_half_part(const F& f) {
  return {{f(0), f(1), f(2), f(3)}};
}
inline HalfLanes load_half(const void* p) {
  const auto* at = static_cast<const uint8_t*>(p);
  return each_half_part([&](int i) { return vreinterpretq_u32_u8(vld1q_u8(at + 16 * i)); });
}
inline HalfLanes splat_half(uint32_t x) {
  return each_half_part([&](int) { return vdupq_n_u32(x); });
}
inline HalfLanes operator^(HalfLanes a, HalfLanes b) {
  return each_half_part([&](int i) { return veorq_u32(a.part[i], b.part[i]); });
}
inline HalfLanes min(HalfLanes a, HalfLanes b) {
  return each_half_part([&](int i) { return vminq_u32(a.part[i], b.part[i]); });
}
inline unsigned lanes_below(HalfLanes a, HalfLanes b) {
  constexpr uint32_t lane_bits[4] = {1, 2, 4, 8};
  unsigned below = 0;
  for (int i = 0; i < parts; ++i)
    below |= vaddvq_u32(vandq_u32(vcltq_u32(a.part[i], b.part[i]), vld1q_u32(lane_bits))) << (4 * i);
  return below;
}
inline int64_t put_hits(HalfLanes distances, unsigned near, int32_t place, fasthash::Hit* hits) {
  uint32_t lanes[16];
  for (int i = 0; i < parts; ++i) vst1q_u32(lanes + 4 * i, distances.part[i]);
  int64_t found = 0;
  for (; near; near &= near - 1) {
    const int lane = __builtin_ctz(near);
    hits[found++] = {place + lane, int32_t(lanes[lane])};
  }
  return found;
}
inline HalfLanes ones(HalfLanes a) {
  return each_half_part([&](int i) { return vpaddlq_u16(vpaddlq_u8(vcntq_u8(vreinterpretq_u8_u32(a.part[i])))); });
}

}  // namespace

// The vector type comes first.
#include "hamming_scan/hamming_scan_vec.h"

namespace fasthash {

int64_t scan_below_neon(const ScanRun& run, int32_t threshold, Hit* hits) { return scan_below(run, threshold, hits); }
void scan_below_many_neon(const ScanRun* runs, const int32_t* thresholds, Hit* const* hits, int64_t* found) {
  scan_below_many(runs, thresholds, hits, found);
}
void scan_all_neon(const ScanRun& run, int32_t* distances) { scan_all(run, distances); }

}  // namespace fasthash
