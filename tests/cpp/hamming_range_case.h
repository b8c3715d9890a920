// SPDX-License-Identifier: Apache-2.0
// hamming_range on the CPU and by sorting, in buffers of exactly their size.
#pragma once

#include "hamming_case.h"
#include "hamming_range/hamming_range.h"

namespace fasthash {

struct RangeResult {
  std::vector<int64_t> offsets;    // (Q + 1)
  std::vector<int32_t> distances;  // (total)
  std::vector<int64_t> ids;        // (total)
};

inline RangeResult naive_range(const Codes& queries, const Codes& database, int64_t radius,
                               const Selection& selection) {
  RangeResult result{{0}, {}, {}};
  for (int64_t q = 0; q < queries.count; ++q) {
    for (const auto& [distance, id] : ranked(queries, q, database, selection)) {
      if (distance > radius) break;
      result.distances.push_back(distance);
      result.ids.push_back(id);
    }
    result.offsets.push_back(int64_t(result.ids.size()));
  }
  return result;
}

// Blocks come last first: their order does not matter.
inline RangeResult range_on_cpu(const CodeRows& queries, const Database& database, int64_t radius,
                                const Selection& selection) {
  const HammingRange args{queries, database, radius, selection.ids(), selection.allow()};
  RangeResult result;
  result.offsets.assign(size_t(queries.count + 1), 0);
  for (int64_t block = hamming_range_blocks(args); block-- > 0;)
    hamming_range_count_cpu(args, block, result.offsets.data() + 1);
  for (size_t q = 1; q < result.offsets.size(); ++q) result.offsets[q] += result.offsets[q - 1];
  result.distances.assign(size_t(result.offsets.back()), -1);
  result.ids.assign(size_t(result.offsets.back()), -1);
  for (int64_t block = hamming_range_blocks(args); block-- > 0;)
    hamming_range_write_cpu(args, block, result.offsets.data(), result.distances.data(), result.ids.data());
  return result;
}

inline void expect_same(const RangeResult& result, const RangeResult& expected) {
  CHECK_EQ(result.offsets, expected.offsets);
  CHECK_EQ(result.distances, expected.distances);
  CHECK_EQ(result.ids, expected.ids);
}

}  // namespace fasthash
