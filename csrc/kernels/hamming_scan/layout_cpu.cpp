// SPDX-License-Identifier: Apache-2.0
#include "hamming_scan/layout.h"

#include <algorithm>
#include <cstring>

#include "hamming_scan/hamming_scan.h"

namespace fasthash {

LayoutBlock::LayoutBlock(int64_t codes, int64_t width) : codes_(codes), width_(width) {}

namespace {

// Null where the codes lie otherwise, or end before `readable` of them are there to be read.
const uint8_t* where_they_lie(const Database& database, int64_t first, int64_t readable) {
  const int64_t bytes = words_of(database.width) * word_bytes(database.width);
  const bool dense = database.width <= 8 && database.stride == database.width && database.width == bytes;
  if (!database.packed() && !dense) return nullptr;
  const int64_t end = database.packed() ? ceil_div(database.count, tile_codes) * tile_codes : database.count;
  return first + readable <= end ? database.data + first * bytes : nullptr;
}

}  // namespace

const uint8_t* LayoutBlock::load(const Database& database, int64_t first, int64_t count) {
  return load(database, first, count, ceil_div(count, tile_codes) * tile_codes);
}

const uint8_t* LayoutBlock::load_whole(const Database& database, int64_t first, int64_t count) {
  return load(database, first, count, codes_);
}

const uint8_t* LayoutBlock::load(const Database& database, int64_t first, int64_t count, int64_t readable) {
  if (const uint8_t* place = where_they_lie(database, first, readable)) return place;
  const size_t lines = size_t(packed_bytes(readable, width_) / 64);
  if (lines_.size() < lines) lines_.resize(lines);
  copy(database, first, count);
  return reinterpret_cast<const uint8_t*>(lines_.data());
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
