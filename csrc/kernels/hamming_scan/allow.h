// SPDX-License-Identifier: Apache-2.0
// Which codes of a database may be found.
#pragma once

#include <cstdint>

#include "common/platform.h"

namespace fasthash {

// Bit n of a mask in numpy.packbits order; without a mask every code may be found.
FH_HD inline bool is_allowed(const uint8_t* allow, int64_t n) {
  return allow == nullptr || ((allow[n >> 3] >> (7 - (n & 7))) & 1) != 0;
}

// Bit i of word j: whether code 64 j + i of those from `first` on may be found, and is one of `count`; `first` is a
// multiple of 8.
void allowed_words(const uint8_t* allow, int64_t first, int64_t count, uint64_t* words);

}  // namespace fasthash
