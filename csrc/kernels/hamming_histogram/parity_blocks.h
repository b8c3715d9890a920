// SPDX-License-Identifier: Apache-2.0
// A database in blocks of codes that all have an even, or an odd, number of ones. The distances of a query to the codes
// of such a block are all even or all odd: distance = ones of the query + ones of the code - 2 * ones in common.
#pragma once

#include <cstdint>
#include <vector>

#include "hamming_scan/codes.h"

namespace fasthash {

class ParityBlocks {
 public:
  // Blocks of `codes` codes of `width` bytes, a multiple of 64; with the places from which they come, or without.
  ParityBlocks(int64_t width, int64_t codes, bool with_places);

  struct Block {
    uint8_t* layout;        // in the scan layout, with room for `codes`
    const int64_t* places;  // (count) in the database, rising; unset without
    int64_t count, parity;
  };

  // At most chunk_codes codes in the scan layout, the first of which is number `first`. take(block) has to be called
  // for every full block before the next ones come.
  static constexpr int64_t chunk_codes = 512;
  void add(const uint8_t* layout, int64_t first, int64_t count);

  template <class Take>
  void take_full(const Take& take) {
    for (int parity = 0; parity < 2; ++parity) {
      for (; counts_[parity] >= codes_; drop_block(parity)) take(block(parity, codes_));
    }
  }
  template <class Take>
  void take_rest(const Take& take) {
    for (int parity = 0; parity < 2; ++parity)
      if (counts_[parity] > 0) take(block(parity, counts_[parity]));
  }

 private:
  struct alignas(64) Line {
    uint64_t words[8];
  };
  Block block(int parity, int64_t count);
  void drop_block(int parity);
  int64_t code_bytes() const { return words_of(width_) * word_bytes(width_); }

  int64_t width_, codes_;
  int64_t counts_[2] = {0, 0};
  std::vector<Line> lines_[2];
  std::vector<int64_t> places_[2];  // empty without places
};

// Codes order[0], order[1], ... of one layout into another.
void gather_codes(int64_t width, const uint8_t* source, const int32_t* order, int64_t count, uint8_t* target);
// Code 0 to the places begin ... end - 1.
void repeat_first(int64_t width, uint8_t* layout, int64_t begin, int64_t end);

}  // namespace fasthash
