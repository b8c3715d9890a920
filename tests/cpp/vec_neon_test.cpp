// SPDX-License-Identifier: Apache-2.0
// The float32 lanes of NEON against the scalar conversions and the semantics that the vector texts rely on.
#if defined(FASTHASH_AARCH64_VARIANTS)
#include "common/vec_neon.h"

#include <array>
#include <cmath>
#include <random>

#include "check.h"
#include "common/dtype.h"

namespace fasthash {
namespace {

using Lanes = std::array<float, 4>;

Vec vec(const Lanes& x) { return load_float32(x.data()); }
Lanes lanes(Vec x) {
  Lanes out;
  store_float32(out.data(), x);
  return out;
}
void expect_lanes(Vec got, const Lanes& want) {
  for (size_t i = 0; i < 4; ++i) CHECK_EQ(bits_from_float(lanes(got)[i]), bits_from_float(want[i]));
}

TEST(neon_min_and_max_return_the_second_where_either_is_nan) {
  const Vec a = vec({1, NAN, 3, -0.0f}), b = vec({2, 5, NAN, 0.0f});
  expect_lanes(min(a, b), {1, 5, lanes(b)[2], 0.0f});
  expect_lanes(max(a, b), {2, 5, lanes(b)[2], 0.0f});
  expect_lanes(max(vec({-0.0f, 7, -1, 2}), vec({-0.0f, 6, 0, 2})), {-0.0f, 7, 0, 2});
}

TEST(neon_arithmetic_of_lanes) {
  const Vec a = vec({1, -2, 3, 0.5f}), b = vec({4, 5, -6, 8});
  expect_lanes(a + b, {5, 3, -3, 8.5f});
  expect_lanes(a - b, {-3, -7, 9, -7.5f});
  expect_lanes(a * b, {4, -10, -18, 4});
  expect_lanes(a / b, {0.25f, -0.4f, -0.5f, 0.0625f});
  expect_lanes(fma(a, b, vec({1, 1, 1, 1})), {5, -9, -17, 5});
  expect_lanes(fma(vec({0x1p-12f, 0, 0, 0}) + broadcast(1), vec({0x1p-12f, 0, 0, 0}) + broadcast(1), broadcast(-1)),
               {0x1p-11f + 0x1p-24f, 0, 0, 0});  // rounded once
  expect_lanes(abs(a), {1, 2, 3, 0.5f});
  expect_lanes(copy_sign(a, vec({-0.0f, 1, -NAN, 0.0f})), {-1, 2, -3, 0.5f});
  expect_lanes(round_nearest(vec({0.5f, 1.5f, -2.5f, 2.6f})), {0, 2, -2, 3});
  expect_lanes(exp2_whole(vec({0, 1, -126, 127})), {1, 2, 0x1p-126f, 0x1p127f});
  CHECK_EQ(sum(vec({1e8f, 1, 1, -1e8f})), 2.0);  // in double
}

TEST(neon_masks_hold_one_bit_per_lane) {
  const Vec a = vec({1, 2, NAN, 3}), b = vec({2, 2, 0, 1});
  CHECK_EQ(less(a, b).bits(), 1u);
  CHECK_EQ(greater(a, b).bits(), 8u);
  CHECK_EQ(greater_equal(a, b).bits(), 10u);
  CHECK_EQ((~greater_equal(a, b)).bits(), 5u);
  CHECK_EQ((less(a, b) | greater(a, b)).bits(), 9u);
  CHECK_EQ((greater_equal(a, b) & greater(a, b)).bits(), 8u);
  CHECK_EQ((~less(a, b)).count(), 3);
  CHECK_EQ(less(b, b).count(), 0);
  expect_lanes(select(less(a, b), broadcast(7), b), {7, 2, 0, 1});
  int32_t counts[4] = {5, 6, 7, 8};
  count_lanes(counts, greater_equal(a, b));
  CHECK_EQ((std::vector<int32_t>(counts, counts + 4)), (std::vector<int32_t>{5, 7, 7, 9}));
}

TEST(neon_reads_every_half_as_the_scalar_code_does) {
  for (uint32_t bits = 0; bits < 0x10000; bits += 4) {
    uint16_t halves[4];
    for (uint32_t i = 0; i < 4; ++i) halves[i] = uint16_t(bits + i);
    const Lanes from_float16 = lanes(load_float16(halves)), from_bfloat16 = lanes(load_bfloat16(halves));
    for (size_t i = 0; i < 4; ++i) {
      const float wide = load(float16{halves[i]});
      CHECK(std::isnan(wide) ? std::isnan(from_float16[i]) : from_float16[i] == wide);
      CHECK_EQ(std::signbit(from_float16[i]), std::signbit(wide));
      CHECK_EQ(bits_from_float(from_bfloat16[i]), bits_from_float(load(bfloat16{halves[i]})));
    }
  }
}

TEST(neon_rounds_to_halves_as_the_scalar_code_does) {
  std::mt19937 random(1);
  for (int round = 0; round < 50000; ++round) {
    Lanes values;
    for (size_t i = 0; i < 4; ++i) {
      // Half of them in the range of float16, with ties.
      const uint32_t bits = uint32_t(random()), exponent = 0x33000000u + (bits >> 3) % 0x15000000u;
      values[i] = float_from_bits(i % 2 ? bits : (bits & 0x80000000u) | (exponent & (bits & 1 ? ~0u : ~0xfffu)));
    }
    uint16_t half[4], brain[4];
    store_float16(half, vec(values));
    store_bfloat16(brain, vec(values));
    for (size_t i = 0; i < 4; ++i) {
      CHECK_EQ(brain[i], Store<bfloat16>::from(values[i]).bits);
      if (std::isnan(values[i]))
        CHECK(std::isnan(load(float16{half[i]})));
      else
        CHECK_EQ(half[i], Store<float16>::from(values[i]).bits);
    }
  }
}

}  // namespace
}  // namespace fasthash
#endif
