// SPDX-License-Identifier: Apache-2.0
// hamming_histogram on the CPU and by counting pairs, in buffers of exactly their size.
#pragma once

#include "hamming_case.h"
#include "hamming_histogram/hamming_histogram.h"

namespace fasthash {

// The labels of one side: ids, or rows of bits, or none.
struct LabelCase {
  std::vector<int64_t> ids;
  Codes bits;

  Labels labels() const { return {ids.empty() ? nullptr : ids.data(), bits.rows()}; }
};

inline LabelCase no_labels() { return {{}, Codes(0, 0, 0)}; }
inline LabelCase random_ids(int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<int64_t> ids(static_cast<size_t>(count));
  for (int64_t& id : ids) id = int64_t(random() % 3) * 5000000029 - 1;
  return {ids, Codes(0, 0, 0)};
}
inline LabelCase random_bits(int64_t count, unsigned seed, int64_t gap) {
  return {{}, Codes(count, 3, seed, gap, uint8_t(seed % 2 ? 0x11 : 0x10))};
}

struct HistogramResult {
  std::vector<int64_t> total, relevant;  // (Q, 8 W + 1)
};

inline HistogramResult histogram_on_cpu(const CodeRows& queries, const Database& database, const LabelCase* of_queries,
                                        const LabelCase* of_database) {
  HistogramResult result;
  result.total.assign(size_t(queries.count * (8 * queries.width + 1)), 0);
  result.relevant.assign(of_queries ? result.total.size() : 0, 0);
  HammingHistogram args{queries, database, {}, {}, result.total.data(), nullptr};
  if (of_queries) {
    args.query_labels = of_queries->labels();
    args.database_labels = of_database->labels();
    args.relevant = result.relevant.data();
  }
  const int64_t blocks = hamming_histogram_blocks(args, 2);
  for (int64_t block = blocks; block-- > 0;) hamming_histogram_cpu(args, block, blocks);
  return result;
}

inline bool share_a_label(const LabelCase& a, int64_t i, const LabelCase& b, int64_t j) {
  if (!a.ids.empty()) return a.ids[size_t(i)] == b.ids[size_t(j)];
  unsigned common = 0;
  for (int64_t byte = 0; byte < a.bits.width; ++byte)
    common |= unsigned(a.bits.bytes[size_t(i * a.bits.stride + byte)] & b.bits.bytes[size_t(j * b.bits.stride + byte)]);
  return common != 0;
}

inline HistogramResult naive_histogram(const Codes& queries, const Codes& database, const LabelCase* of_queries,
                                       const LabelCase* of_database) {
  const int64_t bins = 8 * queries.width + 1;
  HistogramResult result;
  result.total.assign(size_t(queries.count * bins), 0);
  result.relevant.assign(of_queries ? result.total.size() : 0, 0);
  for (int64_t q = 0; q < queries.count; ++q) {
    for (int64_t n = 0; n < database.count; ++n) {
      const size_t bin = size_t(q * bins + naive_distance(queries, q, database, n));
      ++result.total[bin];
      if (of_queries) result.relevant[bin] += share_a_label(*of_queries, q, *of_database, n);
    }
  }
  return result;
}

inline void expect_same(const HistogramResult& result, const HistogramResult& expected) {
  CHECK_EQ(result.total, expected.total);
  CHECK_EQ(result.relevant, expected.relevant);
}

}  // namespace fasthash
