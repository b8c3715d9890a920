// SPDX-License-Identifier: Apache-2.0
#include "hamming_scan/layout.h"

#include <algorithm>
#include <cstring>

#include "hamming_scan/hamming_scan.h"

namespace fasthash {

LayoutBlock::LayoutBlock(int64_t codes, int64_t width, bool wide)
    : codes_(codes),
      width_(width),
      word_bytes_(wide ? 8 : word_bytes(width)),
      lines_(size_t(codes * words_of(width) * word_bytes_ / 64)) {}

const uint8_t* LayoutBlock::load(const Database& database, int64_t first, int64_t count) {
  if (const uint8_t* place = where_it_lies(database, first)) return place;
  copy(database, first, count);
  return reinterpret_cast<const uint8_t*>(lines_.data());
}

// Null where the codes lie otherwise, or end before codes() are there to be read.
const uint8_t* LayoutBlock::where_it_lies(const Database& database, int64_t first) const {
  if (word_bytes_ != word_bytes(width_)) return nullptr;
  const bool dense = database.stride == word_bytes_ && width_ == word_bytes_;
  if (!database.packed() && !dense) return nullptr;
  const int64_t readable = database.packed() ? ceil_div(database.count, tile_codes) * tile_codes : database.count;
  return first + codes_ <= readable ? database.data + first * code_bytes() : nullptr;
}

void LayoutBlock::copy(const Database& database, int64_t first, int64_t count) {
  uint8_t* out = reinterpret_cast<uint8_t*>(lines_.data());
  const bool same = word_bytes_ == word_bytes(width_);
  if (database.packed() && same) {
    std::memcpy(out, database.data + first * code_bytes(), size_t(packed_bytes(count, width_)));
  } else if (words_of(width_) == 1 && width_ <= 4) {
    const int64_t stride = database.packed() ? 4 : database.stride, width = database.packed() ? 4 : width_;
    const uint8_t* code = database.data + first * stride;
    for (int64_t i = 0; i < count; ++i, code += stride) {
      uint64_t word = 0;
      std::memcpy(&word, code, size_t(width));
      std::memcpy(out + i * word_bytes_, &word, size_t(word_bytes_));
    }
  } else {
    fill_groups({database.data + first * database.stride, count, width_, database.stride, lines_.data()->words});
  }
}

}  // namespace fasthash
