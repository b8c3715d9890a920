// SPDX-License-Identifier: Apache-2.0
// hamming_topk where it gathers lists, and the arithmetic of its plan.
#include "hamming_device.h"
#include "hamming_scan/segments.h"
#include "hamming_topk/hamming_topk.h"
#include "hamming_topk/hamming_topk_plan.h"

namespace fasthash {
namespace {

struct GatherCase {
  SearchCase search;
  int64_t k, capacity, sort_room = 0;  // 0: the plan's own
  bool sample_twice = false;
};
// Lists that hold all they should; that are too short for their codes, all or some of which are ranked after all;
// masks; more queries than a tile; codes that end inside a tile; wide codes.
const GatherCase cases[] = {{{17, 700, 8, 0, 0xff}, 5, 4096},
                            {{33, 257, 4, 0, 0xff, true}, 3, 256},
                            {{3, 700, 8, 0, 0x00}, 20, 128},
                            {{20, 600, 8, 0, 0x03, true, 2}, 9, 64},
                            {{16, 512, 16, 8, 0xff, false, 90}, 8, 64},
                            {{2, 300, 800, 0, 0xff, true}, 30, 300},
                            {{5, 64, 3, 0, 0xff}, 64, 64},
                            {{18, 3000, 8, 0, 0xff, true, 2}, 9, 4096, 0, true},
                            {{3, 5000, 12, 4, 0xff}, 40, 500, 0, true},
                            {{2, 900, 4, 0, 0x01}, 5, 128, 0, true}};

// How many queries of the last round gathering left to ranking.
int32_t unfinished_in(DeviceBuffer<int32_t>& workspace, const HammingTopkPlan& plan) {
  int32_t unfinished = -1;  // the rest of the workspace need not be written
  require(cudaDeviceSynchronize());
  require(cudaMemcpy(&unfinished, workspace.data() + plan.queries_at_once * plan.of_a_query(), sizeof unfinished,
                     cudaMemcpyDeviceToHost));
  return unfinished;
}

TopkResult gather_on_device(const Search& search, bool packed, const GatherCase& c, int64_t queries_at_once,
                            int32_t* unfinished = nullptr) {
  TopkResult result(search.queries.count, c.k);
  DeviceSearch on(search, packed);
  DeviceBuffer<int32_t> distances(result.distances.size());
  DeviceBuffer<int64_t> found(result.ids.size());
  const HammingTopk args{on.query_rows,   on.database.view(), c.k,         on.ids.data(),
                         on.allow.data(), distances.data(),   found.data()};
  HammingTopkPlan plan = hamming_topk_plan(args);
  CHECK(!plan.gathers());
  plan_gathering(args, plan, c.sample_twice);
  plan.capacity = c.capacity;
  if (c.sort_room > 0) plan.sort_room = c.sort_room;
  plan.queries_at_once = queries_at_once;
  DeviceBuffer<int32_t> workspace(size_t(plan.workspace()));
  CHECK_EQ(hamming_topk_cuda(args, on.order.data(), plan, workspace.data(), nullptr), int(cudaSuccess));
  result.distances = distances.host();
  result.ids = found.host();
  if (unfinished != nullptr) *unfinished = unfinished_in(workspace, plan);
  return result;
}

TEST(hamming_topk_cuda_by_gathering_equals_sorting) {
  for (const GatherCase& c : cases) {
    const Search search(c.search);
    const TopkResult expected = search.nearest(c.k);
    for (const bool packed : {false, true})
      in_every_order([&] { expect_same(gather_on_device(search, packed, c, c.search.queries), expected); });
    expect_same(gather_on_device(search, true, c, 2), expected);
  }
}

TEST(hamming_topk_cuda_gathers_for_many_queries_by_itself) {
  const Search search({16, 1 << 13, 8, 0, 0xff});
  const TopkResult expected = search.nearest(10);
  DeviceSearch on(search, true);
  DeviceBuffer<int32_t> distances(expected.distances.size());
  DeviceBuffer<int64_t> found(expected.ids.size());
  const HammingTopk args{on.query_rows, on.database.view(), 10, nullptr, nullptr, distances.data(), found.data()};
  const HammingTopkPlan plan = hamming_topk_plan(args);
  CHECK(plan.gathers());
  DeviceBuffer<int32_t> workspace(size_t(plan.workspace()));
  CHECK_EQ(hamming_topk_cuda(args, nullptr, plan, workspace.data(), nullptr), int(cudaSuccess));
  CHECK_EQ(distances.host(), expected.distances);
  CHECK_EQ(found.host(), expected.ids);
  CHECK_EQ(unfinished_in(workspace, plan), 0);
}

// Lists longer than a block sorts: nearly all codes are at a few distances, so that a list takes whole multitudes. They
// are cut by distance, and at the last distance by position; with ids of its own a list of too many there is ranked
// after all. A k for which a block sorts more than by default.
TEST(hamming_topk_cuda_cuts_long_lists_of_a_few_queries) {
  const GatherCase long_lists[] = {
      {{1, 9000, 8, 0, 0x0f, true}, 20, 1 << 14},       {{3, 6000, 2, 0, 0xff, false, 2}, 1024, 1 << 14},
      {{5, 7000, 16, 8, 0x11}, 1000, 1 << 14},          {{2, 9000, 8, 0, 0x01}, 1024, 1 << 14},
      {{2, 9000, 8, 0, 0x01}, 700, 1 << 14, 720},       {{1, 9000, 8, 0, 0x03, false, 3}, 900, 1 << 14, 1000},
      {{1, 9000, 8, 0, 0x01, true}, 700, 1 << 14, 720}, {{1, 9000, 8, 0, 0xff}, 5000, 1 << 14}};
  for (const GatherCase& c : long_lists) {
    const Search search(c.search);
    const TopkResult expected = search.nearest(c.k);
    int32_t unfinished = -1;
    for (const bool packed : {false, true})
      expect_same(gather_on_device(search, packed, c, c.search.queries, &unfinished), expected);
    CHECK_EQ(unfinished > 0, c.sort_room > 0 && c.search.ids);
  }
}

TEST(hamming_topk_cuda_gathers_for_one_query_of_many_codes_by_itself) {
  const HammingTopk args{{nullptr, 1, 8, 8}, {nullptr, 1 << 20, 8, 0}, 10, nullptr, nullptr, nullptr, nullptr};
  const HammingTopkPlan plan = hamming_topk_plan(args);
  CHECK(plan.gathers());
  CHECK_EQ(plan.capacity, gather_capacity_of_few);
  CHECK(plan.sample.k < plan.sample.codes);
  CHECK_EQ(plan.first.codes, 0);
}

void expect_sound(const RankCut& cut, int64_t codes) {
  CHECK(cut.segments * cut.segment_codes >= codes);
  CHECK((cut.segments - 1) * cut.segment_codes < codes);
  CHECK_EQ(cut.segment_codes % 32, 0);
  CHECK(cut.segments <= 65535);  // rows of a grid
}

void expect_sound(const HammingTopkSample& sample, int64_t codes) {
  expect_sound(sample.cut, sample.codes);
  CHECK((sample.codes / group_codes - 1) * sample.every * group_codes + group_codes <= codes);
  CHECK(sample.k >= 1 && sample.k <= sample.codes);
}

// Grids have less than 2^31 columns: the largest has one for each query and segment.
TEST(hamming_topk_plan_bounds_grids_and_the_workspace) {
  for (int64_t queries : {int64_t(1), int64_t(100), int64_t(100'000), int64_t(1'000'000)}) {
    for (int64_t codes : {int64_t(1), int64_t(1000), int64_t(1) << 30, hamming_topk_cuda_max_codes}) {
      for (int64_t width : {1, 4, 8, 128, 100'000}) {
        for (int64_t k : {int64_t(1), std::min<int64_t>(1000, codes), codes}) {
          const HammingTopkPlan plan = hamming_topk_plan({{nullptr, queries, width, width},
                                                          {nullptr, codes, width, width},
                                                          k,
                                                          nullptr,
                                                          nullptr,
                                                          nullptr,
                                                          nullptr});
          expect_sound(plan.cut, codes);
          CHECK(plan.queries_at_once >= 1 && plan.queries_at_once <= queries);
          CHECK(plan.workspace() <= std::max<int64_t>(1 << 24, codes + 2 * plan.cut.bins + 1024));
          CHECK(plan.queries_at_once * plan.cut.segments < INT32_MAX);
          if (!plan.gathers()) continue;
          CHECK(k <= plan.capacity);
          expect_sound(plan.sample, codes);
          if (plan.first.codes > 0) expect_sound(plan.first, codes);
        }
      }
    }
  }
}

TEST(cut_segments_bounds_grids_and_counts) {
  for (int64_t groups : {int64_t(1), int64_t(125), int64_t(1'000'000)}) {
    for (int64_t codes : {int64_t(1), int64_t(1000), hamming_topk_cuda_max_codes, int64_t(1) << 40}) {
      const Segments segments = cut_segments(codes, groups, 1 << 13, 4096, 256);
      CHECK(segments.count <= 65535);
      CHECK(segments.codes <= int64_t(1) << 30);
      CHECK_EQ(segments.codes % 256, 0);
      CHECK(segments.count * segments.codes >= codes && (segments.count - 1) * segments.codes < codes);
    }
  }
}

// What comes by chance: both ways of searching, both layouts, any k that the search may be asked for.
TEST(hamming_topk_cuda_of_random_cases_equals_sorting) {
  std::mt19937 random(1);
  const auto between = [&](int64_t low, int64_t high) { return low + int64_t(random() % uint64_t(high - low + 1)); };
  for (int i = 0; i < 150; ++i) {
    SearchCase c{between(1, 40), between(1, 500), between(1, i % 5 == 0 ? 140 : 20), between(0, 9), 0xff};
    if (i % 3 == 0) c.mask = uint8_t(random());
    c.ids = random() % 2 == 0;
    c.allow_every = int(between(0, 4));
    const Search search(c);
    const int64_t k = between(1, random() % 2 == 0 ? c.codes : std::min<int64_t>(c.codes, 10));
    DeviceSearch on(search, random() % 2 == 0);
    DeviceBuffer<int32_t> distances(size_t(c.queries * k));
    DeviceBuffer<int64_t> found(size_t(c.queries * k));
    const HammingTopk args{on.query_rows,   on.database.view(), k,           on.ids.data(),
                           on.allow.data(), distances.data(),   found.data()};
    HammingTopkPlan plan = hamming_topk_plan(args);
    if (random() % 3 != 0) plan_gathering(args, plan, random() % 2 == 0);
    if (plan.gathers()) plan.capacity = std::max<int64_t>(k, between(1, 700));
    if (random() % 2 == 0) plan.sort_room = between(1, 700);
    plan.queries_at_once = between(1, c.queries);
    DeviceBuffer<int32_t> workspace(size_t(plan.workspace()));
    CHECK_EQ(hamming_topk_cuda(args, on.order.data(), plan, workspace.data(), nullptr), int(cudaSuccess));
    const TopkResult expected = search.nearest(k);
    CHECK_EQ(distances.host(), expected.distances);
    CHECK_EQ(found.host(), expected.ids);
  }
}

}  // namespace
}  // namespace fasthash
