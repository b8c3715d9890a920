// SPDX-License-Identifier: Apache-2.0
// Codes of a database in the scan layout, a block at a time: where they already lie, or rearranged into a buffer.
#pragma once

#include <cstdint>
#include <vector>

#include "hamming_scan/codes.h"

namespace fasthash {

class LayoutBlock {
 public:
  // For blocks of at most `codes` codes of `width` bytes, codes a multiple of tile_codes.
  LayoutBlock(int64_t codes, int64_t width);

  // Codes first ... first + count - 1, with whatever fills up to whole tiles behind them; `first` is a multiple of
  // tile_codes. Valid until the next call.
  const uint8_t* load(const Database& database, int64_t first, int64_t count);
  // The same filled up to codes().
  const uint8_t* load_whole(const Database& database, int64_t first, int64_t count);

  int64_t codes() const { return codes_; }
  int64_t code_bytes() const { return words_of(width_) * word_bytes(width_); }

 private:
  struct alignas(64) Line {
    uint64_t words[8];
  };
  const uint8_t* load(const Database& database, int64_t first, int64_t count, int64_t readable);
  void copy(const Database& database, int64_t first, int64_t count);

  int64_t codes_, width_;
  std::vector<Line> lines_;  // empty until codes have to be rearranged
};

}  // namespace fasthash
