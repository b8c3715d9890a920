// SPDX-License-Identifier: Apache-2.0
// The kernels against the CPU, on buffers of exactly the size that the contract names.
#include "order_aware_triplet/order_aware_triplet.h"

#include <vector>

#include "device.h"

namespace fasthash {
namespace {

struct Inputs {
  std::vector<float> distances;
  std::vector<int8_t> relation;
  std::vector<uint8_t> anchor_codes, item_codes;
};

Inputs inputs(int64_t anchors, int64_t items, int64_t code_bytes) {
  Inputs in;
  unsigned state = 7;
  const auto next = [&] { return (state = state * 1664525u + 1013904223u) >> 16; };
  for (int64_t i = 0; i < anchors * items; ++i) {
    in.distances.push_back(float(next() % 64) / 4.0f);  // few values: many ties
    in.relation.push_back(int8_t(int(next() % 3) - 1));
  }
  for (int64_t i = 0; i < anchors * code_bytes; ++i) in.anchor_codes.push_back(uint8_t(next()));
  for (int64_t i = 0; i < items * code_bytes; ++i) in.item_codes.push_back(uint8_t(next()));
  return in;
}

OrderAwareTriplet arguments(int64_t anchors, int64_t items, int64_t code_bytes, Weighting weighting) {
  OrderAwareTriplet args{};
  args.anchors = anchors;
  args.items = args.distance_stride = args.relation_stride = items;
  args.code_bytes = args.anchor_stride = args.item_stride = code_bytes;
  args.dtype = Dtype::float32;
  args.margin = 4.0;
  args.weighting = weighting;
  args.squared = true;
  args.reduction = Reduction::mean;
  return args;
}

struct Result {
  std::vector<float> loss, gradient;
};

Result on_cpu(OrderAwareTriplet args, const Inputs& in) {
  Result result{{0}, std::vector<float>(in.distances.size())};
  std::vector<TripletSum> sums(static_cast<std::size_t>(args.anchors));
  args.distances = in.distances.data();
  args.relation = in.relation.data();
  args.anchor_codes = in.anchor_codes.data();
  args.item_codes = in.item_codes.data();
  args.gradient = result.gradient.data();
  args.sums = sums.data();
  const int64_t blocks = order_aware_triplet_blocks(args.anchors);
  for (int64_t block = 0; block < blocks; ++block) order_aware_triplet_cpu(args, block);
  const TripletScale scale = order_aware_triplet_scale(args);
  for (int64_t block = 0; block < blocks; ++block) order_aware_triplet_rescale_cpu(args, scale.gradient, block);
  result.loss[0] = float(scale.loss);
  return result;
}

Result on_device(OrderAwareTriplet args, const Inputs& in) {
  DeviceBuffer<float> distances(in.distances), gradient(in.distances.size()), loss(1);
  DeviceBuffer<int8_t> relation(in.relation);
  DeviceBuffer<uint8_t> anchor_codes(in.anchor_codes), item_codes(in.item_codes);
  DeviceBuffer<uint8_t> workspace(std::size_t(order_aware_triplet_cuda_workspace(args)));
  args.distances = distances.data();
  args.relation = relation.data();
  args.anchor_codes = anchor_codes.data();
  args.item_codes = item_codes.data();
  args.gradient = gradient.data();
  CHECK_EQ(order_aware_triplet_cuda(args, loss.data(), workspace.data(), nullptr), int(cudaSuccess));
  return {loss.host(), gradient.host()};
}

// Both sides add in float, in different orders: each number is within 1e-4 of the largest of its kind.
void expect_near(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = 0;
  for (const float value : b) largest = std::fmax(largest, std::fabs(double(value)));
  CHECK_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) CHECK_NEAR(a[i], b[i], 1e-4 * largest);
}

void compare(int64_t anchors, int64_t items, int64_t code_bytes, Weighting weighting) {
  const Inputs in = inputs(anchors, items, code_bytes);
  const OrderAwareTriplet args = arguments(anchors, items, code_bytes, weighting);
  const Result expected = on_cpu(args, in);
  Result first;
  in_every_order([&] {
    const Result result = on_device(args, in);
    expect_near(result.loss, expected.loss);
    expect_near(result.gradient, expected.gradient);
    if (first.loss.empty()) first = result;
    CHECK(same_bits(result.loss, first.loss) && same_bits(result.gradient, first.gradient));
  });
}

TEST(order_aware_triplet_equals_the_cpu) {
  for (const Weighting weighting : {Weighting::none, Weighting::delta_ap}) {
    compare(1, 1, 1, weighting);
    compare(2, 3, 2, weighting);
    compare(5, 65, 8, weighting);
    compare(3, 257, 6, weighting);
  }
}

// Longer lists than shared memory holds lie in the workspace.
TEST(order_aware_triplet_equals_the_cpu_in_the_workspace) { compare(1, 4000, 2, Weighting::delta_ap); }

}  // namespace
}  // namespace fasthash
