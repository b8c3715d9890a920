// SPDX-License-Identifier: Apache-2.0
// The code of one bit, as the bytes it is stored in.
#pragma once

#include <cstdint>

#include "common/dtype.h"
#include "common/platform.h"

namespace fasthash {

FH_HD inline bool bit_at(const uint8_t* row, int64_t j) { return (row[j / 8] >> (7 - j % 8)) & 1; }

// What a set and a clear bit become, as unsigned integers of the dtype's size.
struct CodeBytes {
  uint64_t set, clear;
};
inline CodeBytes code_bytes(Dtype dtype) {
  switch (dtype) {
    case Dtype::float64: return {0x3ff0000000000000u, 0xbff0000000000000u};
    case Dtype::float32: return {0x3f800000u, 0xbf800000u};
    case Dtype::bfloat16: return {0x3f80u, 0xbf80u};
    case Dtype::float16: return {0x3c00u, 0xbc00u};
    case Dtype::int8: return {1u, 0xffu};
    default: return {1u, 0u};  // bool
  }
}

// Calls f with a value of the unsigned integer type of `size` bytes.
template <class F>
auto for_unsigned(int64_t size, F&& f) {
  switch (size) {
    case 8: return f(uint64_t{});
    case 4: return f(uint32_t{});
    case 2: return f(uint16_t{});
    default: return f(uint8_t{});
  }
}

}  // namespace fasthash
