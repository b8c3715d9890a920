// SPDX-License-Identifier: Apache-2.0
// Packed codes as kernels see them: rows of bytes, or the scan layout.
//
// In the scan layout codes are 64-bit words, the last one filled up with zeros, in groups of 8 codes, word by word:
// word w of the codes 8 g ... 8 g + 7 lies side by side in the 64 bytes at (g * words + w) * 64. Up to 64 bits that is
// one code after the other. Codes of at most 32 bits are 32-bit words, 16 of them to the 64 bytes. Zeros fill the
// layout up to whole tiles of 64 codes.
#pragma once

#include <cstdint>

#include "common/platform.h"

namespace fasthash {

constexpr int64_t group_codes = 8;
constexpr int64_t tile_codes = 64;

FH_HD inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Packed codes (count, width) uint8, rows `stride` bytes apart.
struct CodeRows {
  const uint8_t* data;
  int64_t count, width, stride;
};

// The words of one code of `width` bytes in the scan layout, and the bytes of one of them.
FH_HD inline int64_t words_of(int64_t width) { return ceil_div(width, 8); }
FH_HD inline int64_t word_bytes(int64_t width) { return width <= 4 ? 4 : 8; }
FH_HD inline int64_t packed_bytes(int64_t count, int64_t width) {
  return ceil_div(count, tile_codes) * tile_codes * words_of(width) * word_bytes(width);
}

// A database (count, width): rows, or the scan layout, which has stride 0 and is 64-byte aligned.
struct Database {
  const uint8_t* data;
  int64_t count, width, stride;

  FH_HD bool packed() const { return stride == 0; }
  FH_HD CodeRows rows() const { return {data, count, width, stride}; }  // only where !packed()
};

inline Database as_database(const CodeRows& rows) { return {rows.data, rows.count, rows.width, rows.stride}; }

// Where word w of code n lies in the scan layout, in bytes.
FH_HD inline int64_t packed_place(int64_t width, int64_t n, int64_t w) {
  const int64_t bytes = word_bytes(width), lanes = 64 / bytes;
  return (n / lanes * words_of(width) + w) * 64 + n % lanes * bytes;
}

}  // namespace fasthash
