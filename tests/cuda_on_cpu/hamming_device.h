// SPDX-License-Identifier: Apache-2.0
// Databases on a device in either layout, ids and masks, and the Hamming operators' definitions over them.
#pragma once

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>
#include <tuple>

#include "device.h"
#include "hamming_case.h"
#include "hamming_scan/codes.h"

namespace fasthash {

inline std::vector<uint8_t> scan_layout(const Codes& codes) {
  std::vector<uint8_t> bytes(size_t(packed_bytes(codes.count, codes.width)));
  const int64_t unit = word_bytes(codes.width);
  for (int64_t n = 0; n < codes.count; ++n)
    for (int64_t b = 0; b < codes.width; ++b)
      bytes[size_t(packed_place(codes.width, n, b / unit) + b % unit)] = codes.bytes[size_t(n * codes.stride + b)];
  return bytes;
}

// A database in device memory of exactly its size.
class DeviceDatabase {
 public:
  DeviceDatabase(const Codes& codes, bool packed)
      : memory_(packed ? scan_layout(codes) : codes.bytes),
        view_{memory_.data(), codes.count, codes.width, packed ? 0 : codes.stride} {}
  const Database& view() const { return view_; }

 private:
  DeviceBuffer<uint8_t> memory_;
  Database view_;
};

struct SearchCase {
  int64_t queries, codes, width, gap;
  uint8_t mask;         // thins out the bits: nearly all distances are equal
  bool ids = false;     // neither rising nor dense
  int allow_every = 1;  // of the codes, one in as many may be found; 0: none
};

inline std::vector<int64_t> shuffled_ids(int64_t count) {
  std::vector<int64_t> ids(static_cast<size_t>(count));
  for (int64_t n = 0; n < count; ++n) ids[size_t(n)] = (n * 7 - count) * (int64_t(1) << 33);
  std::shuffle(ids.begin(), ids.end(), std::mt19937(5));
  return ids;
}

// What a case is made of, on the host.
struct Search {
  explicit Search(const SearchCase& c)
      : queries(c.queries, c.width, 1, c.gap, c.mask), database(c.codes, c.width, 2, c.gap, c.mask) {
    if (c.ids) ids = shuffled_ids(c.codes);
    order.resize(ids.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return ids[size_t(a)] < ids[size_t(b)]; });
    if (c.allow_every == 1) return;
    allow.resize(size_t(ceil_div(c.codes, 8)));
    for (int64_t n = 0; n < c.codes; ++n)
      if (c.allow_every > 1 && n % c.allow_every == 1) allow[size_t(n / 8)] |= uint8_t(0x80u >> (n % 8));
  }

  bool allows(int64_t n) const { return allow.empty() || (allow[size_t(n / 8)] >> (7 - n % 8) & 1) != 0; }
  int64_t id(int64_t n) const { return ids.empty() ? n : ids[size_t(n)]; }

  // (distance, id) of every code that may be found, in that order.
  std::vector<std::pair<int32_t, int64_t>> ranked(int64_t query) const {
    std::vector<std::pair<int32_t, int64_t>> pairs;
    for (int64_t n = 0; n < database.count; ++n)
      if (allows(n)) pairs.emplace_back(naive_distance(queries, query, database, n), id(n));
    std::sort(pairs.begin(), pairs.end());
    return pairs;
  }

  TopkResult nearest(int64_t k) const {
    TopkResult result(queries.count, k);
    std::fill(result.distances.begin(), result.distances.end(), INT32_MAX);
    std::fill(result.ids.begin(), result.ids.end(), -1);
    for (int64_t q = 0; q < queries.count; ++q) {
      const auto pairs = ranked(q);
      for (int64_t i = 0; i < std::min<int64_t>(k, int64_t(pairs.size())); ++i)
        std::tie(result.distances[size_t(q * k + i)], result.ids[size_t(q * k + i)]) = pairs[size_t(i)];
    }
    return result;
  }

  Codes queries, database;
  std::vector<int64_t> ids, order;  // empty: positions are the ids
  std::vector<uint8_t> allow;       // empty: all
};

// The same on a device.
struct DeviceSearch {
  DeviceSearch(const Search& search, bool packed)
      : queries(search.queries.bytes),
        database(search.database, packed),
        ids(search.ids),
        order(search.order),
        allow(search.allow),
        query_rows(search.queries.rows_at(queries.data())) {}

  DeviceBuffer<uint8_t> queries;
  DeviceDatabase database;
  DeviceBuffer<int64_t> ids, order;
  DeviceBuffer<uint8_t> allow;
  CodeRows query_rows;
};

}  // namespace fasthash
