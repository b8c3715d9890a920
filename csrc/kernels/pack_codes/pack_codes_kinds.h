// SPDX-License-Identifier: Apache-2.0
// Facts about the dtypes that the vector variants of pack_codes need, all with internal linkage.
#pragma once

#include "pack_codes/pack_codes_seam.h"

namespace {

using fasthash::Dtype;

constexpr int size_of(Dtype dtype) {
  if (dtype == Dtype::float64 || dtype == Dtype::int64) return 8;
  if (dtype == Dtype::float32 || dtype == Dtype::int32) return 4;
  return dtype == Dtype::int8 || dtype == Dtype::boolean ? 1 : 2;
}
constexpr bool is_float(Dtype dtype) {
  return dtype == Dtype::float32 || dtype == Dtype::float64 || dtype == Dtype::float16 || dtype == Dtype::bfloat16;
}
// The bits of infinity, above which a half without its sign is NaN.
constexpr int16_t infinity_bits(Dtype dtype) { return dtype == Dtype::float16 ? 0x7c00 : 0x7f80; }

}  // namespace
