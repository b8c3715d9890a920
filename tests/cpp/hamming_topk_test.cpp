// SPDX-License-Identifier: Apache-2.0
#include "hamming_topk/hamming_topk.h"

#include "hamming_case.h"
#include "hamming_topk/nearest.h"

namespace fasthash {
namespace {

TopkResult topk_on_cpu(const Codes& queries, const Codes& database, int64_t k, const HammingTopkShares& shares) {
  TopkResult result(queries.count, k);
  const HammingTopk args{queries.rows(),   as_database(database.rows()), k, nullptr, nullptr, result.distances.data(),
                         result.ids.data()};
  for (int64_t first = 0; first < queries.count; first += shares.queries_at_once) {
    const int64_t count = std::min(shares.queries_at_once, queries.count - first);
    HammingTopkSearch search(topk_queries(args, first, count), shares);
    for (int64_t round = 0; round < search.rounds(); ++round)
      for (int64_t task = search.tasks(); task-- > 0;) search.scan(task, round);
    for (int64_t query = 0; query < count; ++query) search.finish(query);
  }
  return result;
}

TEST(hamming_topk_does_not_depend_on_how_it_is_shared_out) {
  on_every_machine([] {
    for (int64_t width : {2, 8, 48}) {
      for (uint8_t mask : {0x00, 0x01, 0xff}) {
        const Codes queries(7, width, 1, 0, mask), database(9000, width, 2, 0, mask);
        for (int64_t k : {1, 100, 9000}) {
          const TopkResult expected = naive_topk(queries, database, k);
          for (const HammingTopkShares& shares : {HammingTopkShares{7, 1, 1}, {7, 3, 1}, {3, 1, 2}, {2, 5, 3}})
            expect_same(topk_on_cpu(queries, database, k, shares), expected);
        }
      }
    }
  });
}

TEST(hamming_topk_shares_use_every_thread) {
  const Codes few(3, 8, 1), many(5000, 8, 1), database(100000, 8, 2);
  const auto shares = [&](const Codes& queries, int64_t k, int threads) {
    return hamming_topk_shares({queries.rows(), as_database(database.rows()), k, nullptr, nullptr, nullptr, nullptr},
                               threads);
  };
  CHECK_EQ(shares(few, 10, 4).segments, 4);
  CHECK_EQ(shares(few, 10, 4).batches, 1);
  CHECK_EQ(shares(many, 10, 4).segments, 1);
  CHECK_EQ(shares(many, 10, 4).batches, 4);
  CHECK_EQ(shares(many, 100000, 4).segments, 4);  // too much memory for a batch for each thread
  CHECK(shares(many, 100000, 64).queries_at_once >= 1);
}

// Every distance below the threshold comes, in an order that makes each code a candidate and the list overflow.
TEST(nearest_keeps_the_first_of_equal_distances) {
  const int64_t k = 10;
  const int32_t bits = 64;
  std::vector<int64_t> counts(static_cast<size_t>(bits + 1));
  const int64_t capacity = Nearest::capacity(k, 1 << 20);
  std::vector<Candidate> candidates(static_cast<size_t>(capacity));
  Nearest nearest(k, bits, counts.data(), candidates.data(), capacity);
  int64_t id = 0;
  for (int32_t distance = bits; distance >= 3; --distance)
    for (int i = 0; i < 50; ++i, ++id) nearest.add(id, distance);
  CHECK_EQ(nearest.threshold(), 3);
  int64_t found = 0;
  for (const Candidate& candidate : nearest) found += candidate.distance == 3 && candidate.id < id - 40;
  CHECK_EQ(found, k);
  CHECK(nearest.end() - nearest.begin() <= capacity);
}

}  // namespace
}  // namespace fasthash
