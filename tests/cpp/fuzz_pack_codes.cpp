// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "common/dispatch.h"
#include "fuzz.h"
#include "machines.h"
#include "pack_codes/pack_codes.h"
#include "pack_codes/pack_codes_math.h"
#include "unpack_codes/unpack_codes.h"

namespace fasthash {
namespace {

constexpr Dtype packable[] = {Dtype::float32, Dtype::float64, Dtype::bfloat16, Dtype::float16, Dtype::int8,
                              Dtype::int16,   Dtype::int32,   Dtype::int64,    Dtype::boolean};
constexpr Dtype unpackable[] = {Dtype::float32, Dtype::float64, Dtype::bfloat16,
                                Dtype::float16, Dtype::int8,    Dtype::boolean};

struct Shape {
  int64_t rows, bits, gap;
};
Shape shape_of(fuzz::Choices& choices) {
  const int64_t bits = choices.coin() ? choices.between(1, 20) : choices.between(1, 400);
  return {choices.between(1, choices.coin() ? 5 : 600), bits, choices.coin() ? choices.between(0, 9) : 0};
}

// The code as a number whose sign and NaN are its own.
double number_at(const std::vector<char>& codes, int64_t i, Dtype dtype) {
  return for_code_dtype(dtype, [&](auto x) {
    std::memcpy(&x, &codes[size_t(i) * sizeof(x)], sizeof(x));
    if constexpr (std::is_integral_v<decltype(x)>)
      return double(x);
    else
      return double(load(x));
  });
}

// Values at the edges of their type, which random bytes seldom hit.
void sprinkle(fuzz::Choices& choices, std::vector<char>& codes, Dtype dtype) {
  const double edges[] = {0.0, -0.0, INFINITY, -INFINITY, NAN, -NAN, 1e-45, -1e-45};
  const auto count = int64_t(codes.size()) / dtype_size(dtype);
  for (int64_t i = choices.between(0, 7); i-- > 0;) {
    const int64_t at = choices.between(0, count - 1);
    for_float_dtype(dtype, [&](auto x) {
      using T = decltype(x);
      x = Store<T>::from(Compute<T>(choices.one_of(edges)));
      std::memcpy(&codes[size_t(at) * sizeof(x)], &x, sizeof(x));
    });
  }
}

bool is_float(Dtype dtype) { return std::find(unpackable, unpackable + 4, dtype) != unpackable + 4; }

// Runs every block; the packed bytes begin `offset` bytes into their buffer. Codes with NaN have no bit to compare.
void expect_packed(const std::vector<char>& codes, Shape s, Dtype dtype, int64_t offset) {
  const int64_t row_bytes = (s.bits + 7) / 8, stride = s.bits + s.gap;
  std::vector<uint8_t> packed(size_t(offset + s.rows * row_bytes), 0xab);
  const PackCodes args{codes.data(), packed.data() + offset, s.rows, s.bits, stride, dtype};
  int64_t first_nan = no_nan, want_nan = no_nan, wrong = 0;
  for (int64_t block = 0; block < pack_codes_blocks(args); ++block)
    first_nan = std::min(first_nan, pack_codes_cpu(args, block));
  for (int64_t row = s.rows; row-- > 0;) {
    for (int64_t j = 8 * row_bytes; j-- > 0;) {
      const bool bit = packed[size_t(offset + row * row_bytes + j / 8)] >> (7 - j % 8) & 1;
      const double code = j < s.bits ? number_at(codes, row * stride + j, dtype) : -1.0;
      const bool set = dtype == Dtype::boolean ? code > 0 : code >= 0;
      if (std::isnan(code))
        want_nan = row * s.bits + j;
      else
        wrong += bit != set;
    }
  }
  CHECK_EQ(wrong, 0);
  CHECK_EQ(first_nan, want_nan);
}

FUZZ(pack_codes) {
  const Dtype dtype = choices.one_of(packable);
  const Shape s = shape_of(choices);
  const int64_t offset = choices.between(0, 9);
  std::vector<char> codes(size_t(((s.rows - 1) * (s.bits + s.gap) + s.bits) * dtype_size(dtype)));
  choices.fill(codes);
  if (is_float(dtype)) sprinkle(choices, codes, dtype);
  on_every_machine([&] { expect_packed(codes, s, dtype, offset); });
}

FUZZ(unpack_codes) {
  const Dtype dtype = choices.one_of(unpackable);
  const Shape s = shape_of(choices);
  const int64_t offset = choices.between(0, 9), stride = (s.bits + 7) / 8 + s.gap;
  std::vector<uint8_t> packed(size_t(offset + s.rows * stride - s.gap));
  choices.fill(packed);
  on_every_machine([&] {
    std::vector<char> codes(size_t(s.rows * s.bits * dtype_size(dtype)), char(0xab));
    const UnpackCodes args{packed.data() + offset, codes.data(), s.rows, s.bits, stride, dtype};
    for (int64_t block = 0; block < unpack_codes_blocks(args); ++block) unpack_codes_cpu(args, block);
    int64_t wrong = 0;
    for (int64_t i = 0; i < s.rows * s.bits; ++i) {
      const int64_t row = i / s.bits, j = i % s.bits;
      const bool set = packed[size_t(offset + row * stride + j / 8)] >> (7 - j % 8) & 1;
      wrong += number_at(codes, i, dtype) != (set ? 1.0 : dtype == Dtype::boolean ? 0.0 : -1.0);
    }
    CHECK_EQ(wrong, 0);
  });
}

}  // namespace
}  // namespace fasthash
