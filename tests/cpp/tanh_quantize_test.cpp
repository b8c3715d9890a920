// SPDX-License-Identifier: Apache-2.0
#include "tanh_quantize/tanh_quantize.h"

#include <random>

#include "machines.h"
#include "tanh_quantize_case.h"

namespace fasthash {
namespace {

constexpr Dtype dtypes[] = {Dtype::float32, Dtype::float64, Dtype::bfloat16, Dtype::float16};
constexpr Penalty penalties[] = {Penalty::none, Penalty::l2, Penalty::l1, Penalty::log_cosh, Penalty::cubic};
constexpr Amplifier amplifiers[] = {Amplifier::none, Amplifier::magnitude, Amplifier::wrong_side};

TanhCase random_case(int64_t rows, int64_t bits, int64_t row_stride, Dtype dtype) {
  TanhCase input(rows, bits, row_stride, dtype);
  std::mt19937 random(unsigned(rows * 1000 + bits));
  std::normal_distribution<double> normal;
  for (int64_t i = 0; i < (rows - 1) * row_stride + bits; ++i) set_element(input.logits, i, dtype, 2 * normal(random));
  for (int64_t i = 0; i < rows * bits; ++i) set_element(input.grad_codes, i, dtype, normal(random));
  return input;
}

void expect_both_ways(const TanhCase& input) {
  expect_forward(input);
  expect_backward(input);
}

TEST(tanh_quantize_of_any_shape_on_every_machine) {
  on_every_machine([] {
    for (Dtype dtype : dtypes) {
      for (int64_t bits : {1, 3, 4, 5, 7, 8, 12, 15, 16, 17, 31, 33, 64, 65}) {
        expect_both_ways(random_case(5, bits, bits, dtype));
        expect_both_ways(random_case(4, bits, bits + 3, dtype));
      }
    }
  });
  expect_every_variant_ran("tanh_quantize");
  expect_every_variant_ran("tanh_quantize_backward");
}

TEST(tanh_quantize_with_every_option_on_every_machine) {
  on_every_machine([] {
    for (Dtype dtype : dtypes) {
      for (Penalty penalty : penalties) {
        for (Amplifier amplifier : amplifiers) {
          for (bool inverse : {false, true}) {
            TanhCase input = random_case(3, 45, 45, dtype);
            input.penalty = penalty;
            input.rule = {amplifier, inverse, 10.0, 0.9};
            input.pack = inverse;
            input.count = amplifier != Amplifier::none;
            input.with_grad_codes = amplifier != Amplifier::magnitude || penalty != Penalty::l2;
            expect_both_ways(input);
          }
        }
      }
    }
  });
}

TEST(tanh_quantize_of_many_blocks) {
  on_every_machine([] {
    const TanhCase input = random_case(1401, 24, 24, Dtype::float32);
    CHECK(tanh_quantize_blocks(input.rows, input.bits) > 1);
    expect_both_ways(input);
  });
}

TEST(tanh_quantize_of_special_values_on_every_machine) {
  on_every_machine([] {
    for (Dtype dtype : dtypes) {
      const double values[] = {0.0, -0.0, INFINITY, -INFINITY, NAN, 1e-40, 90.0, -90.0, -1e-40, 1.0, 3e4};
      TanhCase input(1, 11, 11, dtype);
      for (int64_t i = 0; i < 11; ++i) {
        set_element(input.logits, i, dtype, values[i]);
        set_element(input.grad_codes, i, dtype, 1.0);
      }
      expect_both_ways(input);  // CHECK_NEAR takes NaN for NaN alone
    }
  });
}

// Rounding, infinities, NaN and subnormal numbers of the half precisions, in and out.
TEST(tanh_quantize_of_every_half_on_every_machine) {
  on_every_machine([] {
    for (Dtype dtype : {Dtype::bfloat16, Dtype::float16}) {
      TanhCase input(1024, 64, 64, dtype);
      for (uint32_t i = 0; i < 0x10000; ++i) {
        const auto bits = uint16_t(i);
        std::memcpy(&input.logits[i * 2], &bits, 2);
        set_element(input.grad_codes, i, dtype, 1.0);
      }
      expect_both_ways(input);
    }
  });
}

}  // namespace
}  // namespace fasthash
