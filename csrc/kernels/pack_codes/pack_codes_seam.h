// SPDX-License-Identifier: Apache-2.0
// What the instruction-set variants of pack_codes implement: one run of codes that lie side by side.
#pragma once

#include <cstdint>

#include "pack_codes/pack_codes.h"

namespace fasthash {

struct PackRun {
  const void* codes;
  uint8_t* packed;  // (ceil(count / 8))
  int64_t count;
  Dtype dtype;
};

// Returns the index of the first NaN in the run, or no_nan.
int64_t pack_run_scalar(const PackRun& run);
int64_t pack_run_avx2(const PackRun& run);
int64_t pack_run_avx512(const PackRun& run);
int64_t pack_run_neon(const PackRun& run);

}  // namespace fasthash
