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

inline int32_t naive_distance(const Codes& a, int64_t i, const Codes& b, int64_t j) {
  const uint8_t *x = a.bytes.data() + i * a.stride, *y = b.bytes.data() + j * b.stride;
  int32_t distance = 0;
  for (int64_t byte = 0; byte < a.width; ++byte) distance += int32_t(std::bitset<8>(x[byte] ^ y[byte]).count());
  return distance;
}

// Word w of code n, filled up with zeros.
inline uint64_t word_of(const Codes& codes, int64_t n, int64_t w) {
  uint64_t word = 0;
  std::memcpy(&word, codes.bytes.data() + n * codes.stride + 8 * w, size_t(std::min<int64_t>(8, codes.width - 8 * w)));
  return word;
}

// The same codes in the scan layout.
struct PackedCodes {
  struct alignas(64) Line {
    uint8_t bytes[64];
  };
  int64_t count, width;
  std::vector<Line> lines;

  explicit PackedCodes(const Codes& codes)
      : count(codes.count), width(codes.width), lines(size_t(packed_bytes(count, width) / 64)) {
    for (int64_t n = 0; n < count; ++n) {
      for (int64_t w = 0; w < words_of(width); ++w) {
        const uint64_t word = word_of(codes, n, w);
        const int64_t place = packed_place(width, n, w);
        std::memcpy(&lines[size_t(place / 64)].bytes[place % 64], &word, size_t(word_bytes(width)));
      }
    }
  }
  Database database() const { return {reinterpret_cast<const uint8_t*>(lines.data()), count, width, 0}; }
};

// (Q, N)
inline std::vector<int32_t> naive_distances(const Codes& queries, const Codes& database) {
  std::vector<int32_t> distances;
  for (int64_t q = 0; q < queries.count; ++q)
    for (int64_t n = 0; n < database.count; ++n) distances.push_back(naive_distance(queries, q, database, n));
  return distances;
}

// Which codes may be found, all of them where `allow` is empty; what they are called, by position where `ids` is empty.
struct Filter {
  std::vector<int64_t> ids;
  std::vector<uint8_t> allow;

  bool allowed(int64_t n) const { return allow.empty() || (allow[size_t(n / 8)] >> (7 - n % 8) & 1); }
  int64_t id(int64_t n) const { return ids.empty() ? n : ids[size_t(n)]; }
  const int64_t* ids_or_null() const { return ids.empty() ? nullptr : ids.data(); }
  const uint8_t* allow_or_null() const { return allow.empty() ? nullptr : allow.data(); }
};

// All pairs (distance, id) of query q, sorted.
inline std::vector<std::pair<int32_t, int64_t>> naive_ranking(const Codes& queries, int64_t q, const Codes& database,
                                                              const Filter& filter) {
  std::vector<std::pair<int32_t, int64_t>> pairs;
  for (int64_t n = 0; n < database.count; ++n)
    if (filter.allowed(n)) pairs.emplace_back(naive_distance(queries, q, database, n), filter.id(n));
  std::sort(pairs.begin(), pairs.end());
  return pairs;
}

struct TopkResult {
  std::vector<int32_t> distances;  // (Q, k)
  std::vector<int64_t> ids;        // (Q, k)

  TopkResult(int64_t queries, int64_t k) : distances(size_t(queries * k), -1), ids(size_t(queries * k), -2) {}
};

inline TopkResult naive_topk(const Codes& queries, const Codes& database, int64_t k, const Filter& filter = {}) {
  TopkResult result(queries.count, k);
  for (int64_t q = 0; q < queries.count; ++q) {
    const auto ranking = naive_ranking(queries, q, database, filter);
    for (int64_t i = 0; i < k; ++i) {
      const bool there = i < int64_t(ranking.size());
      result.distances[size_t(q * k + i)] = there ? ranking[size_t(i)].first : INT32_MAX;
      result.ids[size_t(q * k + i)] = there ? ranking[size_t(i)].second : -1;
    }
  }
  return result;
}

inline void expect_same(const TopkResult& result, const TopkResult& expected) {
  CHECK_EQ(result.distances, expected.distances);
  CHECK_EQ(result.ids, expected.ids);
}

}  // namespace fasthash
