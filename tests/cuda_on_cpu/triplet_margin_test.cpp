// SPDX-License-Identifier: Apache-2.0
// On buffers of exactly the size that the contract names.
#include "triplet_margin_case.h"

#include "device.h"

namespace fasthash {
namespace {

MarginResult run(const MarginCase& input, TripletMargin args) {
  DeviceBuffer<float> distances(input.distances), gradient(input.distances.size()), loss(1);
  DeviceBuffer<int8_t> relation(input.relation);
  DeviceBuffer<unsigned char> workspace(size_t(triplet_margin_cuda_workspace(args)));
  args.distances = distances.data();
  args.relation = relation.data();
  args.gradient = gradient.data();
  CHECK_EQ(triplet_margin_cuda(args, loss.data(), workspace.data(), nullptr), cudaSuccess);
  return {double(loss.host()[0]), gradient.host()};
}

TEST(triplet_margin_equals_loops) {
  for (const MarginCase& input : {MarginCase(2, 37), MarginCase(17, 17)}) {
    for_each_margin_option(input.anchors == input.items,
                           [&](Mining mining, bool swap, bool smooth, Reduction reduction) {
                             const TripletMargin args = input.arguments(mining, swap, smooth, reduction);
                             expect_result(run(input, args), naive_triplet_margin(input, args));
                           });
  }
}

TEST(triplet_margin_of_any_length_in_any_order) {
  for (int items : {1, 2, 3, 31, 64, 65}) {
    const MarginCase input(2, items, unsigned(items));
    for (Mining mining : {Mining::all, Mining::semi_hard, Mining::hard}) {
      const TripletMargin args = input.arguments(mining, false, items % 2 == 0, Reduction::avg_nonzero);
      const MarginResult want = naive_triplet_margin(input, args), first = run(input, args);
      in_every_order([&] {
        const MarginResult again = run(input, args);
        expect_result(again, want);
        CHECK(again.loss == first.loss && same_bits(again.gradient, first.gradient));
      });
    }
  }
}

// More items than threads; more than shared memory holds, which puts the lists into the workspace.
TEST(triplet_margin_of_long_lists_equals_the_cpu) {
  for (const MarginCase& input : {MarginCase(3, 257), MarginCase(1, 12300)}) {
    for (Mining mining : {Mining::all, Mining::semi_hard, Mining::hard}) {
      const TripletMargin args = input.arguments(mining, false, false, Reduction::mean);
      const MarginResult once = run(input, args);
      expect_result(once, margin_on_cpu(input, args));
      CHECK(same_bits(run(input, args).gradient, once.gradient));
    }
  }
}

}  // namespace
}  // namespace fasthash
