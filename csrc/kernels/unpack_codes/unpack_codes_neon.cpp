// SPDX-License-Identifier: Apache-2.0
#include <arm_neon.h>

#include <cstdint>

namespace {

struct Codes {
  static constexpr int bytes = 16;
  uint8x16_t v;
};

inline void store(char* p, Codes x) { vst1q_u8(reinterpret_cast<uint8_t*>(p), x.v); }

template <int size>
inline Codes splat(uint64_t x) {
  if constexpr (size == 8) return {vreinterpretq_u8_u64(vdupq_n_u64(x))};
  if constexpr (size == 4) return {vreinterpretq_u8_u32(vdupq_n_u32(uint32_t(x)))};
  if constexpr (size == 2) return {vreinterpretq_u8_u16(vdupq_n_u16(uint16_t(x)))};
  return {vdupq_n_u8(uint8_t(x))};
}

// All ones in the elements whose bit of the mask is set.
template <int size>
inline uint8x16_t widen(uint64_t mask) {
  if constexpr (size == 8) {
    constexpr uint64_t bit[2] = {1, 2};
    return vreinterpretq_u8_u64(vtstq_u64(vdupq_n_u64(mask), vld1q_u64(bit)));
  }
  if constexpr (size == 4) {
    constexpr uint32_t bit[4] = {1, 2, 4, 8};
    return vreinterpretq_u8_u32(vtstq_u32(vdupq_n_u32(uint32_t(mask)), vld1q_u32(bit)));
  }
  if constexpr (size == 2) {
    constexpr uint16_t bit[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    return vreinterpretq_u8_u16(vtstq_u16(vdupq_n_u16(uint16_t(mask)), vld1q_u16(bit)));
  }
  const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201u));
  return vtstq_u8(vcombine_u8(vdup_n_u8(uint8_t(mask)), vdup_n_u8(uint8_t(mask >> 8))), bit);
}

template <int size>
inline Codes choose(uint64_t mask, Codes a, Codes b) {
  return {vbslq_u8(widen<size>(mask), a.v, b.v)};
}

}  // namespace

// The vector type comes first.
#include "unpack_codes/unpack_codes_vec.h"

namespace fasthash {

void unpack_run_neon(const UnpackRun& run) { unpack_run(run); }

}  // namespace fasthash
