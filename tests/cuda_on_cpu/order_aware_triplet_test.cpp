// SPDX-License-Identifier: Apache-2.0
// On buffers of exactly the size that the contract names.
#include "order_aware_triplet_case.h"

#include "device.h"

namespace fasthash {
namespace {

TripletResult run(const TripletCase& input, OrderAwareTriplet args) {
  DeviceBuffer<float> distances(input.distances), gradient(input.distances.size()), loss(1);
  DeviceBuffer<int8_t> relation(input.relation);
  DeviceBuffer<float> gains(input.gains);
  DeviceBuffer<uint8_t> anchor_codes(input.anchor_codes), item_codes(input.item_codes);
  args.gains = input.graded(args.weighting) ? gains.data() : nullptr;
  DeviceBuffer<unsigned char> workspace(size_t(order_aware_triplet_cuda_workspace(args)));
  args.distances = distances.data();
  args.relation = relation.data();
  args.anchor_codes.data = anchor_codes.data();
  args.item_codes.data = item_codes.data();
  args.gradient = gradient.data();
  CHECK_EQ(order_aware_triplet_cuda(args, loss.data(), workspace.data(), nullptr), cudaSuccess);
  return {double(loss.host()[0]), gradient.host()};
}

TEST(order_aware_triplet_equals_brute_force) {
  const TripletCase input(2, 37, 2);
  for_each_triplet_option([&](Weighting weighting, bool squared, Reduction reduction) {
    for_each_triplet_ranking(input.arguments(weighting, squared, reduction), [&](const OrderAwareTriplet& args) {
      expect_result(run(input, args), naive_order_aware_triplet(input, args));
    });
  });
}

TEST(order_aware_triplet_with_gains_equals_brute_force) {
  TripletCase zero(2, 9, 1);
  zero.gains.assign(zero.distances.size(), 0.0f);
  for (const TripletCase& input : {TripletCase(2, 37, 2).grade(), TripletCase(2, 1, 1).grade(), zero}) {
    for (bool squared : {false, true}) {
      const auto given = input.arguments(Weighting::delta_ndcg, squared, Reduction::avg_nonzero);
      for_each_triplet_ranking(given, [&](const OrderAwareTriplet& args) {
        const TripletResult once = run(input, args);
        expect_result(once, naive_order_aware_triplet(input, args));
        in_every_order([&] { CHECK(same_bits(run(input, args).gradient, once.gradient)); });
      });
    }
  }
}

TEST(order_aware_triplet_of_any_length_in_any_order) {
  for (int items : {1, 2, 3, 31, 64, 65}) {
    const TripletCase input(2, items, 1, unsigned(items));
    OrderAwareTriplet args = input.arguments(Weighting::delta_ap, true, Reduction::avg_nonzero);
    for (Ties ties : {Ties::index, Ties::mean}) {
      args.ties = ties;
      const TripletResult want = naive_order_aware_triplet(input, args);
      const TripletResult first = run(input, args);
      in_every_order([&] {
        const TripletResult again = run(input, args);
        expect_result(again, want);
        CHECK(again.loss == first.loss && same_bits(again.gradient, first.gradient));
      });
    }
  }
}

// More items than threads; more than shared memory holds, which puts the lists into the workspace.
TEST(order_aware_triplet_of_long_lists_equals_the_cpu) {
  for (const TripletCase& input : {TripletCase(3, 257, 6), TripletCase(2, 3600, 2), TripletCase(1, 900, 1).grade(),
                                   TripletCase(1, 3500, 2).grade()}) {
    for (Weighting weighting : {Weighting::none, Weighting::delta_ap, Weighting::delta_ndcg}) {
      OrderAwareTriplet args = input.arguments(weighting, true, Reduction::mean);
      args.ties = weighting == Weighting::delta_ndcg ? Ties::mean : Ties::index;
      const TripletResult once = run(input, args);
      expect_result(once, triplet_on_cpu(input, args));
      CHECK(same_bits(run(input, args).gradient, once.gradient));
    }
  }
}

}  // namespace
}  // namespace fasthash
