// SPDX-License-Identifier: Apache-2.0
// A thread makes one byte of packed codes from up to eight codes of a row.
#include "common/cuda.h"
#include "pack_codes/pack_codes.h"
#include "pack_codes/pack_codes_math.h"

namespace fasthash {
namespace {

constexpr int threads = 256;
constexpr int64_t max_blocks = 1 << 16;

template <class T>
__global__ void __launch_bounds__(threads) pack_kernel(PackCodes args, int64_t row_bytes) {
  const int64_t bytes = args.rows * row_bytes;
  for (int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x; i < bytes; i += int64_t(gridDim.x) * threads) {
    const int64_t row = i / row_bytes, first = (i - row * row_bytes) * 8;
    const T* codes = static_cast<const T*>(args.codes) + row * args.row_stride + first;
    const int live = int(args.bits - first < 8 ? args.bits - first : 8);
    unsigned byte = 0;
#pragma unroll
    for (int j = 0; j < 8; ++j)
      if (j < live) byte |= unsigned(code_bit(codes[j])) << (7 - j);
    args.packed[i] = uint8_t(byte);
  }
}

}  // namespace

int pack_codes_cuda(const PackCodes& args, void* stream) {
  const int64_t row_bytes = (args.bits + 7) / 8;
  const int64_t blocks = (args.rows * row_bytes + threads - 1) / threads;
  const dim3 grid(unsigned(blocks < max_blocks ? blocks : max_blocks));
  return for_code_dtype(args.dtype, [&](auto tag) {
    return int(
        launch(pack_kernel<decltype(tag)>, grid, dim3(threads), 0, static_cast<cudaStream_t>(stream), args, row_bytes));
  });
}

}  // namespace fasthash
