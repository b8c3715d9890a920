// SPDX-License-Identifier: Apache-2.0
// Hamming distance of one pair of words.
#pragma once

#include <cstdint>

#include "common/platform.h"

namespace fasthash {

// The number of ones. The host form needs no instruction of its own: sums of 1, 2, 4 bits, then of bytes by a product.
FH_HD inline int popcount(uint64_t x) {
#if defined(__CUDA_ARCH__)
  return __popcll(x);
#else
  x -= (x >> 1) & 0x5555555555555555u;
  x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u);
  x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
  return int((x * 0x0101010101010101u) >> 56);
#endif
}

FH_HD inline int popcount(uint32_t x) {
#if defined(__CUDA_ARCH__)
  return __popc(x);
#else
  return popcount(uint64_t(x));
#endif
}

FH_HD inline int popcount(uint8_t x) { return popcount(uint32_t(x)); }

// The number of bits in which two words differ.
template <class Word>
FH_HD inline int word_distance(Word a, Word b) {
  return popcount(Word(a ^ b));
}

}  // namespace fasthash
