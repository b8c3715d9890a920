// SPDX-License-Identifier: Apache-2.0
#include <numeric>

#include "hamming_histogram/label_planes.h"
#include "hamming_histogram_case.h"

namespace fasthash {
namespace {

TEST(hamming_histogram_equals_counting_pairs) {
  on_every_machine([] {
    for (int64_t width : {2, 4, 8, 12, 48}) {
      for (int64_t count : {1, 64, 65, 700}) {
        const Codes queries(3, width, 1), database(count, width, 2, 3);
        const HistogramResult expected = naive_histogram(queries, database, nullptr, nullptr);
        expect_same(histogram_on_cpu(queries.rows(), as_database(database.rows()), nullptr, nullptr), expected);
        expect_same(histogram_on_cpu(queries.rows(), PackedCodes(database).database(), nullptr, nullptr), expected);
      }
    }
  });
}

TEST(hamming_histogram_counts_what_is_relevant) {
  const Codes queries(70, 8, 1, 0, 0x11), database(700, 8, 2, 0, 0x11);
  const PackedCodes packed(database);
  for (const auto& [of_queries, of_database] :
       {std::pair{random_ids(70, 1), random_ids(700, 2)}, std::pair{random_bits(70, 1, 0), random_bits(700, 2, 5)}}) {
    const HistogramResult expected = naive_histogram(queries, database, &of_queries, &of_database);
    const int64_t relevant = std::accumulate(expected.relevant.begin(), expected.relevant.end(), int64_t(0));
    CHECK(relevant > 0 && relevant < 70 * 700);
    on_every_machine([&, &first = of_queries, &second = of_database] {
      expect_same(histogram_on_cpu(queries.rows(), as_database(database.rows()), &first, &second), expected);
      expect_same(histogram_on_cpu(queries.rows(), packed.database(), &first, &second), expected);
    });
  }
}

// More ids than buckets, so that some hold several; negative ones, 0 and the greatest; rows of labels beyond a word.
TEST(hamming_histogram_compares_labels_of_many_kinds) {
  const Codes queries(40, 8, 1, 0, 0x11), database(2600, 8, 2, 0, 0x11);
  std::mt19937_64 random(3);
  std::vector<int64_t> names{0, -1, INT64_MAX, INT64_MIN};
  while (names.size() < 700) names.push_back(int64_t(random() >> (random() % 64)));
  const auto ids = [&](int64_t count) {
    std::vector<int64_t> result(static_cast<size_t>(count));
    for (int64_t& id : result) id = names[random() % names.size()];
    return LabelCase{result, Codes(0, 0, 0)};
  };
  LabelCase asked = ids(40);
  asked.ids[0] = 12345;  // no code has it
  const LabelCase rows{{}, Codes(40, 21, 7, 1, 0x10)}, held_rows{{}, Codes(2600, 21, 8, 2, 0x10)};
  for (const auto& [first, second] : {std::pair{asked, ids(2600)}, std::pair{rows, held_rows}}) {
    const HistogramResult expected = naive_histogram(queries, database, &first, &second);
    on_every_machine([&, &of_queries = first, &of_database = second] {
      expect_same(histogram_on_cpu(queries.rows(), as_database(database.rows()), &of_queries, &of_database), expected);
    });
  }
}

TEST(bits_are_transposed) {
  std::mt19937_64 random(1);
  uint64_t rows[64], columns[64];
  for (uint64_t& row : rows) row = random();
  std::copy_n(rows, 64, columns);
  transpose_bits(columns);
  for (int i = 0; i < 64; ++i)
    for (int j = 0; j < 64; ++j) CHECK_EQ(columns[j] >> i & 1, rows[i] >> j & 1);
}

// Distances that lie far apart, all in one place, or at both ends: whatever the window, the counts are the same.
TEST(hamming_histogram_counts_distances_of_any_spread) {
  for (int64_t width : {4, 8, 16, 24, 32}) {
    Codes queries(6, width, 1), database(5000, width, 2);
    for (int64_t n = 0; n < database.count; ++n) {
      const int64_t set = n % 3 == 0 ? n % (width + 1) : n % 3 == 1 ? 0 : width;  // bytes of ones
      for (int64_t byte = 0; byte < width; ++byte)
        if (n % 7 != 0) database.bytes[size_t(n * width + byte)] = byte < set ? 0xff : 0;
    }
    std::fill_n(queries.bytes.begin(), width, uint8_t(0));
    std::fill_n(queries.bytes.begin() + width, width, uint8_t(0xff));
    const HistogramResult expected = naive_histogram(queries, database, nullptr, nullptr);
    on_every_machine([&] {
      expect_same(histogram_on_cpu(queries.rows(), as_database(database.rows()), nullptr, nullptr), expected);
    });
  }
}

TEST(hamming_histogram_of_no_queries_has_no_blocks) {
  const Codes none(0, 8, 1), some(9, 8, 2);
  CHECK_EQ(hamming_histogram_blocks({none.rows(), as_database(some.rows()), {}, {}, nullptr, nullptr}, 2), 0);
}

TEST(hamming_histogram_of_an_empty_database_counts_nothing) {
  const Codes none(0, 8, 1), some(9, 8, 2);
  expect_same(histogram_on_cpu(some.rows(), as_database(none.rows()), nullptr, nullptr),
              naive_histogram(some, none, nullptr, nullptr));
}

}  // namespace
}  // namespace fasthash
