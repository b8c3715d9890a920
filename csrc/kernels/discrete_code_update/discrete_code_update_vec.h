// SPDX-License-Identifier: Apache-2.0
// discrete_code_update over the vector type Vec of the including file (common/vec_<machine>.h), all with internal
// linkage: a lane for each row. Restates discrete_code_update_math.h, in the same order of additions.
#pragma once

#include <cmath>
#include <cstring>

#include "discrete_code_update/discrete_code_update_seam.h"

namespace {

using fasthash::bits_together;
using fasthash::DescentTile;
using fasthash::Four;
using fasthash::tile_rows;

// A tile holds its codes bit by bit, (padded, 64) floats of ±1, and so its targets where rows differ in them.
class TileRun {
 public:
  explicit TileRun(const DescentTile& tile)
      : tile_(tile),
        codes_(tile.room),
        targets_(codes_ + tile.padded * tile_rows),
        words_(reinterpret_cast<uint32_t*>(targets_ + tile.padded * tile_rows)),
        shared_(one_target()) {}

  int64_t operator()() {
    load_codes();
    if (!shared_) load_targets();
    for (int64_t sweep = 0; sweep < tile_.sweeps; ++sweep)
      for (int64_t first = 0; first < tile_.padded; first += bits_together)
        for (int64_t r = 0; r < tile_rows; r += together * Vec::lanes) descend(first, r);
    return store_codes();
  }

 private:
  // Vectors of rows side by side: four sums of each, and one of codes, stay in registers.
  static constexpr int together = Vec::registers >= 32 ? 4 : 2;
  static constexpr uint32_t one = 0x3f800000u, sign = 0x80000000u;

  const float* target(int64_t i) const { return tile_.targets + tile_.target_of[tile_.rows[i]] * tile_.target_stride; }
  bool one_target() const {
    for (int64_t i = 1; i < tile_.live; ++i)
      if (tile_.target_of[tile_.rows[i]] != tile_.target_of[tile_.rows[0]]) return false;
    return true;
  }

  // Rows beyond the live ones repeat the last.
  int64_t row(int64_t i) const { return tile_.rows[i < tile_.live ? i : tile_.live - 1]; }
  int64_t whole_words() const { return tile_.bits / bits_together; }
  size_t rest() const { return size_t(tile_.bits % bits_together); }

  // Four bits of a row are one word of its bytes: words (padded / 4, 64) row by row, then codes byte by byte. Pointers
  // are kept aside here and below: bytes that are written might be any member.
  void load_codes() {
    uint32_t* const words = words_;
    const int64_t whole = tile_.bits / bits_together;
    const size_t rest = size_t(tile_.bits % bits_together);
    for (int64_t i = 0; i < tile_rows; ++i) {
      const int8_t* from = tile_.codes + row(i) * tile_.code_stride;
      for (int64_t w = 0; w < whole; ++w) std::memcpy(words + w * tile_rows + i, from + 4 * w, 4);
      if (rest == 0) continue;
      words[whole * tile_rows + i] = 0;
      std::memcpy(words + whole * tile_rows + i, from + 4 * whole, rest);
    }
    for (int64_t w = 0; w < tile_.padded / bits_together; ++w)
      spread(words + w * tile_rows, codes_ + w * bits_together * tile_rows);
  }
  static void spread(const uint32_t* __restrict__ words, float* __restrict__ codes) {
    for (int byte = 0; byte < bits_together; ++byte) {
      for (int64_t i = 0; i < tile_rows; ++i) {
        const uint32_t code = ((words[i] << (24 - 8 * byte)) & sign) | one;
        std::memcpy(codes + byte * tile_rows + i, &code, sizeof(code));
      }
    }
  }

  void load_targets() {
    for (int64_t i = 0; i < tile_rows; ++i) {
      const float* from = target(i < tile_.live ? i : tile_.live - 1);
      for (int64_t k = 0; k < tile_.bits; ++k) targets_[k * tile_rows + i] = from[k];
      for (int64_t k = tile_.bits; k < tile_.padded; ++k) targets_[k * tile_rows + i] = 0.0f;
    }
  }
  Vec start(int64_t k, int64_t r) const {
    if (!shared_) return load_float32(targets_ + k * tile_rows + r);
    return broadcast(k < tile_.bits ? target(0)[k] : 0.0f);
  }

