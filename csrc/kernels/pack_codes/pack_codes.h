// SPDX-License-Identifier: Apache-2.0
// pack_codes: signs of codes (R, K) as bits (R, ceil(K / 8)); bit j of a row is bit 7 - j % 8 of byte j / 8, spare bits
// are zero.
#pragma once

#include <cstdint>

#include "common/dtype.h"

namespace fasthash {

struct PackCodes {
  const void* codes;  // (R, K), rows `row_stride` elements apart
  uint8_t* packed;    // (R, ceil(K / 8))
  int64_t rows, bits, row_stride;
  Dtype dtype;  // any but uint8
};

// In place of the index of a NaN where there is none.
constexpr int64_t no_nan = INT64_MAX;

// Blocks of rows on the CPU, independent of each other; returns the least index r * K + j of a NaN in the block.
int64_t pack_codes_blocks(const PackCodes& args);
int64_t pack_codes_cpu(const PackCodes& args, int64_t block);

// Enqueues on `stream` (a cudaStream_t); returns a cudaError_t. A NaN packs as 0.
int pack_codes_cuda(const PackCodes& args, void* stream);

}  // namespace fasthash
