// SPDX-License-Identifier: Apache-2.0
// unpack_codes: bits (R, ceil(K / 8)) as codes (R, K) of +1 and -1, or of true and false; the inverse of pack_codes.
#pragma once

#include <cstdint>

#include "common/dtype.h"

namespace fasthash {

struct UnpackCodes {
  const uint8_t* packed;  // (R, ceil(K / 8)), rows `row_stride` bytes apart
  void* codes;            // (R, K)
  int64_t rows, bits, row_stride;
  Dtype dtype;  // a floating dtype, int8 or boolean
};

// Blocks of rows on the CPU, independent of each other.
int64_t unpack_codes_blocks(const UnpackCodes& args);
void unpack_codes_cpu(const UnpackCodes& args, int64_t block);

// Enqueues on `stream` (a cudaStream_t); returns a cudaError_t.
int unpack_codes_cuda(const UnpackCodes& args, void* stream);

}  // namespace fasthash
