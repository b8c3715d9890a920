// SPDX-License-Identifier: Apache-2.0
// The ways to gather lists of near codes, each against counting bits.
#include <cstdio>
#include <set>

#include "hamming_device.h"
#include "hamming_topk/hamming_gather.cuh"
#include "hamming_topk/hamming_topk.h"
#include "hamming_topk/hamming_topk_plan.h"

namespace fasthash {
namespace {

using Way = int (*)(const Gathering& args, void* stream);
using List = std::set<std::pair<int32_t, int32_t>>;  // (distance, position)

// Every query has its own reach, from none of the codes to all.
int32_t reach_of(const Search& search, int64_t query) {
  const int32_t bits = int32_t(8 * search.database.width);
  return query % 5 == 4 ? bits : query % 5 == 3 ? 0 : bits * 3 / 8 + int32_t(query % 5);
}

struct Lists {
  std::vector<int32_t> lengths;
  std::vector<List> codes;
};

int64_t positions_of(const Search& search, int64_t every) {
  return every == 1 ? search.database.count : search.database.count / group_codes / every * group_codes;
}

Lists naive_lists(const Search& search, int64_t every = 1) {
  Lists lists;
  for (int64_t q = 0; q < search.queries.count; ++q) {
    List& list = lists.codes.emplace_back();
    for (int64_t position = 0; position < positions_of(search, every); ++position) {
      const int64_t n = position / group_codes * group_codes * every + position % group_codes;
      const int32_t distance = naive_distance(search.queries, q, search.database, n);
      if (search.allows(n) && distance <= reach_of(search, q)) list.emplace(distance, int32_t(n));
    }
    lists.lengths.push_back(int32_t(list.size()));
  }
  return lists;
}

void expect_lists(Way way, const Search& search, bool packed, const Lists& expected, int64_t every) {
  const int64_t queries = search.queries.count, capacity = std::max<int64_t>(search.database.count, 1);
  DeviceSearch on(search, packed);
  std::vector<int32_t> reach;
  for (int64_t q = 0; q < queries; ++q) reach.insert(reach.end(), {reach_of(search, q), 1 << 20, 1 << 20});
  DeviceBuffer<int32_t> reaches(reach), lengths(std::vector<int32_t>(size_t(queries), 0));
  DeviceBuffer<int32_t> distances(size_t(queries * capacity)), places(size_t(queries * capacity));
  const int status = way({on.query_rows, on.database.view(), on.allow.data(), reaches.data(), 3, capacity,
                          distances.data(), places.data(), lengths.data(), positions_of(search, every), every},
                         nullptr);
  CHECK_EQ(status, int(cudaSuccess));
  CHECK_EQ(lengths.host(), expected.lengths);
  const std::vector<int32_t> d = distances.host(), p = places.host();
  for (int64_t q = 0; q < queries; ++q) {
    List list;
    for (int64_t i = q * capacity; i < q * capacity + expected.lengths[size_t(q)]; ++i)
      list.emplace(d[size_t(i)], p[size_t(i)]);
    CHECK(list == expected.codes[size_t(q)]);
  }
}

// 32, 64, 100, 128, 256 and 1024 bits, and such as fill no word; sizes around tiles of 16 and 128; masks.
const SearchCase cases[] = {{1, 1, 4, 0, 0xff},      {129, 127, 8, 0, 0xff},  {127, 129, 13, 3, 0xff},
                            {5, 300, 16, 0, 0xff},   {128, 128, 17, 0, 0xff}, {17, 257, 32, 0, 0xff, false, 3},
                            {65, 130, 128, 4, 0xff}, {9, 200, 1, 0, 0xff},    {6, 140, 24, 0, 0x00},
                            {16, 256, 36, 0, 0x11},  {2, 4300, 8, 0, 0xff},   {1, 4300, 8, 0, 0xff},
                            {1, 1100, 16, 0, 0xff},  {1, 700, 32, 5, 0xff},   {1, 2100, 64, 0, 0xff, false, 2},
                            {1, 90, 48, 0, 0xff},    {4, 1030, 24, 0, 0xff}};

void expect_lists_of_every_case(Way way) {
  for (const SearchCase& c : cases) {
    const Search search(c);
    const Lists expected = naive_lists(search);
    for (const bool packed : {false, true}) in_every_order([&] { expect_lists(way, search, packed, expected, 1); });
  }
}

// Of a sample, as it is gathered to learn how far lists have to reach.
void expect_lists_of_samples(Way way) {
  for (const SearchCase& c : {SearchCase{129, 1100, 8, 0, 0xff, false, 3}, SearchCase{3, 900, 4, 0, 0xff},
                              SearchCase{33, 2200, 16, 8, 0xff}, SearchCase{5, 1500, 33, 0, 0x11}}) {
    const Search search(c);
    for (const int64_t every : {2, 5}) {
      const Lists expected = naive_lists(search, every);
      for (const bool packed : {false, true}) expect_lists(way, search, packed, expected, every);
    }
  }
}

TEST(gather_codes_cuda_looks_at_a_sample_alone) { expect_lists_of_samples(gather_codes_cuda); }
TEST(gather_codes_tensor_cuda_looks_at_a_sample_alone) {
  if (!gathers_on_tensor_cores()) return void(std::puts("skipped: this device is not of sm_90a"));
  expect_lists_of_samples(gather_codes_tensor_cuda);
}

TEST(gather_codes_cuda_equals_counting_bits) { expect_lists_of_every_case(gather_codes_cuda); }
TEST(gather_codes_tensor_cuda_equals_counting_bits) {
  if (!gathers_on_tensor_cores()) return void(std::puts("skipped: this device is not of sm_90a"));
  expect_lists_of_every_case(gather_codes_tensor_cuda);
}

TEST(hamming_topk_cuda_on_tensor_cores_equals_sorting) {
  const Search search({20, 700, 8, 0, 0xff, true, 2});
  const TopkResult expected = search.nearest(9);
  in_every_order([&] {
    DeviceSearch on(search, true);
    DeviceBuffer<int32_t> distances(expected.distances.size());
    DeviceBuffer<int64_t> found(expected.ids.size());
    const HammingTopk args{on.query_rows,   on.database.view(), 9,           on.ids.data(),
                           on.allow.data(), distances.data(),   found.data()};
    HammingTopkPlan plan = hamming_topk_plan(args);
    plan_gathering(args, plan, true);
    plan.tensor_cores = true;
    DeviceBuffer<int32_t> workspace(size_t(plan.workspace()));
    const int status = hamming_topk_cuda(args, on.order.data(), plan, workspace.data(), nullptr);
    CHECK_EQ(status, int(cudaSuccess));
    CHECK_EQ(distances.host(), expected.distances);
    CHECK_EQ(found.host(), expected.ids);
  });
}

}  // namespace
}  // namespace fasthash
