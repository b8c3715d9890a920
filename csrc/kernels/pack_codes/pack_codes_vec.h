// SPDX-License-Identifier: Apache-2.0
// pack_codes in steps of 64 codes, all with internal linkage. The including file provides the vector type Codes,
// load_codes(p), and for the codes of a vector, bit i for code i,
//   sign_bits<dtype>(Codes)   whether it is >= 0; anything for NaN
//   nan_bits<dtype>(Codes)    whether it is NaN, for floating dtypes
#pragma once

#include <cstring>

#include "common/bit_order.h"
#include "pack_codes/pack_codes_kinds.h"

namespace {

using fasthash::PackRun;

template <Dtype dtype>
class Pack {
 public:
  explicit Pack(const PackRun& run) : run_(run) {}

  int64_t operator()() {
    const char* codes = static_cast<const char*>(run_.codes);
    int64_t first = 0;
    for (; first + 64 <= run_.count; first += 64) step(codes + first * size, first, 64);
    if (first < run_.count) {
      alignas(64) char padded[64 * size] = {};
      std::memcpy(padded, codes + first * size, size_t((run_.count - first) * size));
      step(padded, first, int(run_.count - first));
    }
    return first_nan_;
  }

 private:
  static constexpr int size = size_of(dtype);
  static constexpr int lanes = Codes::bytes / size;

  void step(const char* codes, int64_t first, int live) {
    uint64_t set = 0, nan = 0;
    for (int i = 0; i < 64; i += lanes) {
      const Codes some = load_codes(codes + i * size);
      set |= uint64_t(sign_bits<dtype>(some)) << i;
      if constexpr (is_float(dtype)) nan |= uint64_t(nan_bits<dtype>(some)) << i;
    }
    if (nan && first_nan_ == fasthash::no_nan) first_nan_ = first + __builtin_ctzll(nan);
    if (live < 64) set &= (uint64_t(1) << live) - 1;
    set = bytes_reversed(set);
    std::memcpy(run_.packed + first / 8, &set, size_t((live + 7) / 8));
  }

  PackRun run_;
  int64_t first_nan_ = fasthash::no_nan;
};

inline int64_t pack_run(const PackRun& run) {
  switch (run.dtype) {
    case Dtype::float32: return Pack<Dtype::float32>(run)();
    case Dtype::float64: return Pack<Dtype::float64>(run)();
    case Dtype::bfloat16: return Pack<Dtype::bfloat16>(run)();
    case Dtype::float16: return Pack<Dtype::float16>(run)();
    case Dtype::int8: return Pack<Dtype::int8>(run)();
    case Dtype::int16: return Pack<Dtype::int16>(run)();
    case Dtype::int32: return Pack<Dtype::int32>(run)();
    case Dtype::int64: return Pack<Dtype::int64>(run)();
    default: return Pack<Dtype::boolean>(run)();
  }
}

}  // namespace
