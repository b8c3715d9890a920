// SPDX-License-Identifier: Apache-2.0
// Inputs of the Hamming operators, and their definitions bit by bit. Codes lie in buffers of exactly their size.
#pragma once

#include <algorithm>
#include <bitset>
#include <cstdint>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

#include "check.h"
#include "hamming_scan/hamming_scan.h"
#include "machines.h"

namespace fasthash {

// Packed codes (count, width) uint8, rows `gap` bytes apart from each other; `mask` thins out their bits.
struct Codes {
  int64_t count, width, stride;
  std::vector<uint8_t> bytes;

  Codes(int64_t n, int64_t w, unsigned seed, int64_t gap = 0, uint8_t mask = 0xff)
      : count(n), width(w), stride(w + gap), bytes(size_t(n > 0 ? (n - 1) * (w + gap) + w : 0)) {
    std::mt19937 random(seed);
    for (uint8_t& byte : bytes) byte = uint8_t(random()) & mask;
  }

  CodeRows rows() const { return rows_at(bytes.data()); }
  CodeRows rows_at(const uint8_t* data) const { return {data, count, width, stride}; }
};

// Word w of code n, filled up with zeros.
inline uint64_t word_of(const Codes& codes, int64_t n, int64_t w) {
  uint64_t word = 0;
  std::memcpy(&word, codes.bytes.data() + n * codes.stride + 8 * w, size_t(std::min<int64_t>(8, codes.width - 8 * w)));
  return word;
}

// The same codes in the scan layout, byte by byte where packed_place says.
class PackedCodes {
 public:
  explicit PackedCodes(const Codes& codes)
      : count_(codes.count), width_(codes.width), lines_(size_t(packed_bytes(codes.count, codes.width) / 64)) {
    auto* out = reinterpret_cast<uint8_t*>(lines_.data());
    const int64_t bytes = word_bytes(width_);
    for (int64_t n = 0; n < count_; ++n)
      for (int64_t i = 0; i < width_; ++i)
        out[packed_place(width_, n, i / bytes) + i % bytes] = codes.bytes[size_t(n * codes.stride + i)];
  }
  Database database() const { return {reinterpret_cast<const uint8_t*>(lines_.data()), count_, width_, 0}; }

 private:
  struct alignas(64) Line {
    uint64_t words[8] = {};
  };
  int64_t count_, width_;
  std::vector<Line> lines_;
};

// Ids of codes in no order, and which of them may be found; nothing in place of either.
struct Selection {
  std::vector<int64_t> own_ids;
  std::vector<uint8_t> mask;

  static std::vector<int64_t> shuffled(int64_t count, unsigned seed) {
    std::vector<int64_t> ids(static_cast<size_t>(count));
    for (int64_t n = 0; n < count; ++n) ids[size_t(n)] = (n - count / 2) * 5000000029;
    std::shuffle(ids.begin(), ids.end(), std::mt19937(seed));
    return ids;
  }
  // Bits are set with a chance of `eighths` / 8, spare ones too.
  static std::vector<uint8_t> random_mask(int64_t count, unsigned seed, unsigned eighths) {
    std::mt19937 random(seed);
    std::vector<uint8_t> mask(size_t(ceil_div(count, 8)));
    for (uint8_t& byte : mask)
      for (int bit = 0; bit < 8; ++bit) byte = uint8_t(byte << 1 | (random() % 8 < eighths));
    return mask;
  }

  const int64_t* ids() const { return own_ids.empty() ? nullptr : own_ids.data(); }
  const uint8_t* allow() const { return mask.empty() ? nullptr : mask.data(); }
  int64_t id(int64_t n) const { return own_ids.empty() ? n : own_ids[size_t(n)]; }
  bool allows(int64_t n) const { return mask.empty() || (mask[size_t(n / 8)] & (0x80 >> (n % 8))); }
};

inline int32_t naive_distance(const Codes& a, int64_t i, const Codes& b, int64_t j) {
  const uint8_t *x = a.bytes.data() + i * a.stride, *y = b.bytes.data() + j * b.stride;
  int32_t distance = 0;
  for (int64_t byte = 0; byte < a.width; ++byte) distance += int32_t(std::bitset<8>(x[byte] ^ y[byte]).count());
  return distance;
}

// (Q, N)
inline std::vector<int32_t> naive_distances(const Codes& queries, const Codes& database) {
  std::vector<int32_t> distances;
  for (int64_t q = 0; q < queries.count; ++q)
    for (int64_t n = 0; n < database.count; ++n) distances.push_back(naive_distance(queries, q, database, n));
  return distances;
}

struct TopkResult {
  std::vector<int32_t> distances;  // (Q, k)
  std::vector<int64_t> ids;        // (Q, k)

  TopkResult(int64_t queries, int64_t k) : distances(size_t(queries * k), -1), ids(size_t(queries * k), -2) {}
};

// All pairs (distance, id) of one query that may be found, in order.
inline std::vector<std::pair<int32_t, int64_t>> ranked(const Codes& queries, int64_t q, const Codes& database,
                                                       const Selection& selection) {
  std::vector<std::pair<int32_t, int64_t>> pairs;
  for (int64_t n = 0; n < database.count; ++n)
    if (selection.allows(n)) pairs.emplace_back(naive_distance(queries, q, database, n), selection.id(n));
  std::sort(pairs.begin(), pairs.end());
  return pairs;
}

inline TopkResult naive_topk(const Codes& queries, const Codes& database, int64_t k, const Selection& selection = {}) {
  TopkResult result(queries.count, k);
  for (int64_t q = 0; q < queries.count; ++q) {
    std::vector<std::pair<int32_t, int64_t>> pairs = ranked(queries, q, database, selection);
    pairs.resize(std::max(pairs.size(), size_t(k)), {INT32_MAX, -1});
    for (int64_t i = 0; i < k; ++i) {
      result.distances[size_t(q * k + i)] = pairs[size_t(i)].first;
      result.ids[size_t(q * k + i)] = pairs[size_t(i)].second;
    }
  }
  return result;
}

inline void expect_same(const TopkResult& result, const TopkResult& expected) {
  CHECK_EQ(result.distances, expected.distances);
  CHECK_EQ(result.ids, expected.ids);
}

}  // namespace fasthash
