// SPDX-License-Identifier: Apache-2.0
#include "hamming_scan/allow.h"

#include <algorithm>
#include <cstring>

#include "hamming_scan/codes.h"

namespace fasthash {
namespace {

// Bit i of a packed code is bit 7 - i of its byte: bit i of the word is bit 7 - i % 8 of byte i / 8.
uint64_t reverse_bytes_bits(uint64_t x) {
  x = (x >> 1 & 0x5555555555555555u) | (x & 0x5555555555555555u) << 1;
  x = (x >> 2 & 0x3333333333333333u) | (x & 0x3333333333333333u) << 2;
  return (x >> 4 & 0x0f0f0f0f0f0f0f0fu) | (x & 0x0f0f0f0f0f0f0f0fu) << 4;
}

}  // namespace

void allowed_words(const uint8_t* allow, int64_t first, int64_t count, uint64_t* words) {
  for (int64_t at = 0; at < count; at += 64, ++words) {
    const int64_t live = std::min<int64_t>(64, count - at);
    uint64_t word = ~uint64_t(0);
    if (allow) {
      word = 0;
      std::memcpy(&word, allow + (first + at) / 8, size_t(ceil_div(live, 8)));
      word = reverse_bytes_bits(word);
    }
    *words = live == 64 ? word : word & ((uint64_t(1) << live) - 1);
  }
}

}  // namespace fasthash
