// SPDX-License-Identifier: Apache-2.0
#include "hamming_topk/hamming_topk.h"

#include <cstring>

#include "hamming_case.h"
#include "hamming_topk/candidates.h"
#include "hamming_topk/topk_sample.h"

namespace fasthash {
namespace {

TopkResult topk_on_cpu(const Codes& queries, const Database& database, int64_t k, const HammingTopkShares& shares,
                       const Selection& selection = {}) {
  TopkResult result(queries.count, k);
  const HammingTopk args{queries.rows(),          database,         k, selection.ids(), selection.allow(),
                         result.distances.data(), result.ids.data()};
  for (int64_t first = 0; first < queries.count; first += shares.queries_at_once) {
    const int64_t count = std::min(shares.queries_at_once, queries.count - first);
    HammingTopkSearch search(topk_queries(args, first, count), shares);
    do {
      for (int64_t round = 0; round < search.rounds(); ++round)
        for (int64_t task = search.tasks(); task-- > 0;) search.scan(task, round);
    } while (search.scan_again());
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
            expect_same(topk_on_cpu(queries, as_database(database.rows()), k, shares), expected);
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

// Enough queries for slices, enough codes for both samples, ends that fill no unit.
TEST(hamming_topk_by_slices) {
  for (int64_t width : {3, 4, 8, 12, 23, 32, 40}) {
    for (uint8_t mask : {0x11, 0xff}) {
      const Codes queries(37, width, 1, 0, mask), database(33001, width, 2, 0, mask);
      const TopkResult expected = naive_topk(queries, database, 300);
      on_every_machine([&] {
        for (const HammingTopkShares& shares : {HammingTopkShares{37, 1, 1}, {37, 1, 3}})
          expect_same(topk_on_cpu(queries, as_database(database.rows()), 300, shares), expected);
      });
    }
  }
}

TEST(hamming_topk_takes_ids_masks_and_the_scan_layout) {
  for (int64_t width : {3, 8, 12}) {
    const int64_t count = 9001;
    const Codes queries(40, width, 1, 0, 0x11), database(count, width, 2, 0, 0x11);
    const PackedCodes packed(database);
    const std::vector<int64_t> ids = Selection::shuffled(count, 3);
    for (const Selection& selection : {Selection{ids, {}}, Selection{{}, Selection::random_mask(count, 4, 1)},
                                       Selection{ids, Selection::random_mask(count, 4, 7)},
                                       Selection{ids, std::vector<uint8_t>(size_t(ceil_div(count, 8)))}, Selection{}}) {
      for (int64_t k : {1, 300}) {
        const TopkResult expected = naive_topk(queries, database, k, selection);
        on_every_machine([&] {
          for (const HammingTopkShares& shares : {HammingTopkShares{40, 1, 1}, {3, 1, 2}}) {
            expect_same(topk_on_cpu(queries, packed.database(), k, shares, selection), expected);
            expect_same(topk_on_cpu(queries, as_database(database.rows()), k, shares, selection), expected);
          }
        });
      }
    }
  }
}

// Fewer near codes than there are to be found, all of them in the sample: its bound is too low.
TEST(hamming_topk_scans_again_where_the_sample_is_not_like_the_database) {
  const int64_t count = 40000, width = 8, near = 60, k = 100;
  Codes places(count, width, 0);
  for (int64_t n = 0; n < count; ++n) std::memcpy(&places.bytes[size_t(n * width)], &n, sizeof(n));
  const CodeSample sample = sample_codes(as_database(places.rows()), nullptr, count, 8192);
  CHECK(sample_rank(k, sample.rate) < near);
  const Codes queries(40, width, 1);
  Codes database(count, width, 2);
  for (int64_t i = 0; i < near; ++i) {
    const int64_t n = int64_t(sample.lines[size_t(i)].words[0]);
    std::copy_n(queries.bytes.begin(), width, database.bytes.begin() + n * width);
  }
  expect_same(topk_on_cpu(queries, as_database(database.rows()), k, {40, 1, 1}), naive_topk(queries, database, k));
}

TEST(pruner_keeps_the_first_of_equal_distances) {
  const int64_t k = 10, bits = 64;
  const CandidateRules rules{k, bits, nullptr};
  std::vector<uint64_t> memory(size_t(rules.prune_at() + 1));
  CandidateList list{memory.data(), 0, bits + 1};
  Pruner pruner(rules);
  uint64_t position = 0;
  for (uint64_t distance = bits; distance >= 3; --distance) {
    for (int i = 0; i < 50; ++i, ++position) {
      if (int64_t(distance) < list.threshold) list.data[list.size++] = distance << position_bits | position;
      if (list.size >= rules.prune_at()) pruner.prune(list);
    }
  }
  pruner.prune(list);
  CHECK_EQ(list.threshold, 3);
  CHECK_EQ(list.size, k);
  for (const uint64_t* c = list.data; c != list.end(); ++c)
    CHECK(distance_of(*c) == 3 && position_of(*c) < int64_t(position) - 40);
}

}  // namespace
}  // namespace fasthash
