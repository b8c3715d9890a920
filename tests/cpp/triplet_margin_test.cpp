// SPDX-License-Identifier: Apache-2.0
#include "triplet_margin/triplet_margin.h"

#include "check.h"
#include "machines.h"
#include "triplet_margin_case.h"

namespace fasthash {
namespace {

void expect_naive(const MarginCase& input) {
  for_each_margin_option(input.anchors == input.items, [&](Mining mining, bool swap, bool smooth, Reduction reduction) {
    const TripletMargin args = input.arguments(mining, swap, smooth, reduction);
    expect_result(margin_on_cpu(input, args), naive_triplet_margin(input, args));
  });
}

TEST(triplet_margin_equals_loops_on_every_machine) {
  on_every_machine([] {
    for (int items : {1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 50}) {
      expect_naive(MarginCase(3, items, unsigned(items)));
      expect_naive(MarginCase(items, items, unsigned(items)));
    }
  });
  expect_every_variant_ran("triplet_margin");
  expect_every_variant_ran("triplet_margin_swap");
}

// More positives than pairs are gone through one by one, on any machine.
TEST(triplet_margin_of_long_lists_equals_loops) {
  on_every_machine([] { expect_naive(MarginCase(2, 700)); });
}

TEST(triplet_margin_of_many_anchors_in_blocks) {
  CHECK(triplet_margin_blocks(200) < 200);
  expect_naive(MarginCase(200, 12));
}

TEST(triplet_margin_of_a_far_anchor_is_not_a_number) {
  for (float bad : {NAN, INFINITY, -INFINITY}) {
    for_each_margin_option(false, [&](Mining mining, bool swap, bool smooth, Reduction reduction) {
      MarginCase input(2, 9);
      input.relation = {1, -1, 0, 1, -1, 0, 1, 1, -1, 1, -1, 0, 1, -1, 0, 1, 1, -1};
      const TripletMargin args = input.arguments(mining, swap, smooth, reduction);
      input.distances[2] = bad;
      CHECK(std::isfinite(margin_on_cpu(input, args).loss));
      input.distances[3] = bad;
      const MarginResult result = margin_on_cpu(input, args);
      CHECK(std::isnan(result.loss));
      for (int m = 0; m < 18; ++m) CHECK_EQ(std::isnan(result.gradient[m]), m < 9 && input.relation[m] != 0);
    });
  }
}

TEST(triplet_margin_without_triplets_is_zero) {
  for (int8_t kind : {-1, 0, 1}) {
    for_each_margin_option(true, [&](Mining mining, bool swap, bool smooth, Reduction reduction) {
      MarginCase input(9, 9);
      std::fill(input.relation.begin(), input.relation.end(), kind);
      const MarginResult result = margin_on_cpu(input, input.arguments(mining, swap, smooth, reduction));
      CHECK_EQ(result.loss, 0.0);
      for (float gradient : result.gradient) CHECK_EQ(gradient, 0.0f);
    });
  }
}

}  // namespace
}  // namespace fasthash