  // Four bits of a few vectors of rows.
  void descend(int64_t first, int64_t r) {
    Vec sum[bits_together][together];
    for (int i = 0; i < bits_together; ++i)
      for (int v = 0; v < together; ++v) sum[i][v] = start(first + i, r + v * Vec::lanes);
    const Four* gram = tile_.gram + first / bits_together * tile_.padded;
    add(sum, gram, r, 0, first);
    add(sum, gram, r, first + bits_together, tile_.padded);
    for (int i = 0; i < bits_together; ++i) decide(sum[i], gram + first, i, first, r);
  }

  void add(Vec (&sum)[bits_together][together], const Four* gram, int64_t r, int64_t begin, int64_t end) const {
    for (int64_t l = begin; l < end; ++l) {
      const float* codes = codes_ + l * tile_rows + r;
      Vec code[together];
      for (int v = 0; v < together; ++v) code[v] = load_float32(codes + v * Vec::lanes);
      for (int i = 0; i < bits_together; ++i) {
        const Vec g = broadcast(gram[l].at[i]);
        for (int v = 0; v < together; ++v) sum[i][v] = fma(g, code[v], sum[i][v]);
      }
    }
  }

  void decide(Vec (&sum)[together], const Four* gram, int i, int64_t first, int64_t r) {
    float* codes = codes_ + first * tile_rows + r;
    for (int j = 0; j < bits_together; ++j) {
      if (j == i) continue;
      const Vec g = broadcast(gram[j].at[i]);
      for (int v = 0; v < together; ++v) sum[v] = fma(g, load_float32(codes + j * tile_rows + v * Vec::lanes), sum[v]);
    }
    const Vec bound = broadcast(tile_.bound[first + i]), relative = broadcast(tile_.relative);
    for (int v = 0; v < together; ++v) {
      float* at = codes + i * tile_rows + v * Vec::lanes;
      const Vec within = fma(relative, abs(start(first + i, r + v * Vec::lanes)), bound);
      const Vec turned = copy_sign(broadcast(1.0f), sum[v]);
      store_float32(at, select(greater(abs(sum[v]), within), turned, load_float32(at)));
    }
  }

  // Returns how many signs differ from those that came.
  int64_t store_codes() {
    uint32_t* const words = words_;
    const int64_t whole = tile_.bits / bits_together, bits = tile_.bits, live = tile_.live;
    const size_t rest = size_t(bits % bits_together);
    int64_t changed = 0;
    for (int64_t w = 0; w < tile_.padded / bits_together; ++w) {
      const uint32_t signs = w < whole ? 0x80808080u : 0x80808080u >> (8 * (bits_together - rest));
      changed += gather(codes_ + w * bits_together * tile_rows, words + w * tile_rows, signs, live);
    }
    int8_t* const updated = tile_.updated;
    const int64_t* const rows = tile_.rows;
    for (int64_t i = 0; i < live; ++i) {
      int8_t* to = updated + rows[i] * bits;
      for (int64_t w = 0; w < whole; ++w) std::memcpy(to + 4 * w, words + w * tile_rows + i, 4);
      if (rest != 0) std::memcpy(to + 4 * whole, words + whole * tile_rows + i, rest);
    }
    return changed;
  }
  static int64_t gather(const float* __restrict__ codes, uint32_t* __restrict__ words, uint32_t signs, int64_t live) {
    uint32_t differ[tile_rows];
    for (int64_t i = 0; i < tile_rows; ++i) {
      uint32_t code[bits_together], word = 0;
      for (int byte = 0; byte < bits_together; ++byte) {
        std::memcpy(&code[byte], codes + byte * tile_rows + i, sizeof(uint32_t));
        word |= (code[byte] & sign) >> (24 - 8 * byte);
      }
      differ[i] = (word ^ words[i]) & signs;
      words[i] = word | (word - (word >> 7)) | 0x01010101u;  // 0x80 becomes 0xff
    }
    int64_t count = 0;
    for (int64_t i = 0; i < live; ++i) count += __builtin_popcount(differ[i]);
    return count;
  }

  const DescentTile& tile_;
  float *codes_, *targets_;
  uint32_t* words_;
  bool shared_;
};

}  // namespace
