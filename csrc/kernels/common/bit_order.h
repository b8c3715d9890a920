// SPDX-License-Identifier: Apache-2.0
// Between masks, whose first element is bit 0, and packed codes, whose first element is the highest bit of its byte.
// Internal linkage: files for one instruction set include it.
#pragma once

#include <cstdint>

namespace {

inline uint64_t bytes_reversed(uint64_t x) {
  x = (x & 0x0f0f0f0f0f0f0f0fu) << 4 | ((x >> 4) & 0x0f0f0f0f0f0f0f0fu);
  x = (x & 0x3333333333333333u) << 2 | ((x >> 2) & 0x3333333333333333u);
  return (x & 0x5555555555555555u) << 1 | ((x >> 1) & 0x5555555555555555u);
}

}  // namespace
