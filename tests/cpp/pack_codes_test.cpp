// SPDX-License-Identifier: Apache-2.0
#include "pack_codes/pack_codes.h"

#include <cmath>

#include "common/dispatch.h"
#include "hamming_case.h"
#include "pack_codes/pack_codes_math.h"
#include "unpack_codes/unpack_codes.h"
#include "unpack_codes/unpack_codes_math.h"

namespace fasthash {
namespace {

constexpr Dtype unpackable[] = {Dtype::float32, Dtype::float64, Dtype::bfloat16,
                                Dtype::float16, Dtype::int8,    Dtype::boolean};

std::vector<uint8_t> unpack(const Codes& packed, int64_t bits, Dtype dtype) {
  std::vector<uint8_t> codes(size_t(packed.count * bits * dtype_size(dtype)), 0xab);
  const UnpackCodes args{packed.bytes.data(), codes.data(), packed.count, bits, packed.stride, dtype};
  for (int64_t block = 0; block < unpack_codes_blocks(args); ++block) unpack_codes_cpu(args, block);
  return codes;
}

TEST(the_bit_of_a_code) {
  CHECK(code_bit(0.0f) && code_bit(-0.0f) && code_bit(1e-45f) && code_bit(INFINITY));
  CHECK(!code_bit(-1e-45f) && !code_bit(-INFINITY) && !code_bit(NAN) && !code_bit(-1.0));
  CHECK(code_bit(float16{0x8000}) && !code_bit(float16{0x8001}) && !code_bit(float16{0x7c01}));
  CHECK(code_bit(bfloat16{0x8000}) && !code_bit(bfloat16{0x8001}) && !code_bit(bfloat16{0x7f81}));
  CHECK(code_bit(int8_t(0)) && !code_bit(int8_t(-128)) && !code_bit(int64_t(-1)));
  CHECK(code_bit(uint8_t(2)) && !code_bit(uint8_t(0)));
  CHECK(code_is_nan(NAN) && code_is_nan(bfloat16{0xffc0}) && !code_is_nan(INFINITY) && !code_is_nan(int32_t(-1)));
}

TEST(packing_undoes_unpacking_on_every_machine) {
  on_every_machine([] {
    for (Dtype dtype : unpackable) {
      for (int64_t bits : {1, 8, 12, 63, 64, 65, 200}) {
        Codes packed(5, (bits + 7) / 8, unsigned(bits), 0, 0xff);
        if (bits % 8)  // spare bits are zero
          for (int64_t row = 1; row <= 5; ++row)
            packed.bytes[size_t(row * packed.stride - 1)] &= uint8_t(0xff << (8 - bits % 8));
        const std::vector<uint8_t> codes = unpack(packed, bits, dtype);
        std::vector<uint8_t> again(packed.bytes.size(), 0xab);
        const PackCodes args{codes.data(), again.data(), 5, bits, bits, dtype};
        for (int64_t block = 0; block < pack_codes_blocks(args); ++block) CHECK_EQ(pack_codes_cpu(args, block), no_nan);
        CHECK_EQ(again, packed.bytes);
      }
    }
  });
}

// All codes of 16 bits, which hold every kind of half: of either sign, subnormal, infinite, NaN.
TEST(packing_every_code_of_two_bytes_on_every_machine) {
  std::vector<uint16_t> codes(0x10000);
  for (uint32_t i = 0; i < 0x10000; ++i) codes[i] = uint16_t(i);
  const auto bit_and_nan = [](Dtype dtype, uint16_t bits) -> std::pair<bool, bool> {
    if (dtype == Dtype::int16) return {code_bit(int16_t(bits)), false};
    if (dtype == Dtype::float16) return {code_bit(float16{bits}), code_is_nan(float16{bits})};
    return {code_bit(bfloat16{bits}), code_is_nan(bfloat16{bits})};
  };
  on_every_machine([&] {
    for (Dtype dtype : {Dtype::int16, Dtype::bfloat16, Dtype::float16}) {
      for (int64_t row = 0; row < 256; ++row) {
        std::vector<uint8_t> packed(32, 0xab);
        const int64_t found = pack_codes_cpu({&codes[size_t(row * 256)], packed.data(), 1, 256, 256, dtype}, 0);
        int64_t first_nan = no_nan;
        for (int64_t j = 256; j-- > 0;) {
          const auto [bit, nan] = bit_and_nan(dtype, codes[size_t(row * 256 + j)]);
          if (nan) first_nan = j;
          if (!nan) CHECK_EQ(bit_at(packed.data(), j), bit);
        }
        CHECK_EQ(found, first_nan);
      }
    }
  });
  expect_every_variant_ran("pack_codes");
}

TEST(unpacking_follows_the_bits) {
  on_every_machine([] {
    const Codes packed(3, 4, 1, 2);
    const std::vector<uint8_t> codes = unpack(packed, 27, Dtype::int8);
    for (int64_t row = 0; row < 3; ++row)
      for (int64_t j = 0; j < 27; ++j)
        CHECK_EQ(int8_t(codes[size_t(row * 27 + j)]), bit_at(packed.bytes.data() + row * packed.stride, j) ? 1 : -1);
  });
  expect_every_variant_ran("unpack_codes");
}

TEST(packing_reports_the_first_nan_of_a_block) {
  on_every_machine([] {
    for (int64_t at : {0, 5, 63, 64, 199}) {
      std::vector<float> codes(200, 1.0f);
      codes[size_t(at)] = codes[199] = NAN;
      std::vector<uint8_t> packed(2 * 13);
      CHECK_EQ(pack_codes_cpu({codes.data(), packed.data(), 2, 100, 100, Dtype::float32}, 0), at);
    }
  });
}

}  // namespace
}  // namespace fasthash
