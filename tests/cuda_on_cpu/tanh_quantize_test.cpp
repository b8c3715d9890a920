// SPDX-License-Identifier: Apache-2.0
// The kernels against the CPU, on buffers of exactly the size that the contract names.
#include "tanh_quantize/tanh_quantize.h"

#include <vector>

#include "device.h"

namespace fasthash {
namespace {

struct Shape {
  int64_t rows, bits, row_stride;
};
const Shape shapes[] = {{1, 1, 1}, {3, 12, 12}, {5, 8, 11}, {2, 16, 16}, {4, 64, 64}, {33, 65, 72}, {300, 9, 9}};

std::vector<float> numbers(int64_t count, float scale) {
  std::vector<float> values(static_cast<std::size_t>(count));
  unsigned state = 1;
  for (float& value : values) {
    state = state * 1664525u + 1013904223u;
    value = scale * (float(state >> 8) / float(1 << 23) - 1.0f);
  }
  return values;
}

int64_t logits_of(Shape s) { return (s.rows - 1) * s.row_stride + s.bits; }
std::size_t codes_of(Shape s) { return std::size_t(s.rows * s.bits); }

struct Forward {
  std::vector<float> codes, mean;
  std::vector<uint8_t> packed;
  std::vector<int64_t> saturation;
};

TanhQuantizeForward forward_args(Shape s) {
  TanhQuantizeForward args{};
  args.rows = s.rows;
  args.bits = s.bits;
  args.row_stride = s.row_stride;
  args.dtype = Dtype::float32;
  args.penalty = Penalty::l2;
  args.sharpness = 1.5;
  args.threshold = 0.9;
  return args;
}

Forward forward_on_cpu(Shape s, const std::vector<float>& logits) {
  Forward result{std::vector<float>(codes_of(s)),
                 {0},
                 std::vector<uint8_t>(std::size_t(s.rows * ((s.bits + 7) / 8))),
                 std::vector<int64_t>(std::size_t(s.bits))};
  const int64_t blocks = tanh_quantize_blocks(s.rows, s.bits);
  std::vector<double> partials(static_cast<std::size_t>(blocks));
  TanhQuantizeForward args = forward_args(s);
  args.logits = logits.data();
  args.codes = result.codes.data();
  args.partials = partials.data();
  args.packed = result.packed.data();
  args.saturation = result.saturation.data();
  for (int64_t block = 0; block < blocks; ++block) tanh_quantize_cpu(args, block);
  double sum = 0;
  for (const double partial : partials) sum += partial;
  result.mean[0] = float(sum / double(s.rows * s.bits));
  return result;
}

Forward forward_on_device(Shape s, const std::vector<float>& values) {
  DeviceBuffer<float> logits(values), codes(codes_of(s)), mean(1);
  DeviceBuffer<double> partials(static_cast<std::size_t>(tanh_quantize_cuda_partials));
  DeviceBuffer<uint8_t> packed(std::size_t(s.rows * ((s.bits + 7) / 8)));
  DeviceBuffer<int64_t> saturation(std::vector<int64_t>(std::size_t(s.bits)));
  TanhQuantizeForward args = forward_args(s);
  args.logits = logits.data();
  args.codes = codes.data();
  args.partials = partials.data();
  args.packed = packed.data();
  args.saturation = saturation.data();
  CHECK_EQ(tanh_quantize_cuda(args, mean.data(), nullptr), int(cudaSuccess));
  return {codes.host(), mean.host(), packed.host(), saturation.host()};
}

// tanh and exp of the host and of the device may differ by a few units in the last place of 1.
void expect_near(const std::vector<float>& a, const std::vector<float>& b, double bound) {
  CHECK_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) CHECK_NEAR(a[i], b[i], bound);
}

TEST(tanh_quantize_equals_the_cpu) {
  for (const Shape& s : shapes) {
    const std::vector<float> logits = numbers(logits_of(s), 3.0f);
    const Forward expected = forward_on_cpu(s, logits);
    std::vector<float> first;
    in_every_order([&] {
      const Forward result = forward_on_device(s, logits);
      CHECK_EQ(result.packed, expected.packed);
      CHECK_EQ(result.saturation, expected.saturation);
      expect_near(result.codes, expected.codes, 0x1p-21);
      expect_near(result.mean, expected.mean, 0x1p-21);
      if (first.empty()) first = result.mean;
      CHECK(same_bits(result.mean, first));
    });
  }
}

TEST(tanh_quantize_backward_equals_the_cpu) {
  for (const Shape& s : shapes) {
    const std::vector<float> values = numbers(logits_of(s), 3.0f), grads = numbers(s.rows * s.bits, 1.0f), one{0.5f};
    TanhQuantizeBackward args{};
    args.rows = s.rows;
    args.bits = s.bits;
    args.row_stride = s.row_stride;
    args.dtype = Dtype::float32;
    args.penalty = Penalty::l2;
    args.sharpness = 1.5;
    args.rule = {Amplifier::wrong_side, false, 10.0, 0.9};
    TanhQuantizeBackward host = args;
    std::vector<float> expected(codes_of(s));
    host.grad_codes = grads.data();
    host.grad_penalty = one.data();
    host.logits = values.data();
    host.grad_logits = expected.data();
    for (int64_t b = 0; b < tanh_quantize_blocks(s.rows, s.bits); ++b) tanh_quantize_backward_cpu(host, b);
    in_every_order([&] {
      DeviceBuffer<float> logits(values), grad_codes(grads), grad_penalty(one), grad_logits(codes_of(s));
      args.grad_codes = grad_codes.data();
      args.grad_penalty = grad_penalty.data();
      args.logits = logits.data();
      args.grad_logits = grad_logits.data();
      CHECK_EQ(tanh_quantize_backward_cuda(args, nullptr), int(cudaSuccess));
      expect_near(grad_logits.host(), expected, 0x1p-17);  // slopes up to 1.5, amplified tenfold
    });
  }
}

}  // namespace
}  // namespace fasthash
