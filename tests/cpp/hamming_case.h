// SPDX-License-Identifier: Apache-2.0
// Inputs of the Hamming operators, and their definitions bit by bit. Codes lie in buffers of exactly their size.
#pragma once

#include <algorithm>
#include <cstdint>
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
  int32_t distance = 0;
  for (int64_t bit = 0; bit < 8 * a.width; ++bit) {
    const unsigned x = a.bytes[size_t(i * a.stride + bit / 8)], y = b.bytes[size_t(j * b.stride + bit / 8)];
    distance += int32_t(((x ^ y) >> (bit % 8)) & 1u);
  }
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

  TopkResult(int64_t queries, int64_t k) : distances(size_t(queries * k), -1), ids(size_t(queries * k), -1) {}
};

// Sorts all pairs (distance, id).
inline TopkResult naive_topk(const Codes& queries, const Codes& database, int64_t k) {
  TopkResult result(queries.count, k);
  for (int64_t q = 0; q < queries.count; ++q) {
    std::vector<std::pair<int32_t, int64_t>> pairs;
    for (int64_t n = 0; n < database.count; ++n) pairs.emplace_back(naive_distance(queries, q, database, n), n);
    std::sort(pairs.begin(), pairs.end());
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
