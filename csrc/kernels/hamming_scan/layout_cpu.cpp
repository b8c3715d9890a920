// SPDX-License-Identifier: Apache-2.0
#include "hamming_scan/layout.h"

#include <algorithm>
#include <cstring>

#include "hamming_scan/hamming_scan.h"

namespace fasthash {

LayoutBlock::LayoutBlock(int64_t codes, int64_t width)
    : codes_(codes), width_(width), lines_(size_t(packed_bytes(codes, width) / 64)) {}

const uint8_t* LayoutBlock::load(const Database& database, int64_t first, int64_t count) {
  if (const uint8_t* place = where_it_lies(database, first)) return place;
  copy(database, first, count);
  return reinterpret_cast<const uint8_t*>(lines_.data());
}

// Null where the codes lie otherwise, or end before codes() are there to be read.
const uint8_t* LayoutBlock::where_it_lies(const Database& database, int64_t first) const {
  const bool dense = width_ <= 8 && database.stride == width_ && width_ == word_bytes(width_);
  if (!database.packed() && !dense) return nullptr;
  const int64_t readable = database.packed() ? ceil_div(database.count, tile_codes) * tile_codes : database.count;
  return first + codes_ <= readable ? database.data + first * code_bytes() : nullptr;
}

void LayoutBlock::copy(const Database& database, int64_t first, int64_t count) {
  uint8_t* out = reinterpret_cast<uint8_t*>(lines_.data());
  if (database.packed()) {
    std::memcpy(out, database.data + first * code_bytes(), size_t(packed_bytes(count, width_)));
  } else if (word_bytes(width_) == 4) {
    const uint8_t* code = database.data + first * database.stride;
    for (int64_t i = 0; i < count; ++i, code += database.stride) {
      uint32_t word = 0;
      std::memcpy(&word, code, size_t(width_));
      std::memcpy(out + i * 4, &word, 4);
    }
  } else {
    fill_groups({database.data + first * database.stride, count, width_, database.stride, lines_.data()->words});
  }
}

}  // namespace fasthash
