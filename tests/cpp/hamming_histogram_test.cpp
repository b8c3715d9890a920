// SPDX-License-Identifier: Apache-2.0
#include <numeric>

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
