// SPDX-License-Identifier: Apache-2.0
// hamming_distance and hamming_topk against counting bits, on buffers of exactly the size that the contracts name.
#include "device.h"
#include "hamming_case.h"
#include "hamming_distance/hamming_distance.h"
#include "hamming_topk/hamming_topk.h"
#include "hamming_topk/hamming_topk_plan.h"

namespace fasthash {
namespace {

struct Case {
  int64_t queries, codes, width, gap;
  uint8_t mask;
};
// Bytes, words of 4 and of 8 bytes; rows apart; nearly all distances equal; histograms beyond shared memory.
const Case cases[] = {{1, 1, 1, 0, 0xff},    {3, 33, 3, 0, 0xff},  {17, 129, 8, 0, 0xff}, {2, 600, 8, 8, 0x01},
                      {3, 300, 12, 0, 0x11}, {2, 70, 32, 4, 0xff}, {1, 40, 1540, 0, 0xff}};

Codes queries_of(const Case& c) { return Codes(c.queries, c.width, 1, c.gap, c.mask); }
Codes database_of(const Case& c) { return Codes(c.codes, c.width, 2, c.gap, c.mask); }

TEST(hamming_distance_cuda_equals_counting_bits) {
  for (const Case& c : cases) {
    const Codes queries = queries_of(c), database = database_of(c);
    const std::vector<int32_t> expected = naive_distances(queries, database);
    in_every_order([&] {
      DeviceBuffer<uint8_t> q(queries.bytes), d(database.bytes);
      DeviceBuffer<int32_t> distances(expected.size());
      const HammingDistance args{queries.rows_at(q.data()), as_database(database.rows_at(d.data())), distances.data()};
      CHECK_EQ(hamming_distance_cuda(args, nullptr), int(cudaSuccess));
      CHECK_EQ(distances.host(), expected);
    });
  }
}

TopkResult topk_on_device(const Codes& queries, const Codes& database, int64_t k, int64_t queries_at_once) {
  TopkResult result(queries.count, k);
  DeviceBuffer<uint8_t> q(queries.bytes), d(database.bytes);
  DeviceBuffer<int32_t> distances(result.distances.size());
  DeviceBuffer<int64_t> ids(result.ids.size());
  const HammingTopk args{queries.rows_at(q.data()),
                         as_database(database.rows_at(d.data())),
                         k,
                         nullptr,
                         nullptr,
                         distances.data(),
                         ids.data()};
  HammingTopkPlan plan = hamming_topk_plan(args);
  plan.queries_at_once = std::min(plan.queries_at_once, queries_at_once);
  DeviceBuffer<int32_t> workspace(size_t(plan.workspace()));
  CHECK_EQ(hamming_topk_cuda(args, plan, workspace.data(), nullptr), int(cudaSuccess));
  result.distances = distances.host();
  result.ids = ids.host();
  return result;
}

TEST(hamming_topk_cuda_equals_sorting) {
  for (const Case& c : cases) {
    const Codes queries = queries_of(c), database = database_of(c);
    for (int64_t k : {int64_t(1), (c.codes + 1) / 2, c.codes}) {
      const TopkResult expected = naive_topk(queries, database, k);
      in_every_order([&] { expect_same(topk_on_device(queries, database, k, c.queries), expected); });
    }
  }
}

TEST(hamming_topk_cuda_in_tiles_of_queries) {
  const Codes queries(5, 8, 1), database(300, 8, 2);
  const TopkResult expected = naive_topk(queries, database, 50);
  in_every_order([&] { expect_same(topk_on_device(queries, database, 50, 2), expected); });
}

}  // namespace
}  // namespace fasthash
