// SPDX-License-Identifier: Apache-2.0
#include "order_aware_triplet/order_aware_triplet.h"

#include <limits>

#include "check.h"
#include "machines.h"
#include "order_aware_triplet/order_aware_triplet_math.h"
#include "order_aware_triplet/rank_order.h"
#include "order_aware_triplet_case.h"

namespace fasthash {
namespace {

void expect_brute_force(const TripletCase& input) {
  for_each_triplet_option([&](Weighting weighting, bool squared, Reduction reduction) {
    for_each_triplet_ranking(input.arguments(weighting, squared, reduction), [&](OrderAwareTriplet args) {
      const TripletResult want = naive_order_aware_triplet(input, args);
      for (TripletMethod method : {TripletMethod::automatic, TripletMethod::pairs, TripletMethod::sweep}) {
        args.method = method;
        expect_result(triplet_on_cpu(input, args), want);
      }
    });
  });
}

TEST(order_aware_triplet_equals_brute_force_on_every_machine) {
  on_every_machine([] {
    for (int items : {1, 2, 7, 15, 16, 17, 31, 33, 50}) expect_brute_force(TripletCase(3, items, 1, unsigned(items)));
    expect_brute_force(TripletCase(5, 20, 9));
  });
  expect_every_variant_ran("order_aware_triplet");
}

void expect_graded_brute_force(const TripletCase& input) {
  for (bool squared : {false, true}) {
    const auto given = input.arguments(Weighting::delta_ndcg, squared, Reduction::avg_nonzero);
    for_each_triplet_ranking(given, [&](OrderAwareTriplet args) {
      const TripletResult want = naive_order_aware_triplet(input, args);
      for (TripletMethod method : {TripletMethod::pairs, TripletMethod::sweep}) {
        args.method = method;
        expect_result(triplet_on_cpu(input, args), want);
      }
    });
  }
}

TEST(order_aware_triplet_with_gains_equals_brute_force_on_every_machine) {
  on_every_machine([] {
    for (int items : {1, 2, 7, 16, 33, 50})
      expect_graded_brute_force(TripletCase(3, items, 1, unsigned(items)).grade(unsigned(items)));
    TripletCase large = TripletCase(3, 40, 9).grade();
    for (float& gain : large.gains) gain *= 1e37f;
    expect_graded_brute_force(large);
  });
}

TEST(order_aware_triplet_of_equal_gains_is_that_without) {
  TripletCase input(3, 300, 2);
  for (TripletMethod method : {TripletMethod::pairs, TripletMethod::sweep}) {
    OrderAwareTriplet args = input.arguments(Weighting::delta_ndcg, true, Reduction::mean);
    args.method = method;
    input.gains.clear();
    const TripletResult want = triplet_on_cpu(input, args);
    input.gains.assign(input.distances.size(), 7.0f);
    const TripletResult got = triplet_on_cpu(input, args);
    CHECK(got.loss == want.loss && got.gradient == want.gradient);
  }
}

TEST(order_aware_triplet_of_gains_that_are_all_zero_weighs_nothing) {
  TripletCase input(3, 60, 2);
  input.gains.assign(input.distances.size(), 0.0f);
  for_each_triplet_ranking(input.arguments(Weighting::delta_ndcg, true, Reduction::mean), [&](OrderAwareTriplet args) {
    for (TripletMethod method : {TripletMethod::pairs, TripletMethod::sweep}) {
      args.method = method;
      const TripletResult result = triplet_on_cpu(input, args);
      CHECK_EQ(result.loss, 0.0);
      for (float gradient : result.gradient) CHECK_EQ(gradient, 0.0f);
    }
  });
}

TEST(order_aware_triplet_of_many_anchors_in_blocks) {
  const TripletCase input(200, 12, 2);
  CHECK(order_aware_triplet_blocks(200) < 200);
  expect_brute_force(input);
}

// Every Hamming distance ties, then every distance too: with average ranks no weight is left.
TEST(order_aware_triplet_of_equal_codes) {
  TripletCase input(3, 40, 1);
  std::fill(input.item_codes.begin(), input.item_codes.end(), uint8_t(5));
  expect_brute_force(input);
  std::fill(input.distances.begin(), input.distances.end(), 2.5f);
  expect_brute_force(input);
  OrderAwareTriplet args = input.arguments(Weighting::delta_ap, true, Reduction::mean);
  args.ties = Ties::mean;
  CHECK_EQ(triplet_on_cpu(input, args).loss, 0.0);
}

// The weights of the few pairs that do not tie are a million times the mean: no case for sums of potentials.
TEST(a_sweep_gives_way_where_nearly_all_items_tie) {
  TripletCase input(1, 3000, 1);
  std::fill(input.anchor_codes.begin(), input.anchor_codes.end(), uint8_t(0));
  std::fill(input.item_codes.begin(), input.item_codes.end(), uint8_t(0));
  std::fill(input.relation.begin(), input.relation.end(), int8_t(-1));
  std::fill_n(input.relation.begin(), 1000, int8_t(1));
  input.item_codes.back() = 1;
  OrderAwareTriplet args = input.arguments(Weighting::rank_difference, true, Reduction::mean);
  args.ties = Ties::mean;
  args.method = TripletMethod::pairs;
  const TripletResult want = triplet_on_cpu(input, args);
  args.method = TripletMethod::sweep;
  const TripletResult got = triplet_on_cpu(input, args);
  expect_result(got, want);
  CHECK(want.loss > 0);
}

// Where pairs are looked at one by one, whatever the method: margins that equal distances may not have.
TEST(a_sweep_gives_way_where_it_would_not_be_exact) {
  const TripletCase input(3, 30, 1);
  for (double margin : {0.0, -1.5, 1e-30}) {
    OrderAwareTriplet args = input.arguments(Weighting::delta_ap, false, Reduction::avg_nonzero);
    args.margin = margin;
    const TripletResult want = naive_order_aware_triplet(input, args);
    args.method = TripletMethod::sweep;
    expect_result(triplet_on_cpu(input, args), want);
  }
}

TEST(a_sweep_of_long_lists_equals_all_pairs) {
  for (const TripletCase& input :
       {TripletCase(2, 3000, 1), TripletCase(2, 1500, 40), TripletCase(2, 3000, 1).grade()}) {
    for (Ties ties : {Ties::index, Ties::mean}) {
      const Weighting weighting = input.gains.empty() ? Weighting::delta_ap : Weighting::delta_ndcg;
      OrderAwareTriplet args = input.arguments(weighting, true, Reduction::mean);
      args.ties = ties;
      args.method = TripletMethod::pairs;
      const TripletResult want = triplet_on_cpu(input, args);
      args.method = TripletMethod::sweep;
      const TripletResult swept = triplet_on_cpu(input, args);
      expect_result(swept, want);
      args.method = TripletMethod::automatic;
      CHECK(triplet_on_cpu(input, args).gradient == swept.gradient);
    }
  }
}

TEST(order_aware_triplet_without_triplets_is_zero) {
  for (int8_t kind : {-1, 0, 1}) {
    TripletCase input(4, 9, 1);
    std::fill(input.relation.begin(), input.relation.end(), kind);
    const TripletResult result =
        triplet_on_cpu(input, input.arguments(Weighting::delta_ap, true, Reduction::avg_nonzero));
    CHECK_EQ(result.loss, 0.0);
    for (float gradient : result.gradient) CHECK_EQ(gradient, 0.0f);
  }
}

TEST(distance_keys_are_in_the_order_of_the_distances) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float rising[] = {-infinity, -2.0f, -1e-40f, 0.0f, 1e-40f, 1.0f, 1.0000001f, infinity, NAN};
  for (int i = 0; i + 1 < 9; ++i) CHECK(distance_key(rising[i]) < distance_key(rising[i + 1]));
  CHECK_EQ(distance_key(-0.0f), distance_key(0.0f));
  CHECK_EQ(distance_key(-NAN), distance_key(NAN));
}

TEST(rank_order_sorts_by_hamming_then_distance_then_index) {
  std::mt19937 random(1);
  for (int count : {1, 2, 47, 48, 49, 50, 300, 2000}) {
    for (uint32_t spread : {1u, 5u, 0xffffffffu}) {
      RankOrder order(count, 2);
      std::vector<int32_t> hamming;
      std::vector<std::tuple<int32_t, uint32_t, uint32_t>> expected;
      for (uint32_t i = 0; i < uint32_t(count); ++i) {
        hamming.push_back(int32_t(random() % 17));
        const uint32_t key = spread == 0xffffffffu ? uint32_t(random()) : uint32_t(random() % spread);
        order.add(i, key);
        expected.emplace_back(hamming.back(), key, i);
      }
      std::sort(expected.begin(), expected.end());
      const uint32_t* sorted = order.sort(hamming.data());
      bool same = true;
      for (int i = 0; i < count; ++i) same = same && sorted[i] == std::get<2>(expected[i]);
      CHECK(same);
    }
  }
}

}  // namespace
}  // namespace fasthash
