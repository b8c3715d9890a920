// SPDX-License-Identifier: Apache-2.0
#include "hamming_range_case.h"

namespace fasthash {
namespace {

TEST(hamming_range_equals_sorting) {
  on_every_machine([] {
    for (int64_t width : {2, 4, 8, 12, 48}) {
      for (int64_t count : {1, 64, 65, 700}) {
        const Codes queries(3, width, 1, 0, 0x11), database(count, width, 2, 3, 0x11);
        const PackedCodes packed(database);
        for (int64_t radius : {int64_t(0), width, 8 * width}) {
          const RangeResult expected = naive_range(queries, database, radius, {});
          expect_same(range_on_cpu(queries.rows(), as_database(database.rows()), radius, {}), expected);
          expect_same(range_on_cpu(queries.rows(), packed.database(), radius, {}), expected);
        }
      }
    }
  });
}

TEST(hamming_range_takes_ids_and_masks) {
  const int64_t count = 700;
  const Codes queries(70, 8, 1, 0, 0x11), database(count, 8, 2, 0, 0x11);
  const std::vector<int64_t> ids = Selection::shuffled(count, 3);
  for (unsigned eighths : {0, 1, 8}) {
    for (const Selection& selection : {Selection{ids, Selection::random_mask(count, 4, eighths)},
                                       Selection{{}, Selection::random_mask(count, 4, eighths)}, Selection{ids, {}}}) {
      const RangeResult expected = naive_range(queries, database, 5, selection);
      on_every_machine(
          [&] { expect_same(range_on_cpu(queries.rows(), as_database(database.rows()), 5, selection), expected); });
    }
  }
}

TEST(a_radius_beyond_the_code_finds_every_code) {
  const Codes queries(2, 3, 1), database(70, 3, 2);
  const RangeResult expected = naive_range(queries, database, 24, {});
  CHECK_EQ(expected.offsets.back(), 140);
  for (int64_t radius : {int64_t(25), int64_t(INT32_MAX), int64_t(INT32_MAX) + 1, INT64_MAX})
    expect_same(range_on_cpu(queries.rows(), as_database(database.rows()), radius, {}), expected);
}

TEST(ids_may_be_equal) {
  const Codes queries(2, 8, 1, 0, 0x01), database(300, 8, 2, 0, 0x01);
  const Selection selection{std::vector<int64_t>(300, 7), {}};
  expect_same(range_on_cpu(queries.rows(), as_database(database.rows()), 64, selection),
              naive_range(queries, database, 64, selection));
}

TEST(hamming_range_of_no_queries_has_no_blocks) {
  const Codes none(0, 8, 1), some(9, 8, 2);
  CHECK_EQ(hamming_range_blocks({none.rows(), as_database(some.rows()), 3, nullptr, nullptr}), 0);
}

TEST(hamming_range_of_an_empty_database_counts_nothing) {
  const Codes none(0, 8, 1), some(9, 8, 2);
  expect_same(range_on_cpu(some.rows(), as_database(none.rows()), 64, {}), naive_range(some, none, 64, {}));
}

}  // namespace
}  // namespace fasthash
