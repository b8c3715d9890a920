// SPDX-License-Identifier: Apache-2.0
// A thread writes one code; neighbouring threads write neighbouring codes.
#include "common/cuda.h"
#include "common/dispatch.h"
#include "unpack_codes/unpack_codes.h"
#include "unpack_codes/unpack_codes_math.h"

namespace fasthash {
namespace {

constexpr int threads = 256;
constexpr int64_t max_blocks = 1 << 16;

template <class Code>
__global__ void __launch_bounds__(threads) unpack_kernel(UnpackCodes args, Code set, Code clear) {
  const int64_t count = args.rows * args.bits;
  Code* codes = static_cast<Code*>(args.codes);
  for (int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x; i < count; i += int64_t(gridDim.x) * threads) {
    const int64_t row = i / args.bits;
    codes[i] = bit_at(args.packed + row * args.row_stride, i - row * args.bits) ? set : clear;
  }
}

}  // namespace

int unpack_codes_cuda(const UnpackCodes& args, void* stream) {
  const int64_t blocks = (args.rows * args.bits + threads - 1) / threads;
  const dim3 grid(unsigned(blocks < max_blocks ? blocks : max_blocks));
  const CodeBytes bytes = code_bytes(args.dtype);
  return for_unsigned(dtype_size(args.dtype), [&](auto tag) {
    using Code = decltype(tag);
    return int(launch(unpack_kernel<Code>, grid, dim3(threads), 0, static_cast<cudaStream_t>(stream), args,
                      Code(bytes.set), Code(bytes.clear)));
  });
}

}  // namespace fasthash
