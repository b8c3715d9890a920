// SPDX-License-Identifier: Apache-2.0
// pack_codes and unpack_codes against the CPU, on buffers of exactly the size that the contracts name.
#include "pack_codes/pack_codes.h"

#include "common/dispatch.h"
#include "device.h"
#include "hamming_case.h"
#include "unpack_codes/unpack_codes.h"

namespace fasthash {
namespace {

struct Shape {
  int64_t rows, bits, gap;
};
const Shape shapes[] = {{1, 1, 0}, {5, 8, 3}, {3, 12, 0}, {2, 64, 0}, {33, 65, 1}, {300, 9, 2}};

TEST(pack_codes_cuda_equals_the_cpu) {
  for (const Shape& s : shapes) {
    const int64_t stride = s.bits + s.gap, row_bytes = (s.bits + 7) / 8;
    std::mt19937 random(1);
    std::vector<float> values(size_t((s.rows - 1) * stride + s.bits));
    for (float& value : values) value = float(int(random() % 5) - 2);
    std::vector<uint8_t> expected(size_t(s.rows * row_bytes));
    PackCodes args{values.data(), expected.data(), s.rows, s.bits, stride, Dtype::float32};
    for (int64_t block = 0; block < pack_codes_blocks(args); ++block) pack_codes_cpu(args, block);
    in_every_order([&] {
      DeviceBuffer<float> codes(values);
      DeviceBuffer<uint8_t> packed(expected.size());
      args.codes = codes.data();
      args.packed = packed.data();
      CHECK_EQ(pack_codes_cuda(args, nullptr), int(cudaSuccess));
      CHECK_EQ(packed.host(), expected);
    });
  }
}

TEST(unpack_codes_cuda_equals_the_cpu) {
  for (const Shape& s : shapes) {
    for (Dtype dtype : {Dtype::float64, Dtype::float32, Dtype::float16, Dtype::boolean}) {
      const Codes rows(s.rows, (s.bits + 7) / 8, 1, s.gap);
      std::vector<uint8_t> expected(size_t(s.rows * s.bits * dtype_size(dtype)));
      UnpackCodes args{rows.bytes.data(), expected.data(), s.rows, s.bits, rows.stride, dtype};
      for (int64_t block = 0; block < unpack_codes_blocks(args); ++block) unpack_codes_cpu(args, block);
      in_every_order([&] {
        DeviceBuffer<uint8_t> packed(rows.bytes), codes(expected.size());
        args.packed = packed.data();
        args.codes = codes.data();
        CHECK_EQ(unpack_codes_cuda(args, nullptr), int(cudaSuccess));
        CHECK_EQ(codes.host(), expected);
      });
    }
  }
}

}  // namespace
}  // namespace fasthash
