// SPDX-License-Identifier: Apache-2.0
// hamming_distance, hamming_topk and hamming_range against counting bits, on buffers of exactly the size that the
// contracts name, in both layouts.
#include "hamming_device.h"
#include "hamming_distance/hamming_distance.h"
#include "hamming_range/hamming_range.h"
#include "hamming_topk/hamming_topk.h"
#include "hamming_topk/hamming_topk_plan.h"

namespace fasthash {
namespace {

// Bytes, words of 4 and of 8 bytes; rows apart; ids; masks; histograms beyond shared memory; codes beyond a tile's.
const SearchCase cases[] = {{1, 1, 1, 0, 0xff},
                            {3, 33, 3, 0, 0xff},
                            {9, 100, 4, 0, 0xff, true},
                            {17, 129, 8, 0, 0xff, false, 3},
                            {2, 600, 8, 8, 0x01, true, 2},
                            {3, 300, 12, 0, 0x11, true},
                            {2, 70, 32, 4, 0xff, false, 0},
                            {3, 65, 24, 0, 0xff, true, 7},
                            {1, 40, 1540, 0, 0xff},
                            {1, 33, 2400, 0, 0xff, true},
                            {2, 1100, 2, 0, 0x13, true}};

template <class F>
void for_every_case(F&& body) {
  for (const SearchCase& c : cases)
    for (const bool packed : {false, true}) body(Search(c), packed);
}

TEST(hamming_distance_cuda_equals_counting_bits) {
  for_every_case([](const Search& search, bool packed) {
    const std::vector<int32_t> expected = naive_distances(search.queries, search.database);
    in_every_order([&] {
      DeviceSearch on(search, packed);
      DeviceBuffer<int32_t> distances(expected.size());
      CHECK_EQ(hamming_distance_cuda({on.query_rows, on.database.view(), distances.data()}, nullptr), int(cudaSuccess));
      CHECK_EQ(distances.host(), expected);
    });
  });
}

TopkResult topk_on_device(const Search& search, bool packed, int64_t k, int64_t queries_at_once) {
  TopkResult result(search.queries.count, k);
  DeviceSearch on(search, packed);
  DeviceBuffer<int32_t> distances(result.distances.size());
  DeviceBuffer<int64_t> found(result.ids.size());
  const HammingTopk args{on.query_rows,   on.database.view(), k,           on.ids.data(),
                         on.allow.data(), distances.data(),   found.data()};
  HammingTopkPlan plan = hamming_topk_plan(args);
  plan.queries_at_once = std::min(plan.queries_at_once, queries_at_once);
  DeviceBuffer<int32_t> workspace(size_t(plan.workspace()));
  CHECK_EQ(hamming_topk_cuda(args, on.order.data(), plan, workspace.data(), nullptr), int(cudaSuccess));
  result.distances = distances.host();
  result.ids = found.host();
  return result;
}

TEST(hamming_topk_cuda_equals_sorting) {
  for_every_case([](const Search& search, bool packed) {
    const int64_t codes = search.database.count;
    for (int64_t k : {int64_t(1), (codes + 1) / 2, codes}) {
      const TopkResult expected = search.nearest(k);
      in_every_order([&] { expect_same(topk_on_device(search, packed, k, codes), expected); });
    }
  });
}

TEST(hamming_topk_cuda_in_tiles_of_queries) {
  const Search search({5, 300, 8, 0, 0xff});
  const TopkResult expected = search.nearest(50);
  in_every_order([&] { expect_same(topk_on_device(search, false, 50, 2), expected); });
}

TEST(hamming_topk_cuda_takes_rising_ids_without_an_order) {
  Search search({2, 300, 8, 0, 0x01, true});
  std::sort(search.ids.begin(), search.ids.end());
  search.order.clear();
  const TopkResult expected = search.nearest(50);
  in_every_order([&] { expect_same(topk_on_device(search, true, 50, 2), expected); });
}

struct RangeResult {
  std::vector<int64_t> counts, ids;
  std::vector<int32_t> distances;
};

RangeResult naive_range(const Search& search, int64_t radius) {
  RangeResult result;
  for (int64_t q = 0; q < search.queries.count; ++q) {
    result.counts.push_back(0);
    for (const auto& [distance, id] : search.ranked(q)) {
      if (distance > radius) break;
      ++result.counts.back();
      result.distances.push_back(distance);
      result.ids.push_back(id);
    }
  }
  return result;
}

RangeResult range_on_device(const Search& search, bool packed, int64_t radius) {
  DeviceSearch on(search, packed);
  const HammingRange args{on.query_rows, on.database.view(), radius, on.ids.data(), on.allow.data()};
  DeviceBuffer<int64_t> counts(size_t(search.queries.count));
  CHECK_EQ(hamming_range_count_cuda(args, counts.data(), nullptr), int(cudaSuccess));
  RangeResult result{counts.host(), {}, {}};
  std::vector<int64_t> offsets(1, 0);
  for (int64_t count : result.counts) offsets.push_back(offsets.back() + count);
  const int64_t total = offsets.back();
  DeviceBuffer<int64_t> starts(offsets), ids(static_cast<size_t>(total));
  DeviceBuffer<int32_t> distances(static_cast<size_t>(total)), workspace(size_t(hamming_range_workspace(args, total)));
  CHECK_EQ(hamming_range_write_cuda(args, on.order.data(), starts.data(), total, workspace.data(), distances.data(),
                                    ids.data(), nullptr),
           int(cudaSuccess));
  result.distances = distances.host();
  result.ids = ids.host();
  return result;
}

void expect_range(const Search& search, bool packed, int64_t radius) {
  const RangeResult expected = naive_range(search, radius);
  in_every_order([&] {
    const RangeResult result = range_on_device(search, packed, radius);
    CHECK_EQ(result.counts, expected.counts);
    CHECK_EQ(result.distances, expected.distances);
    CHECK_EQ(result.ids, expected.ids);
  });
}

TEST(hamming_range_cuda_equals_sorting) {
  for_every_case([](const Search& search, bool packed) {
    const int64_t bits = 8 * search.database.width;
    for (int64_t radius : {int64_t(0), bits * 3 / 8, bits / 2, bits, int64_t(1) << 40}) {
      if (radius > bits && search.database.width > 100) continue;
      expect_range(search, packed, radius);
    }
  });
}

TEST(hamming_range_cuda_of_nothing) {
  const Search none({3, 0, 8, 0, 0xff}), nobody({0, 30, 8, 0, 0xff});
  for (const bool packed : {false, true}) {
    expect_range(none, packed, 64);
    expect_range(nobody, packed, 64);
  }
}

}  // namespace
}  // namespace fasthash
