// SPDX-License-Identifier: Apache-2.0
// What the instruction-set variants of unpack_codes implement: one run of codes that lie side by side.
#pragma once

#include <cstdint>

namespace fasthash {

// codes[i] = bit i ? set : clear, each `size` bytes.
struct UnpackRun {
  const uint8_t* packed;
  void* codes;
  int64_t count, size;
  uint64_t set, clear;
};
void unpack_run_scalar(const UnpackRun& run);
void unpack_run_avx2(const UnpackRun& run);
void unpack_run_avx512(const UnpackRun& run);
void unpack_run_neon(const UnpackRun& run);

}  // namespace fasthash
