// SPDX-License-Identifier: Apache-2.0
// Codes on a device as words: 32-bit ones up to 4 bytes where the layout holds them so, else 64-bit ones, zeros beyond
// the width. codes(n, w) is word w of code n.
#pragma once

#include <cstdint>

#include "common/cuda.h"
#include "hamming_scan/allow.h"
#include "hamming_scan/codes.h"
#include "hamming_scan/hamming_math.h"

namespace fasthash {

// The scan layout: neighbouring threads that read neighbouring codes read whole groups of 64 bytes.
template <class W>
struct PackedWords {
  using Word = W;
  const Word* data;
  int64_t words;

  __device__ Word operator()(int64_t n, int64_t w) const {
    constexpr uint64_t lanes = 64 / sizeof(Word);
    return data[(uint64_t(n) / lanes * uint64_t(words) + uint64_t(w)) * lanes + uint64_t(n) % lanes];
  }
};

// Rows, whose words are put together from units as wide as address, stride and width allow.
template <class W, class Unit>
struct RowWords {
  using Word = W;
  CodeRows rows;

  __device__ Word operator()(int64_t n, int64_t w) const {
    constexpr int units = int(sizeof(Word) / sizeof(Unit));
    const Unit* const row = reinterpret_cast<const Unit*>(rows.data + n * rows.stride) + w * units;
    if constexpr (units == 1) return *row;
    const int64_t left = rows.width / int64_t(sizeof(Unit)) - w * units;
    Word word = 0;
#pragma unroll
    for (int i = 0; i < units; ++i)
      if (i < left) word |= Word(row[i]) << (8 * int(sizeof(Unit)) * i);
    return word;
  }
};

// Calls f with the reader of the database.
template <class F>
auto with_words(const Database& database, F&& f) {
  if (database.packed() && word_bytes(database.width) == 4)
    return f(PackedWords<uint32_t>{reinterpret_cast<const uint32_t*>(database.data), words_of(database.width)});
  if (database.packed())
    return f(PackedWords<uint64_t>{reinterpret_cast<const uint64_t*>(database.data), words_of(database.width)});
  const CodeRows rows = database.rows();
  const uint64_t all = reinterpret_cast<uintptr_t>(rows.data) | uint64_t(rows.stride) | uint64_t(rows.width);
  if (all % 8 == 0) return f(RowWords<uint64_t, uint64_t>{rows});
  if (all % 4 == 0 && rows.width == 4) return f(RowWords<uint32_t, uint32_t>{rows});
  if (all % 4 == 0) return f(RowWords<uint64_t, uint32_t>{rows});
  return f(RowWords<uint64_t, uint8_t>{rows});
}

}  // namespace fasthash
