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
      : tile_(tile), codes_(tile.room), targets_(tile.room + tile.padded * tile_rows), shared_(one_target()) {}

  int64_t operator()() {
    for (int64_t l = 0; l < tile_.bits; l += bits_together) load_codes(l);
    if (!shared_) load_targets();
    for (int64_t sweep = 0; sweep < tile_.sweeps; ++sweep)
      for (int64_t first = 0; first < tile_.padded; first += bits_together)
        for (int64_t r = 0; r < tile_rows; r += together * Vec::lanes) descend(first, r);
    int64_t changed = 0;
    for (int64_t l = 0; l < tile_.bits; l += bits_together) changed += store_codes(l);
    return changed;
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
  size_t bytes_from(int64_t l) const { return size_t(tile_.bits - l < bits_together ? tile_.bits - l : bits_together); }

  // Four bits of all rows: one word of each row, then byte by byte.
  void load_codes(int64_t l) {
    uint32_t words[tile_rows];
    read_words(words, l);
    uint32_t* out = reinterpret_cast<uint32_t*>(codes_) + l * tile_rows;
    for (int byte = 0; byte < bits_together; ++byte)
      for (int64_t i = 0; i < tile_rows; ++i) out[byte * tile_rows + i] = ((words[i] << (24 - 8 * byte)) & sign) | one;
  }
  void read_words(uint32_t (&words)[tile_rows], int64_t l) const {
    const int8_t* from = tile_.codes + l;
    if (const size_t bytes = bytes_from(l); bytes == bits_together) {
      for (int64_t i = 0; i < tile_rows; ++i) std::memcpy(&words[i], from + row(i) * tile_.code_stride, bits_together);
    } else {
      for (int64_t i = 0; i < tile_rows; ++i) {
        words[i] = 0;
        std::memcpy(&words[i], from + row(i) * tile_.code_stride, bytes);
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

  int64_t store_codes(int64_t l) const {
    const uint32_t* from = reinterpret_cast<const uint32_t*>(codes_) + l * tile_rows;
    uint32_t words[tile_rows], before[tile_rows];
    for (int64_t i = 0; i < tile_rows; ++i) words[i] = 0;
    for (int byte = 0; byte < bits_together; ++byte) {
      for (int64_t i = 0; i < tile_rows; ++i) {
        const uint32_t negative = from[byte * tile_rows + i] >> 31;
        words[i] |= (1u + negative * 254u) << (8 * byte);
      }
    }
    read_words(before, l);
    const size_t bytes = bytes_from(l);
    const uint32_t signs = 0x80808080u >> (8 * (bits_together - bytes));
    int64_t changed = 0;
    for (int64_t i = 0; i < tile_.live; ++i) {
      changed += __builtin_popcount((words[i] ^ before[i]) & signs);
      int8_t* to = tile_.updated + tile_.rows[i] * tile_.bits + l;
      if (bytes == bits_together)
        std::memcpy(to, &words[i], bits_together);
      else
        std::memcpy(to, &words[i], bytes);
    }
    return changed;
  }

  const DescentTile& tile_;
  float *codes_, *targets_;
  bool shared_;
};

}  // namespace
