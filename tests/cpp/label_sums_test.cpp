// SPDX-License-Identifier: Apache-2.0
#include "label_sums/label_sums.h"

#include <random>

#include "check.h"

namespace fasthash {
namespace {

struct Case {
  int64_t items, queries, columns, bytes;  // bytes 0: ids
  std::vector<float> values;
  std::vector<int64_t> item_ids, query_ids;
  std::vector<uint8_t> item_bits, query_bits;

  Case(int64_t m, int64_t a, int64_t k, int64_t w) : items(m), queries(a), columns(k), bytes(w) {
    std::mt19937 random(unsigned(m + 7 * a + 31 * k + w));
    values.resize(size_t(items * columns));
    for (float& value : values) value = float(int(random() % 2001) - 1000) / 333;
    for (int64_t i = 0; i < items; ++i) item_ids.push_back(int64_t(random() % 5) << 40);
    for (int64_t i = 0; i < queries; ++i) query_ids.push_back(int64_t(random() % 7) << 40);
    for (int64_t i = 0; i < items * bytes; ++i) item_bits.push_back(uint8_t(random() & random() & random()));
    for (int64_t i = 0; i < queries * bytes; ++i) query_bits.push_back(uint8_t(random() & random() & random()));
  }

  bool related(int64_t item, int64_t query) const {
    if (bytes == 0) return item_ids[size_t(item)] == query_ids[size_t(query)];
    for (int64_t i = 0; i < bytes; ++i)
      if (item_bits[size_t(item * bytes + i)] & query_bits[size_t(query * bytes + i)]) return true;
    return false;
  }
};

void expect_naive(const Case& input) {
  std::vector<double> sums(size_t(input.queries * input.columns), 77), want(sums.size(), 0.0);
  std::vector<int64_t> counts(size_t(input.queries), 77), want_counts(counts.size(), 0);
  for (int64_t a = 0; a < input.queries; ++a) {
    for (int64_t m = 0; m < input.items; ++m) {
      if (!input.related(m, a)) continue;
      ++want_counts[size_t(a)];
      for (int64_t k = 0; k < input.columns; ++k)
        want[size_t(a * input.columns + k)] += double(input.values[size_t(m * input.columns + k)]);
    }
  }
  const bool ids = input.bytes == 0;
  const LabelSums args{
      input.values.data(),
      Dtype::float32,
      input.columns,
      input.columns,
      {ids ? input.item_ids.data() : nullptr, input.item_bits.data(), input.items, input.bytes, input.bytes},
      {ids ? input.query_ids.data() : nullptr, input.query_bits.data(), input.queries, input.bytes, input.bytes},
      sums.data(),
      counts.data()};
  if (ids) {
    const FirstQueries first = label_sums_first_queries(args);
    for (int64_t block = 0; block < label_sums_id_blocks(input.columns); ++block)
      label_sums_ids_cpu(args, first, block);
    label_sums_ids_finish_cpu(args, first);
  } else {
    for (int64_t block = 0; block < label_sums_bit_blocks(input.queries); ++block) label_sums_bits_cpu(args, block);
  }
  CHECK_EQ(sums, want);
  CHECK_EQ(counts, want_counts);
}

TEST(label_sums_equal_the_naive_sums) {
  for (int bytes : {0, 1, 3, 8, 9, 20})
    for (int columns : {1, 15, 16, 17, 50}) expect_naive({40, 70, columns, bytes});
  expect_naive({0, 3, 2, 0});
  expect_naive({0, 3, 2, 1});
}

}  // namespace
}  // namespace fasthash
